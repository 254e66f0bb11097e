/* eslint-disable @typescript-eslint/no-unused-vars -- arguments that only the key sees */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Injectable } from '@nestjs/common';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import {
  cacheOptionsFromEnv,
  CacheQuery,
  CacheQueryset,
  CacheService,
  collect,
  createCachePreset,
  EVENT_CHANNEL,
  invalidateCache,
  type CacheEvent,
} from 'nestjs-result-cache';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Column, DataSource, Entity, PrimaryGeneratedColumn, type SelectQueryBuilder } from 'typeorm';
import { cachedEntities, CachedEntity } from '../../libs/result-cache/src/typeorm/cached-entity.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { closeNest, startNest, type StartedNest } from '../support/nest.js';
import { installSettled } from '../support/settled.js';

// Every example of the requirements document on two-tier query caching, under its heading.

@Entity({ name: 'stories' })
class Story extends CachedEntity {
  static override cacheTags = ['story'];
  static override cacheTtl = 300;
  /** How often a query ran. */
  static queries = 0;

  @PrimaryGeneratedColumn()
  id!: number;

  @Column('text')
  title!: string;

  @Column('boolean', { default: false })
  featured!: boolean;

  @Column('boolean', { default: false })
  published!: boolean;

  @Column('int', { name: 'view_count', default: 0 })
  viewCount!: number;

  @Column('int', { name: 'author_id', default: 1 })
  authorId!: number;

  static getFeatured(): Promise<Story[]> {
    return this.cachedQuery('featured_stories', () => {
      this.queries++;
      return this.find({ where: { featured: true, published: true }, order: { id: 'ASC' } });
    });
  }

  static getTrending(limit = 10): Promise<Story[]> {
    const query = (): SelectQueryBuilder<Story> => {
      this.queries++;
      return this.createQueryBuilder('story').where('published').orderBy('view_count', 'DESC').limit(limit);
    };
    return this.cachedQuery('trending_stories', query, { args: [limit] });
  }
}

interface Profile {
  userId: number;
  bio: string;
}

const CacheUserQuery = createCachePreset({ tags: ['user'], ttl: 300 });
const CacheStoryQuery = createCachePreset({ tags: ['story'], ttl: 300 }, CacheQueryset);
const CacheCommentQuery = createCachePreset({ tags: ['comment'], ttl: 300 });
const CacheNotificationQuery = createCachePreset({ tags: ['notification'], ttl: 300 });

@Injectable()
class Queries {
  readonly calls: string[] = [];
  readonly profiles = new Map([[123, 'first']]);

  @CacheQuery({ ttl: 300, tags: ['user', 'profile'] })
  async getUserProfile(userId: number): Promise<Profile> {
    this.calls.push(`profile ${userId}`);
    return { userId, bio: this.profiles.get(userId) ?? '' };
  }

  @CacheQuery({ ttl: 300, tags: ['user', 'profile', 'settings'] })
  async getUserSettings(userId: number): Promise<string> {
    this.calls.push(`settings ${userId}`);
    return `settings of ${userId}`;
  }

  @CacheQueryset({ ttl: 300, tags: ['story', 'featured'] })
  async getFeaturedStories(): Promise<Story[]> {
    this.calls.push('featured');
    return collect(Story.createQueryBuilder('story').where('featured AND published').orderBy('id'));
  }

  @CacheQueryset({ tags: ['story'] })
  async *streamed(): AsyncGenerator<number> {
    this.calls.push('streamed');
    yield 1;
    yield 2;
  }

  @CacheQueryset({ tags: ['story'] })
  builder(): SelectQueryBuilder<Story> {
    this.calls.push('builder');
    return Story.createQueryBuilder('story').orderBy('id');
  }

  @CacheQueryset({ tags: ['story'] })
  async single(): Promise<Story[]> {
    return 'one' as never;
  }

  @CacheStoryQuery({ ttl: 600 })
  async getTrendingStories(limit = 10): Promise<Story[]> {
    this.calls.push(`trending ${limit}`);
    return collect(Story.createQueryBuilder('story').where('published').orderBy('view_count', 'DESC').limit(limit));
  }

