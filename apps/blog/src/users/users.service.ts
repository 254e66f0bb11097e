import { ConflictException, Injectable, NotFoundException } from '@nestjs/common';
import { TenantContext } from 'nestjs-result-cache';
import { CachedEntityRepository, InjectCachedRepository } from 'nestjs-result-cache/typeorm';
import { QueryFailedError } from 'typeorm';
import { User } from '../database/entities/user.entity.js';
import { type Page } from '../input.js';

/** The users of the current tenant; those of other tenants do not exist here. */
@Injectable()
export class UsersService {
  constructor(
    @InjectCachedRepository(User) private readonly users: CachedEntityRepository<User>,
    private readonly tenant: TenantContext,
  ) {}

  list({ limit, offset }: Page): Promise<User[]> {
    return this.users.find({
      where: { tenantId: this.tenant.require() },
      order: { id: 'ASC' },
      take: limit,
      skip: offset,
    });
  }

  find(id: number): Promise<User | null> {
    return this.users.findOneBy({ id, tenantId: this.tenant.require() });
  }

  /** @throws NotFoundException */
  async get(id: number): Promise<User> {
    const user = await this.find(id);
    if (user === null) throw new NotFoundException(`there is no user ${id}`);
    return user;
  }

  /** @throws ConflictException when another user of the tenant has this e-mail address. */
  async create(name: string, email: string): Promise<User> {
    try {
      const user = this.users.repository.create({ tenantId: this.tenant.require(), name, email });
      return await this.users.repository.save(user);
    } catch (error) {
      if (isUniqueViolation(error)) throw new ConflictException(`there is already a user with the email ${email}`);
      throw error;
    }
  }

  /** @throws NotFoundException */
  async rename(id: number, name: string): Promise<User> {
    const { affected } = await this.users.repository.update({ id, tenantId: this.tenant.require() }, { name });
    if (affected === 0) throw new NotFoundException(`there is no user ${id}`);
    return this.get(id);
  }
}

function isUniqueViolation(error: unknown): boolean {
  return error instanceof QueryFailedError && (error.driverError as { code?: string }).code === '23505';
}
