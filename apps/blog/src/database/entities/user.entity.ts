import { Field, GraphQLISODateTime, ID, ObjectType } from '@nestjs/graphql';
import { Exclude } from 'class-transformer';
import { Check, Column, Entity, Index, PrimaryGeneratedColumn } from 'typeorm';

@ObjectType()
@Entity('users')
@Index('users_tenant_email', ['tenantId', 'email'], { unique: true })
@Index('users_tenant_id', ['tenantId', 'id'])
@Check('users_role', `"role" IN ('admin', 'editor', 'reader')`)
export class User {
  @Field(() => ID)
  @PrimaryGeneratedColumn('identity', { generatedIdentity: 'BY DEFAULT', primaryKeyConstraintName: 'users_pk' })
  id!: number;

  @Field()
  @Column({ name: 'tenant_id', type: 'text' })
  tenantId!: string;

  @Field()
  @Column({ type: 'text' })
  name!: string;

  @Field()
  @Column({ type: 'text' })
  email!: string;

  @Field({ description: 'admin, editor or reader' })
  @Column({ type: 'text', default: 'reader' })
  role!: string;

  /** Null until the user has set a password. No GraphQL field, and hidden from REST: it never leaves the server. */
  @Exclude()
  @Column({ name: 'password_hash', type: 'text', nullable: true })
  passwordHash!: string | null;

  @Field(() => GraphQLISODateTime)
  @Column({ name: 'created_at', type: 'timestamptz', default: () => 'now()' })
  createdAt!: Date;
}