  @CacheUserQuery()
  async getUserStats(userId: number): Promise<{ storyCount: number; totalViews: number }> {
    this.calls.push(`stats ${userId}`);
    return {
      storyCount: await Story.countBy({ authorId: userId }),
      totalViews: (await Story.sum('viewCount', { authorId: userId })) ?? 0,
    };
  }

  @CacheCommentQuery({ tags: (storyId: number) => [`story-${storyId}`] })
  async getComments(storyId: number): Promise<number> {
    return this.calls.push(`comments ${storyId}`);
  }

  @CacheNotificationQuery({ keyPrefix: 'notifications' })
  async getNotifications(_userId: number): Promise<number> {
    return this.calls.push('notifications');
  }

  @CacheQuery({ tags: ['search'], ttl: { named: 'search_results' } })
  async search(text: string): Promise<number> {
    return this.calls.push(`search ${text}`);
  }

  @CacheQuery({ ttl: 0, tags: ['price'] })
  async realTime(): Promise<number> {
    return this.calls.push('real time');
  }
}

let database: TestDatabase;
let nest: StartedNest;
let queries: Queries;
let cache: CacheService;

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query(`
    CREATE TABLE items (id int PRIMARY KEY, tenant_id text, name text);
    CREATE TABLE stories (id serial PRIMARY KEY, title text NOT NULL, featured bool NOT NULL DEFAULT false,
      published bool NOT NULL DEFAULT false, view_count int NOT NULL DEFAULT 0, author_id int NOT NULL DEFAULT 1)`);
  await installSettled(database);
});
beforeEach(async () => {
  await database.pool.query(
    `TRUNCATE stories RESTART IDENTITY;
     INSERT INTO stories (title, featured, published, view_count) VALUES ('one', true, true, 5), ('two', false, true, 9)`,
  );
  Story.queries = 0;
  nest = await start();
  queries = nest.app.get(Queries);
  cache = nest.app.get(CacheService);
});
afterEach(async () => {
  await closeNest();
  CachedEntity.useCache(null);
  await database.pool.query('DELETE FROM fraiseql_cache.fraiseql_cache');
});
afterAll(() => database.drop());

const settings = { L1_CACHE_MAX_SIZE: '1000', L1_CACHE_DEFAULT_TTL: '60', CACHE_TTL_SEARCH_RESULTS: '300' };

function start(): Promise<StartedNest> {
  return startNest(database, {
    imports: [
      TypeOrmModule.forRoot({ type: 'postgres', url: database.url, entities: [Story], retryAttempts: 0 }),
      TypeOrmModule.forFeature([Story]),
    ],
    providers: [Queries, cachedEntities()],
    options: cacheOptionsFromEnv(settings),
  });
}

/** What these calls compute, each made after the one before was stored. */
async function computes(...calls: (() => Promise<unknown>)[]): Promise<string[]> {
  queries.calls.length = 0;
  for (const call of calls) {
    await call();
    await nest.drain();
  }
  return [...queries.calls];
}

const profile = (): Promise<Profile> => queries.getUserProfile(123);

