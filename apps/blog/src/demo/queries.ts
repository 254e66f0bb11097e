import { type INestApplication } from '@nestjs/common';
import { CacheService, TenantContext } from 'nestjs-result-cache';
import { CachedEntityRepository } from 'nestjs-result-cache/typeorm';
import { DataSource, type EntityTarget, type ObjectLiteral } from 'typeorm';
import { CommentsService } from '../comments/comments.service.js';
import { DashboardService } from '../dashboard/dashboard.service.js';
import { Comment } from '../database/entities/comment.entity.js';
import { Post } from '../database/entities/post.entity.js';
import { User } from '../database/entities/user.entity.js';
import { PostsService } from '../posts/posts.service.js';
import { TENANT_HEADER, TENANTS } from '../tenancy/tenants.js';
import { UsersService } from '../users/users.service.js';
import { comparison, type Comparison, type Contest } from './comparison.js';

interface Services {
  users: UsersService;
  posts: PostsService;
  comments: CommentsService;
  dashboard: DashboardService;
}

const PAGE = { limit: 20, offset: 0 };

/** What is compared within the process: the services of the application against ones with the same code and no cache. */
export function contests(app: INestApplication): { simple: Contest; aggregate: Contest; multiTenant: Contest } {
  const tenants = app.get(TenantContext);
  const ways = { computed: uncachedServices(app), cached: cachedServices(app) };
  const contest = (name: string, query: (services: Services, round: number) => Promise<unknown>): Contest => ({
    name,
    computed: (round) => query(ways.computed, round),
    cached: (round) => query(ways.cached, round),
    stored: () => app.get(CacheService).engine.drain(),
  });
  const inAcme = <T>(query: () => Promise<T>): Promise<T> => tenants.run('acme', query);
  return {
    simple: contest('simple query: 20 users', ({ users }) => inAcme(() => users.list(PAGE))),
    aggregate: contest('aggregate: the dashboard', ({ dashboard }) => inAcme(() => dashboard.summary())),
    multiTenant: contest('multi-tenant: 20 posts with authors and comments, tenants in turn', (services, round) =>
      tenants.run(TENANTS[round % TENANTS.length]!, () => pageOfPosts(services)),
    ),
  };
}

/** The dashboard as a client waits for it. Before each computed one, somebody changes a row, so that it has to be computed. */
export async function compareHttp(app: INestApplication, url: string, rounds: number): Promise<Comparison> {
  const dataSource = app.get(DataSource);
  const { engine } = app.get(CacheService);
  const times = { miss: [] as number[], hit: [] as number[] };
  for (let round = -3; round < rounds; round++) {
    await dataSource.query('UPDATE comments SET body = body WHERE id = 1');
    for (const expected of ['miss', 'hit'] as const) {
      const start = performance.now();
      const status = await requestDashboard(url);
      const time = performance.now() - start;
      if (!status.includes(expected))
        throw new Error(`GET dashboard: expected a ${expected}, Cache-Status is ${status}`);
      if (round >= 0) times[expected].push(time);
      await engine.drain();
    }
  }
  return comparison('the dashboard over HTTP and GraphQL', times.miss, times.hit);
}

async function requestDashboard(url: string): Promise<string> {
  const query = '{ dashboard { totalUsers totalPosts totalComments averagePostLength topAuthors { name postCount } } }';
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', [TENANT_HEADER]: 'acme' },
    body: JSON.stringify({ query }),
  });
  const { data } = (await response.json()) as { data?: { dashboard?: object } };
  if (data?.dashboard === undefined) throw new Error(`the dashboard was answered with ${response.status}`);
  return response.headers.get('cache-status') ?? 'missing';
}

async function pageOfPosts({ posts, users, comments }: Services): Promise<unknown> {
  const page = await posts.list(PAGE);
  return Promise.all(
    page.map(async (post) => ({
      post,
      author: await users.get(post.authorId),
      comments: await comments.list(PAGE, post.id),
    })),
  );
}

function cachedServices(app: INestApplication): Services {
  return {
    users: app.get(UsersService, { strict: false }),
    posts: app.get(PostsService, { strict: false }),
    comments: app.get(CommentsService, { strict: false }),
    dashboard: app.get(DashboardService, { strict: false }),
  };
}

/** Made with `new`, not by Nest: then a decorated method finds no cache, and the repositories are told to use none. */
function uncachedServices(app: INestApplication): Services {
  const tenants = app.get(TenantContext);
  const dataSource = app.get(DataSource);
  const repository = <Entity extends ObjectLiteral>(entity: EntityTarget<Entity>): CachedEntityRepository<Entity> =>
    CachedEntityRepository.uncached(dataSource.getRepository(entity));
  const users = new UsersService(repository(User), tenants);
  return {
    users,
    posts: new PostsService(repository(Post), users, tenants),
    comments: new CommentsService(repository(Comment), tenants),
    dashboard: new DashboardService(dataSource, tenants),
  };
}
