import {
  Column,
  DeleteDateColumn,
  Entity,
  Index,
  JoinColumn,
  JoinTable,
  ManyToMany,
  ManyToOne,
  OneToMany,
  PrimaryGeneratedColumn,
  type Relation,
} from 'typeorm';

@Entity('users')
export class User {
  @PrimaryGeneratedColumn() id!: number;
  @Column({ name: 'tenant_id', default: 'acme' }) tenantId!: string;
  @Column() name!: string;
  @Column({ default: true }) active!: boolean;
  @ManyToOne(() => User, { nullable: true }) bestFriend!: Relation<User> | null;
  @OneToMany(() => Post, (post) => post.author) posts!: Relation<Post>[];
  get greeting(): string {
    return `Hello ${this.name}`;
  }
}

@Entity('posts')
export class Post {
  @PrimaryGeneratedColumn() id!: number;
  @Column() title!: string;
  @Index() @Column({ name: 'author_id', nullable: true }) authorId!: number | null;
  @ManyToOne(() => User, (user) => user.posts, { nullable: true })
  @JoinColumn({ name: 'author_id' })
  author!: Relation<User> | null;
  @OneToMany(() => Comment, (comment) => comment.post) comments!: Relation<Comment>[];
  @ManyToMany(() => Tag, (tag) => tag.posts) @JoinTable() tags!: Relation<Tag>[];
}

@Entity('comments')
export class Comment {
  @PrimaryGeneratedColumn() id!: number;
  @Column() text!: string;
  @ManyToOne(() => Post, (post) => post.comments, { nullable: false, onDelete: 'CASCADE' }) post!: Relation<Post>;
  @DeleteDateColumn() deletedAt!: Date | null;
}

@Entity('tags')
export class Tag {
  @PrimaryGeneratedColumn() id!: number;
  @Column() label!: string;
  @ManyToMany(() => Post, (post) => post.tags) posts!: Relation<Post>[];
}

export const BLOG = [User, Post, Comment, Tag];
