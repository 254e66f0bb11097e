import { Module } from '@nestjs/common';
import { TypeOrmCacheModule } from 'nestjs-result-cache/typeorm';
import { User } from '../database/entities/user.entity.js';
import { UsersController } from './users.controller.js';
import { UsersResolver } from './users.resolver.js';
import { UsersService } from './users.service.js';

@Module({
  imports: [TypeOrmCacheModule.forFeature([User])],
  providers: [UsersService, UsersResolver],
  controllers: [UsersController],
  exports: [UsersService],
})
export class UsersModule {}
