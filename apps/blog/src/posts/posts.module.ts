import { Module } from '@nestjs/common';
import { TypeOrmCacheModule } from 'nestjs-result-cache/typeorm';
import { Post } from '../database/entities/post.entity.js';
import { UsersModule } from '../users/users.module.js';
import { PostsController } from './posts.controller.js';
import { PostsResolver } from './posts.resolver.js';
import { PostsService } from './posts.service.js';
import { UserPostsResolver } from './user-posts.resolver.js';

@Module({
  imports: [TypeOrmCacheModule.forFeature([Post]), UsersModule],
  providers: [PostsService, PostsResolver, UserPostsResolver],
  controllers: [PostsController],
})
export class PostsModule {}
