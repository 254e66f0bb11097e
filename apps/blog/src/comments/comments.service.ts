import { Injectable } from '@nestjs/common';
import { TenantContext } from 'nestjs-result-cache';
import { CachedEntityRepository, InjectCachedRepository } from 'nestjs-result-cache/typeorm';
import { Comment } from '../database/entities/comment.entity.js';
import { type Page } from '../input.js';

/** The comments of the current tenant; those of other tenants do not exist here. */
@Injectable()
export class CommentsService {
  constructor(
    @InjectCachedRepository(Comment) private readonly comments: CachedEntityRepository<Comment>,
    private readonly tenant: TenantContext,
  ) {}

  /** The comments on one post, oldest first. */
  list({ limit, offset }: Page, postId: number): Promise<Comment[]> {
    return this.comments.find({
      where: { postId, tenantId: this.tenant.require() },
      order: { createdAt: 'ASC', id: 'ASC' },
      take: limit,
      skip: offset,
    });
  }
}
