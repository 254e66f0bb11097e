import { Injectable } from '@nestjs/common';
import { InjectDataSource } from '@nestjs/typeorm';
import { CacheResult, TenantContext } from 'nestjs-result-cache';
import { DataSource } from 'typeorm';
import { type Dashboard, type TopAuthor } from './dashboard.model.js';

const TOTALS = `
  SELECT (SELECT count(*)::int FROM users WHERE tenant_id = $1) AS "totalUsers",
         (SELECT count(*)::int FROM comments WHERE tenant_id = $1) AS "totalComments",
         count(*)::int AS "totalPosts",
         coalesce(avg(length(content)), 0)::float8 AS "averagePostLength"
    FROM posts WHERE tenant_id = $1`;

const TOP_AUTHORS = `
  SELECT users.id, users.name,
         count(DISTINCT posts.id)::int AS "postCount",
         count(comments.id)::int AS "commentCount"
    FROM users
    JOIN posts ON posts.author_id = users.id AND posts.tenant_id = users.tenant_id
    LEFT JOIN comments ON comments.post_id = posts.id AND comments.tenant_id = posts.tenant_id
   WHERE users.tenant_id = $1
   GROUP BY users.id
   ORDER BY "postCount" DESC, users.id
   LIMIT 5`;

const POSTS_LAST_24_HOURS = `
  SELECT count(*)::int AS count FROM posts WHERE tenant_id = $1 AND created_at > now() - interval '24 hours'`;

/** Figures about the current tenant. */
@Injectable()
export class DashboardService {
  constructor(
    @InjectDataSource() private readonly dataSource: DataSource,
    private readonly tenant: TenantContext,
  ) {}

  /** Reads every post and comment of the tenant: the expensive query of this application. */
  @CacheResult({ domains: 'infer', ttl: '10m' })
  async summary(): Promise<Dashboard> {
    const tenant = this.tenant.require();
    const [[totals], topAuthors] = await Promise.all([
      this.dataSource.query<[Omit<Dashboard, 'topAuthors'>]>(TOTALS, [tenant]),
      this.dataSource.query<TopAuthor[]>(TOP_AUTHORS, [tenant]),
    ]);
    return { ...totals, topAuthors };
  }

  /**
   * Changes with the clock too: a post falls out of the window without anybody writing, and no trigger sees that. Hence
   * the short TTL, which is how far the figure may be behind. Apart from {@link summary}, because a value that is
   * computed from this one would have to expire with it.
   */
  @CacheResult({ domains: 'infer', ttl: '30s' })
  async postsLast24Hours(): Promise<number> {
    const [{ count }] = await this.dataSource.query<[{ count: number }]>(POSTS_LAST_24_HOURS, [this.tenant.require()]);
    return count;
  }
}
