import { Field, GraphQLISODateTime, ID, ObjectType } from '@nestjs/graphql';
import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryGeneratedColumn } from 'typeorm';
import { User } from './user.entity.js';

@ObjectType()
@Entity('posts')
@Index('posts_newest', ['tenantId', 'createdAt', 'id'])
@Index('posts_newest_by_author', ['authorId', 'createdAt', 'id'])
export class Post {
  @Field(() => ID)
  @PrimaryGeneratedColumn('identity', { generatedIdentity: 'BY DEFAULT', primaryKeyConstraintName: 'posts_pk' })
  id!: number;

  @Field()
  @Column({ name: 'tenant_id', type: 'text' })
  tenantId!: string;

  @Field(() => ID)
  @Column({ name: 'author_id', type: 'int' })
  authorId!: number;

  @ManyToOne(() => User, { nullable: false, onDelete: 'CASCADE' })
  @JoinColumn({ name: 'author_id', foreignKeyConstraintName: 'posts_author' })
  author?: User;

  @Field()
  @Column({ type: 'text' })
  title!: string;

  @Field()
  @Column({ type: 'text' })
  content!: string;

  @Field()
  @Column({ type: 'boolean', default: true })
  published!: boolean;

  @Field(() => GraphQLISODateTime)
  @Column({ name: 'created_at', type: 'timestamptz', default: () => 'now()' })
  createdAt!: Date;
}