describe('Usage Examples', () => {
  it('Example 1: Cache a Simple Query', async () => {
    expect(await computes(profile, profile)).toEqual(['profile 123']);
    queries.profiles.set(123, 'second');
    expect((await profile()).bio).toBe('first');
    await cache.invalidateByTags(['user', 'profile']);
    expect((await profile()).bio).toBe('second');
  });

  it('Example 2: Cache a QuerySet', async () => {
    await computes(() => queries.getFeaturedStories());
    const stories = await queries.getFeaturedStories();
    expect(queries.calls).toEqual(['featured']);
    expect(stories.map(({ title }) => title)).toEqual(['one']);
    expect(stories[0]).toBeInstanceOf(Story);
  });

  it('Example 2: a query builder or generator that is returned as it is becomes a list too', async () => {
    const builder = async () => queries.builder() as unknown as Promise<Story[]>;
    const streamed = async () => queries.streamed() as unknown as Promise<number[]>;
    expect(await computes(builder, streamed, builder, streamed)).toEqual(['builder', 'streamed']);
    expect((await builder()).map(({ title }) => title)).toEqual(['one', 'two']);
    expect(await streamed()).toEqual([1, 2]);
  });

  it('Example 2: what is no list is refused with what to write, and without a cache lists are lists too', async () => {
    await expect(queries.single()).rejects.toThrow(
      /@CacheQueryset on Queries\.single returned string, which is no queryset; return a list.*or use @CacheQuery/,
    );
    expect(await (new Queries().streamed() as unknown as Promise<number[]>)).toEqual([1, 2]);
  });

  it('Example 3: Use CachedQueryMixin', async () => {
    const read = async () => {
      const found = [await Story.getFeatured(), await Story.getTrending(20), await Story.getTrending(1)];
      await nest.drain();
      return found.map((stories) => stories.map(({ title }) => title).join());
    };
    expect(await read()).toEqual(['one', 'two,one', 'two']);
    expect(await read()).toEqual(['one', 'two,one', 'two']);
    expect(Story.queries).toBe(3);

    const story = await Story.findOneByOrFail({ title: 'two' });
    await Object.assign(story, { featured: true }).save();
    expect(await read()).toEqual(['one,two', 'two,one', 'two']);
    await story.remove();
    expect(await read()).toEqual(['one', 'one', 'one']);
  });

  it('Example 4: Use Pre-configured Decorators', async () => {
    const [trending, stats] = [() => queries.getTrendingStories(1), () => queries.getUserStats(1)];
    expect(await computes(trending, stats, trending, stats)).toEqual(['trending 1', 'stats 1']);
    expect(await stats()).toEqual({ storyCount: 2, totalViews: 14 });
    await cache.invalidateByTags(['story']);
    expect(await computes(trending, stats)).toEqual(['trending 1']);

    // A preset's tags stay when a method adds its own, and its TTL gives way.
    const comments = () => queries.getComments(7);
    await computes(comments);
    for (const tag of ['comment', 'story-7']) {
      await cache.invalidateByTags([tag]);
      expect(await computes(comments, comments)).toEqual(['comments 7']);
    }
    await computes(() => queries.getNotifications(1));
    const { rows } = await database.pool.query<{ view_name: string; ttl: number }>(
      `SELECT view_name, extract(epoch FROM expires_at - cached_at)::float AS ttl FROM fraiseql_cache.fraiseql_cache`,
    );
    expect(Object.fromEntries(rows.map(({ view_name, ttl }) => [view_name, ttl]))).toMatchObject({
      'Queries.getTrendingStories': 600,
      'Queries.getUserStats': 300,
      notifications: 300,
    });
  });

  it('Example 5: Cache Invalidation on Updates', async () => {
    const other = (): Promise<Profile> => queries.getUserProfile(456);
    await computes(profile, other);
    await cache.invalidateMethod(queries, 'getUserProfile', [123]);
    expect(await computes(profile, other)).toEqual(['profile 123']);
    await invalidateCache(queries, 'getUserProfile', [456]);
    expect(await computes(profile, other)).toEqual(['profile 456']);
  });
});

it('Cache Key Generation', async () => {
  await computes(profile, () => Story.getFeatured());
  const { rows } = await database.pool.query<{ cache_key: string }>(
    'SELECT cache_key FROM fraiseql_cache.fraiseql_cache ORDER BY view_name',
  );
  expect(rows.map(({ cache_key: key }) => key)).toEqual([
    expect.stringMatching(/^fraiseql:\/?db_query:Queries\.getUserProfile:\S+$/),
    expect.stringMatching(/^fraiseql:\/?db_query:Story\.featured_stories:\S+$/),
  ]);
});

