import { ClassSerializerInterceptor, Controller, Get, Param, UseInterceptors } from '@nestjs/common';
import { type User } from '../database/entities/user.entity.js';
import { readId } from '../input.js';
import { UsersService } from './users.service.js';

// The interceptor obeys @Exclude() on the entity: no password hashes here.
@Controller('users')
@UseInterceptors(ClassSerializerInterceptor)
export class UsersController {
  constructor(private readonly users: UsersService) {}

  @Get(':id')
  get(@Param('id') id: string): Promise<User> {
    return this.users.get(readId('id', id));
  }
}
