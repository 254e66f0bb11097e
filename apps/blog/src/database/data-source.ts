import { DataSource } from 'typeorm';
import { Comment } from './entities/comment.entity.js';
import { Post } from './entities/post.entity.js';
import { User } from './entities/user.entity.js';
import { CreateBlog1763600000000 } from './migrations/1763600000000-create-blog.js';

export const ENTITIES = [User, Post, Comment];

/** Any number, as long as every process of this application takes the same one. */
export const SETUP_LOCK = 20_251_120;

/** The database cannot be reached, or refuses us; the message is one line without the password. */
export class DatabaseUnavailableError extends Error {
  override readonly name = 'DatabaseUnavailableError';
}

/**
 * Connect and bring the schema up to date. Any number of processes may do so at once.
 *
 * @throws DatabaseUnavailableError when there is no connection to be had.
 */
export async function openDatabase(url: string): Promise<DataSource> {
  const dataSource = new DataSource({
    type: 'postgres',
    url: checkedUrl(url),
    applicationName: 'blog',
    entities: ENTITIES,
    migrations: [CreateBlog1763600000000],
    connectTimeoutMS: 10_000,
  });
  try {
    await dataSource.initialize();
  } catch (error) {
    throw new DatabaseUnavailableError(`cannot connect to ${withoutPassword(url)}: ${reason(error)}`, { cause: error });
  }
  try {
    await migrate(dataSource);
  } catch (error) {
    await dataSource.destroy();
    throw error;
  }
  return dataSource;
}

async function migrate(dataSource: DataSource): Promise<void> {
  // TypeORM takes no lock of its own: two processes on an empty database would both create the tables, and one fail.
  const lock = dataSource.createQueryRunner();
  try {
    await lock.query('SELECT pg_advisory_lock($1)', [SETUP_LOCK]);
    await dataSource.runMigrations();
  } finally {
    await lock.query('SELECT pg_advisory_unlock($1)', [SETUP_LOCK]).finally(() => lock.release());
  }
}

function checkedUrl(url: string): string {
  // Without this check, pg takes "localhost:5432/blog" for something else and complains about a host named "base".
  if (/^postgres(ql)?:\/\//.test(url) && URL.canParse(url)) return url;
  throw new DatabaseUnavailableError('not a PostgreSQL URL; write it like postgres://user:password@host:5432/database');
}

function withoutPassword(url: string): string {
  const { hostname, port, pathname } = new URL(url);
  return `${hostname || 'localhost'}:${port || '5432'}${pathname}`;
}

function reason(error: unknown): string {
  // "localhost" may be two addresses; then Node reports an AggregateError whose own message is empty.
  const { errors, message } = error as Partial<AggregateError>;
  const [first] = (errors ?? []) as Error[];
  return (first?.message ?? message ?? String(error)).split('\n', 1)[0]!;
}
