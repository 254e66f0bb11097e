import { Args, ID, Int, Mutation, Parent, Query, ResolveField, Resolver } from '@nestjs/graphql';
import { Post } from '../database/entities/post.entity.js';
import { User } from '../database/entities/user.entity.js';
import { DEFAULT_LIMIT, readId, readPage, readText } from '../input.js';
import { UsersService } from '../users/users.service.js';
import { PostsService } from './posts.service.js';

@Resolver(() => Post)
export class PostsResolver {
  constructor(
    private readonly posts: PostsService,
    private readonly users: UsersService,
  ) {}

  @Query(() => [Post], { name: 'posts', description: 'Newest first, 1 to 100 at a time.' })
  list(
    @Args('authorId', { type: () => ID, nullable: true }) authorId: string | null,
    @Args('limit', { type: () => Int, nullable: true, defaultValue: DEFAULT_LIMIT }) limit: number | null,
    @Args('offset', { type: () => Int, nullable: true, defaultValue: 0 }) offset: number | null,
  ): Promise<Post[]> {
    return this.posts.list(readPage(limit, offset), authorId == null ? undefined : readId('authorId', authorId));
  }

  @Query(() => Post, { name: 'post', nullable: true, description: 'Null when there is no such post.' })
  find(@Args('id', { type: () => ID }) id: string): Promise<Post | null> {
    return this.posts.find(readId('id', id));
  }

  @Mutation(() => Post)
  createPost(
    @Args('authorId', { type: () => ID }) authorId: string,
    @Args('title') title: string,
    @Args('content') content: string,
  ): Promise<Post> {
    return this.posts.create(
      readId('authorId', authorId),
      readText('title', title, 300),
      readText('content', content, 50_000),
    );
  }

  @Mutation(() => Boolean, { description: 'With its comments. False when there was no such post.' })
  deletePost(@Args('id', { type: () => ID }) id: string): Promise<boolean> {
    return this.posts.delete(readId('id', id));
  }

  @ResolveField(() => User)
  async author(@Parent() post: Post): Promise<User> {
    // A list comes without: each author is an entry of its own there, shared by all pages, and read with one statement.
    return post.author ?? this.users.get(post.authorId);
  }
}
