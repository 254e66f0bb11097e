import { Field, GraphQLISODateTime, ID, ObjectType } from '@nestjs/graphql';
import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryGeneratedColumn } from 'typeorm';
import { Post } from './post.entity.js';
import { User } from './user.entity.js';

@ObjectType()
@Entity('comments')
@Index('comments_of_post', ['postId', 'createdAt', 'id'])
@Index('comments_of_tenant', ['tenantId'])
@Index('comments_of_author', ['authorId'])
export class Comment {
  @Field(() => ID)
  @PrimaryGeneratedColumn('identity', { generatedIdentity: 'BY DEFAULT', primaryKeyConstraintName: 'comments_pk' })
  id!: number;

  @Field()
  @Column({ name: 'tenant_id', type: 'text' })
  tenantId!: string;

  @Field(() => ID)
  @Column({ name: 'post_id', type: 'int' })
  postId!: number;

  @ManyToOne(() => Post, { nullable: false, onDelete: 'CASCADE' })
  @JoinColumn({ name: 'post_id', foreignKeyConstraintName: 'comments_post' })
  post?: Post;

  @Field(() => ID)
  @Column({ name: 'author_id', type: 'int' })
  authorId!: number;

  @ManyToOne(() => User, { nullable: false, onDelete: 'CASCADE' })
  @JoinColumn({ name: 'author_id', foreignKeyConstraintName: 'comments_author' })
  author?: User;

  @Field()
  @Column({ type: 'text' })
  body!: string;

  @Field(() => GraphQLISODateTime)
  @Column({ name: 'created_at', type: 'timestamptz', default: () => 'now()' })
  createdAt!: Date;
}
