import { Args, ID, Int, Mutation, Query, Resolver } from '@nestjs/graphql';
import { User } from '../database/entities/user.entity.js';
import { DEFAULT_LIMIT, readEmail, readId, readPage, readText } from '../input.js';
import { UsersService } from './users.service.js';

const MAX_NAME_LENGTH = 200;

@Resolver(() => User)
export class UsersResolver {
  constructor(private readonly users: UsersService) {}

  @Query(() => [User], { name: 'users', description: 'By id, 1 to 100 at a time.' })
  list(
    @Args('limit', { type: () => Int, nullable: true, defaultValue: DEFAULT_LIMIT }) limit: number | null,
    @Args('offset', { type: () => Int, nullable: true, defaultValue: 0 }) offset: number | null,
  ): Promise<User[]> {
    return this.users.list(readPage(limit, offset));
  }

  @Query(() => User, { name: 'user', nullable: true, description: 'Null when there is no such user.' })
  find(@Args('id', { type: () => ID }) id: string): Promise<User | null> {
    return this.users.find(readId('id', id));
  }

  @Mutation(() => User)
  createUser(@Args('name') name: string, @Args('email') email: string): Promise<User> {
    return this.users.create(readText('name', name, MAX_NAME_LENGTH), readEmail('email', email));
  }

  @Mutation(() => User)
  updateUser(@Args('id', { type: () => ID }) id: string, @Args('name') name: string): Promise<User> {
    return this.users.rename(readId('id', id), readText('name', name, MAX_NAME_LENGTH));
  }
}
