import { Field, Float, ID, Int, ObjectType } from '@nestjs/graphql';

@ObjectType()
export class TopAuthor {
  @Field(() => ID)
  id!: number;

  @Field()
  name!: string;

  @Field(() => Int)
  postCount!: number;

  @Field(() => Int, { description: 'Comments on all of those posts.' })
  commentCount!: number;
}

/** What the whole content of one tenant adds up to. `postsLast24h` is a field resolver, see there. */
@ObjectType()
export class Dashboard {
  @Field(() => Int)
  totalUsers!: number;

  @Field(() => Int)
  totalPosts!: number;

  @Field(() => Int)
  totalComments!: number;

  @Field(() => Float, { description: 'In characters; 0 without posts.' })
  averagePostLength!: number;

  @Field(() => [TopAuthor], { description: 'The five with the most posts.' })
  topAuthors!: TopAuthor[];
}
