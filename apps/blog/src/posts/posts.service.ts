import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { CacheResult, TenantContext } from 'nestjs-result-cache';
import { Repository } from 'typeorm';
import { Post } from '../database/entities/post.entity.js';
import { type Page } from '../input.js';
import { UsersService } from '../users/users.service.js';

/** The posts of the current tenant; those of other tenants do not exist here. */
@Injectable()
export class PostsService {
  constructor(
    @InjectRepository(Post) private readonly posts: Repository<Post>,
    private readonly users: UsersService,
    private readonly tenant: TenantContext,
  ) {}

  /** Newest first; of one author, or of all when `authorId` is left out. */
  @CacheResult({
    // The WHERE clause below, for the cache: other authors' posts, or other tenants', may come and go without effect.
    rows: function (this: PostsService, _page: Page, authorId?: number) {
      return authorId === undefined
        ? [['post', { tenant_id: this.tenant.require() }]]
        : [['post', { author_id: authorId }]];
    },
    classes: [Post],
  })
  list({ limit, offset }: Page, authorId?: number): Promise<Post[]> {
    return this.posts.find({
      where: { tenantId: this.tenant.require(), ...(authorId !== undefined && { authorId }) },
      // The id decides between posts of the same moment, or a page could repeat one and lose another.
      order: { createdAt: 'DESC', id: 'DESC' },
      take: limit,
      skip: offset,
    });
  }

  /** @throws NotFoundException when the tenant has no such author. */
  async create(authorId: number, title: string, content: string): Promise<Post> {
    await this.users.get(authorId);
    return this.posts.save(this.posts.create({ tenantId: this.tenant.require(), authorId, title, content }));
  }

  /** Delete a post and its comments. False when there was no such post. */
  async delete(id: number): Promise<boolean> {
    const { affected } = await this.posts.delete({ id, tenantId: this.tenant.require() });
    return affected === 1;
  }
}
