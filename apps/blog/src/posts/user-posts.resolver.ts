import { Args, Int, Parent, ResolveField, Resolver } from '@nestjs/graphql';
import { Post } from '../database/entities/post.entity.js';
import { User } from '../database/entities/user.entity.js';
import { DEFAULT_LIMIT, readPage } from '../input.js';
import { PostsService } from './posts.service.js';

/** `User.posts` lives with the posts: users know nothing of posts, and the modules form no circle. */
@Resolver(() => User)
export class UserPostsResolver {
  constructor(private readonly posts: PostsService) {}

  @ResolveField('posts', () => [Post], { description: 'Newest first, 1 to 100 at a time.' })
  list(
    @Parent() user: User,
    @Args('limit', { type: () => Int, nullable: true, defaultValue: DEFAULT_LIMIT }) limit: number | null,
    @Args('offset', { type: () => Int, nullable: true, defaultValue: 0 }) offset: number | null,
  ): Promise<Post[]> {
    return this.posts.list(readPage(limit, offset), user.id);
  }
}
