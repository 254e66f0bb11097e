import { Parent, ResolveField, Resolver } from '@nestjs/graphql';
import { Comment } from '../database/entities/comment.entity.js';
import { User } from '../database/entities/user.entity.js';
import { UsersService } from '../users/users.service.js';

@Resolver(() => Comment)
export class CommentsResolver {
  constructor(private readonly users: UsersService) {}

  @ResolveField(() => User)
  author(@Parent() comment: Comment): Promise<User> {
    return this.users.get(comment.authorId);
  }
}
