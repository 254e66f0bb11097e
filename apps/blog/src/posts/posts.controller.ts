import { ClassSerializerInterceptor, Controller, Get, Param, Query, UseInterceptors } from '@nestjs/common';
import { type Post } from '../database/entities/post.entity.js';
import { readId, readPage } from '../input.js';
import { PostsService } from './posts.service.js';

@Controller('posts')
@UseInterceptors(ClassSerializerInterceptor)
export class PostsController {
  constructor(private readonly posts: PostsService) {}

  // `unknown`, because `?limit=1&limit=2` is an array.
  @Get()
  list(
    @Query('authorId') authorId?: unknown,
    @Query('limit') limit?: unknown,
    @Query('offset') offset?: unknown,
  ): Promise<Post[]> {
    return this.posts.list(readPage(limit, offset), authorId === undefined ? undefined : readId('authorId', authorId));
  }

  /** With its author. */
  @Get(':id')
  get(@Param('id') id: string): Promise<Post> {
    return this.posts.get(readId('id', id));
  }
}
