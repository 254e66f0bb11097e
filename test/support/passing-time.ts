import { systemClock, type Clock } from 'nestjs-result-cache';
import { type TestDatabase } from './database.js';

/** Time that passes when it is told to: for processes, whose clock this is, and for what is in the cache's table. */
export class PassingTime implements Clock {
  private passed = 0;

  constructor(private readonly database: TestDatabase) {}

  wall = (): number => systemClock.wall() + this.passed;
  monotonic = (): number => systemClock.monotonic() + this.passed;

  /** So many seconds later. The database's clock stays, so its rows are made older. */
  async pass(seconds: number): Promise<void> {
    this.passed += seconds * 1_000;
    await this.database.pool.query(
      `UPDATE fraiseql_cache.fraiseql_cache c SET expires_at = expires_at - $1 * interval '1 s', stale_until = stale_until - $1 * interval '1 s',
              cached_at = cached_at - $1 * interval '1 s',
              proof = (SELECT json_agg(CASE WHEN e.place IN (5, 6) THEN to_json((e.value #>> '{}')::bigint - $1 * 1000) ELSE e.value END ORDER BY e.place)
                         FROM json_array_elements(c.proof::json) WITH ORDINALITY AS e (value, place))::text`,
      [seconds],
    );
  }
}
