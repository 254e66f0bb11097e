import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { CacheResult, TenantContext } from 'nestjs-result-cache';
import { Repository } from 'typeorm';
import { Comment } from '../database/entities/comment.entity.js';
import { type Page } from '../input.js';

/** The comments of the current tenant; those of other tenants do not exist here. */
@Injectable()
export class CommentsService {
  constructor(
    @InjectRepository(Comment) private readonly comments: Repository<Comment>,
    private readonly tenant: TenantContext,
  ) {}

  /** The comments on one post, oldest first. */
  @CacheResult({ rows: (_page: Page, postId: number) => [['comment', { post_id: postId }]], classes: [Comment] })
  list({ limit, offset }: Page, postId: number): Promise<Comment[]> {
    return this.comments.find({
      where: { postId, tenantId: this.tenant.require() },
      order: { createdAt: 'ASC', id: 'ASC' },
      take: limit,
      skip: offset,
    });
  }
}