describe('Cache Invalidation Strategies', () => {
  it('1. Tag-Based Invalidation', async () => {
    const settingsOf = (): Promise<string> => queries.getUserSettings(1);
    for (const tags of [['user'], ['user', 'settings']]) {
      await computes(settingsOf);
      await cache.invalidateByTags(tags);
      expect(await computes(settingsOf, settingsOf)).toEqual(['settings 1']);
    }
  });

  it('2. Specific Key Invalidation: by class, where the object is not at hand', async () => {
    await computes(profile);
    await cache.invalidateMethod(Queries, 'getUserProfile', [123]);
    expect(await computes(profile)).toEqual(['profile 123']);
  });

  it.each<[string, (id: number) => Promise<unknown>]>([
    ['save', async (id) => Object.assign(await Story.findOneByOrFail({ id }), { title: 'new' }).save()],
    ['update', (id) => Story.update(id, { title: 'new' })],
    ['a repository', (id) => Story.getRepository().save({ id, title: 'new' })],
    ['a query builder', (id) => Story.createQueryBuilder().update().set({ title: 'new' }).where({ id }).execute()],
    ['delete', (id) => Story.delete(id)],
    ['insert', () => Story.insert({ title: 'new', featured: true, published: true })],
    ['clear', () => Story.clear()],
  ])('3. Model-Level Invalidation: %s', async (_, write) => {
    const read = async () => (await Story.getFeatured()).map(({ title }) => title);
    await read();
    await nest.drain();
    await write(1);
    const { rows } = await database.pool.query<{ title: string }>(
      'SELECT title FROM stories WHERE featured AND published ORDER BY id',
    );
    expect(await read()).toEqual(rows.map(({ title }) => title));
    expect(Story.queries).toBe(2);
  });

  it('3. Model-Level Invalidation takes effect with the commit, and not with a rollback', async () => {
    const dataSource = nest.app.get<DataSource>(getDataSourceToken());
    const queriesDuring = async (end: 'commit' | 'rollback') => {
      await Story.getFeatured();
      await nest.drain();
      Story.queries = 0;
      const transaction = dataSource.transaction(async (manager) => {
        await manager.save(Object.assign(await manager.findOneByOrFail(Story, { id: 1 }), { title: end }));
        await Story.getFeatured();
        expect(Story.queries).toBe(0);
        if (end === 'rollback') throw new Error('undone');
      });
      await transaction.catch(() => undefined);
      const [story] = await Story.getFeatured();
      return [Story.queries, story!.title];
    };
    expect(await queriesDuring('rollback')).toEqual([0, 'one']);
    expect(await queriesDuring('commit')).toEqual([1, 'commit']);
  });
});

describe('Best Practices', () => {
  it('1. Choose Appropriate TTL: 0 does not cache', async () => {
    const realTime = (): Promise<number> => queries.realTime();
    expect(await computes(realTime, realTime)).toEqual(['real time', 'real time']);
  });

  it('2. Use Tags Effectively: a tag reaches what carries it, and nothing else', async () => {
    const all = [profile, () => queries.getUserSettings(1), () => queries.getUserStats(1)];
    await computes(...all);
    await cache.invalidateByTags(['settings']);
    expect(await computes(...all)).toEqual(['settings 1']);
    await cache.invalidateByTags(['profile']);
    expect(await computes(...all)).toEqual(['profile 123', 'settings 1']);
  });

  it('3. Invalidate on Writes', async () => {
    await computes(() => queries.getFeaturedStories());
    await Story.update(2, { featured: true });
    expect((await queries.getFeaturedStories()).map(({ title }) => title)).toEqual(['one', 'two']);
  });

  it('4. Cache Expensive Queries Only: a query takes what it likes to compute, and is not asked again', async () => {
    const trending = (): Promise<Story[]> => queries.getTrendingStories(50);
    expect(await computes(trending, trending, trending)).toEqual(['trending 50']);
  });

  it('5. Monitor Cache Performance', async () => {
    cache.resetStats();
    await computes(profile, profile, profile, profile);
    expect(await cache.getStats()).toMatchObject({ hitRate: 0.75, hits: 3, misses: 1, size: 1, maxSize: 1_000 });
  });
});

