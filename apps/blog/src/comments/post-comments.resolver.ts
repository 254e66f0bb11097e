import { Args, Int, Parent, ResolveField, Resolver } from '@nestjs/graphql';
import { Comment } from '../database/entities/comment.entity.js';
import { Post } from '../database/entities/post.entity.js';
import { DEFAULT_LIMIT, readPage } from '../input.js';
import { CommentsService } from './comments.service.js';

/** `Post.comments` lives with the comments: posts know nothing of comments, and the modules form no circle. */
@Resolver(() => Post)
export class PostCommentsResolver {
  constructor(private readonly comments: CommentsService) {}

  @ResolveField('comments', () => [Comment], { description: 'Oldest first, 1 to 100 at a time.' })
  list(
    @Parent() post: Post,
    @Args('limit', { type: () => Int, nullable: true, defaultValue: DEFAULT_LIMIT }) limit: number | null,
    @Args('offset', { type: () => Int, nullable: true, defaultValue: 0 }) offset: number | null,
  ): Promise<Comment[]> {
    return this.comments.list(readPage(limit, offset), post.id);
  }
}
