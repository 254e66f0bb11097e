import { Injectable, NotFoundException } from '@nestjs/common';
import { TenantContext } from 'nestjs-result-cache';
import { CachedEntityRepository, InjectCachedRepository } from 'nestjs-result-cache/typeorm';
import { Post } from '../database/entities/post.entity.js';
import { type Page } from '../input.js';
import { UsersService } from '../users/users.service.js';

/** The posts of the current tenant; those of other tenants do not exist here. */
@Injectable()
export class PostsService {
  constructor(
    @InjectCachedRepository(Post) private readonly posts: CachedEntityRepository<Post>,
    private readonly users: UsersService,
    private readonly tenant: TenantContext,
  ) {}

  /** Newest first; of one author, or of all when `authorId` is left out. */
  list({ limit, offset }: Page, authorId?: number): Promise<Post[]> {
    return this.posts.find({
      where: { tenantId: this.tenant.require(), ...(authorId !== undefined && { authorId }) },
      // The id decides between posts of the same moment, or a page could repeat one and lose another.
      order: { createdAt: 'DESC', id: 'DESC' },
      take: limit,
      skip: offset,
    });
  }

  /**
   * One post with its author, `null` when there is none. Both come in one query; a write to either row is seen at once,
   * and one to another author's makes nothing void here.
   */
  async find(id: number): Promise<Post | null> {
    const tenantId = this.tenant.require();
    const post = await this.posts.findOne({ where: { id, tenantId }, relations: { author: true } });
    // The foreign key knows nothing of tenants.
    return post?.author?.tenantId === tenantId ? post : null;
  }

  /** @throws NotFoundException */
  async get(id: number): Promise<Post> {
    const post = await this.find(id);
    if (post === null) throw new NotFoundException(`there is no post ${id}`);
    return post;
  }

  /** @throws NotFoundException when the tenant has no such author. */
  async create(authorId: number, title: string, content: string): Promise<Post> {
    await this.users.get(authorId);
    const post = this.posts.repository.create({ tenantId: this.tenant.require(), authorId, title, content });
    return this.posts.repository.save(post);
  }

  /** Delete a post and its comments. False when there was no such post. */
  async delete(id: number): Promise<boolean> {
    const { affected } = await this.posts.repository.delete({ id, tenantId: this.tenant.require() });
    return affected === 1;
  }
}