describe('Configuration', () => {
  it('Environment Variables', () => {
    expect(
      cacheOptionsFromEnv({
        VALKEY_URL: 'redis://localhost:6379/0',
        L1_CACHE_MAX_SIZE: '1000',
        L1_CACHE_DEFAULT_TTL: '60',
        CACHE_TTL_USER_PROFILE: '300',
        CACHE_TTL_STORY_LISTING: '5m',
        CACHE_TTL_SEARCH_RESULTS: '',
      }),
    ).toEqual({ memory: { maxEntries: 1000, ttl: 60 }, ttls: { user_profile: 300, story_listing: '5m' } });
    expect(cacheOptionsFromEnv({})).toEqual({ ttls: {} });
  });

  it.each([
    [
      { L1_CACHE_MAX_SIZE: 'many' },
      /^L1_CACHE_MAX_SIZE=many is not a number of entries; write .*L1_CACHE_MAX_SIZE=1000/,
    ],
    [{ L1_CACHE_MAX_SIZE: '0' }, /^L1_CACHE_MAX_SIZE=0 is not a number/],
    [{ CACHE_TTL_USER_PROFILE: 'long' }, /^CACHE_TTL_USER_PROFILE=long is not a time to live; write seconds/],
    [{ CACHE_TTL_: '5' }, /^CACHE_TTL_ lacks a name/],
  ])('Environment Variables: %o is refused', (env, message) => {
    expect(() => cacheOptionsFromEnv(env)).toThrow(message);
  });

  it('Settings: TTLs have names, and a name that is missing is refused at start', async () => {
    await computes(() => queries.search('x'));
    const { rows } = await database.pool.query<{ ttl: number }>(
      'SELECT extract(epoch FROM expires_at - cached_at)::float AS ttl FROM fraiseql_cache.fraiseql_cache',
    );
    expect(rows).toEqual([{ ttl: 300 }]);
    await expect(startNest(database, { providers: [Queries] })).rejects.toThrow(
      /@CacheQuery on Queries\.search: ttl: there is no time to live named 'search_results' \(none is set\); write CacheModule\.forRoot\(\{ ttls: \{ search_results: 300 \} \}\)/,
    );
  });
});

describe('Performance Considerations', () => {
  it('Memory Usage: memory keeps as many entries as it may', async () => {
    const small = await startNest(database, { options: cacheOptionsFromEnv({ L1_CACHE_MAX_SIZE: '2' }) });
    for (const key of ['a', 'b', 'c']) {
      await small.cache.getOrSet(key, async () => key, { tags: ['t'] });
      await small.drain();
    }
    expect(await small.cache.getStats()).toMatchObject({ size: 2, maxSize: 2, evictions: 1 });
  });

  it('Cache Stampede Prevention: one query runs for all who ask meanwhile', async () => {
    await Promise.all(Array.from({ length: 20 }, profile));
    expect(queries.calls).toEqual(['profile 123']);
  });
});

describe('Monitoring and Debugging', () => {
  it('Enable Debug Logging: everything the cache does is on a channel', async () => {
    const seen: string[] = [];
    const log = (event: unknown): void => void seen.push((event as CacheEvent).type);
    subscribe(EVENT_CHANNEL, log);
    await computes(profile, profile);
    unsubscribe(EVENT_CHANNEL, log);
    expect(seen).toEqual(expect.arrayContaining(['miss', 'computed', 'stored', 'hit']));
  });

  it('Cache Statistics', async () => {
    expect(Object.keys(await cache.getStats())).toEqual(
      expect.arrayContaining(['hitRate', 'hits', 'misses', 'evictions', 'size', 'maxSize']),
    );
  });
});

it('Unit Tests', async () => {
  class Expensive {
    calls = 0;

    @CacheQuery({ ttl: 60, tags: ['test'] })
    async query(): Promise<object> {
      this.calls++;
      return { result: 'data' };
    }
  }
  const { app, cache: own, drain } = await startNest(database, { providers: [Expensive] });
  const expensive = app.get(Expensive);
  const first = await expensive.query();
  await drain();
  expect(await expensive.query()).toEqual(first);
  expect(expensive.calls).toBe(1);
  await own.invalidateByTags(['test']);
  await expensive.query();
  expect(expensive.calls).toBe(2);
});
