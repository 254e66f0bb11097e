import { Module } from '@nestjs/common';
import { TypeOrmCacheModule } from 'nestjs-result-cache/typeorm';
import { Comment } from '../database/entities/comment.entity.js';
import { UsersModule } from '../users/users.module.js';
import { CommentsResolver } from './comments.resolver.js';
import { CommentsService } from './comments.service.js';
import { PostCommentsResolver } from './post-comments.resolver.js';

@Module({
  imports: [TypeOrmCacheModule.forFeature([Comment]), UsersModule],
  providers: [CommentsService, CommentsResolver, PostCommentsResolver],
})
export class CommentsModule {}
