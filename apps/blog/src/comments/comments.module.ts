import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Comment } from '../database/entities/comment.entity.js';
import { UsersModule } from '../users/users.module.js';
import { CommentsResolver } from './comments.resolver.js';
import { CommentsService } from './comments.service.js';
import { PostCommentsResolver } from './post-comments.resolver.js';

@Module({
  imports: [TypeOrmModule.forFeature([Comment]), UsersModule],
  providers: [CommentsService, CommentsResolver, PostCommentsResolver],
})
export class CommentsModule {}
