import { expect } from '@jest/globals';
import { type ResultCache, type RowValues } from 'nestjs-result-cache';
import { type TestDatabase } from './database.js';

/** What a read depends on, and returns: a whole table (`author`), or its rows with these values. */
export type Scope = string | readonly [table: string, values: RowValues];

/** How one process got a value: served, or computed again. */
export type Outcome = 'hit' | 'fresh';

let run = 0;

/**
 * Cached reads of whole tables and of single rows, by several processes. Each table is a domain of its own name, and a
 * read is declared as narrow as it is, so that what it returns and what makes it void can be held against each other.
 */
export class CachedReads {
  private readonly prefix = `read-${++run}`;

  constructor(
    private readonly database: TestDatabase,
    private readonly caches: readonly ResultCache[],
  ) {}

  /** Read in all processes until each has it. */
  async prime(scopes: readonly Scope[]): Promise<void> {
    for (const cache of this.caches) {
      await Promise.all(scopes.map((scope) => this.read(cache, scope)));
      await cache.drain();
    }
    for (const cache of this.caches)
      expect(await this.readAll(cache, scopes)).toEqual(
        Object.fromEntries(scopes.map((scope) => [nameOf(scope), 'hit'])),
      );
  }

  /**
   * Read once in every process, each from what it has: whatever way it comes, it must be what the database holds now.
   * Tells what the first process had to compute again; from that the others may be served.
   */
  async outcomes(scopes: readonly Scope[]): Promise<Record<string, Outcome>> {
    const [first, ...others] = this.caches as [ResultCache, ...ResultCache[]];
    const outcomes = await this.readAll(first, scopes);
    for (const cache of others) await this.readAll(cache, scopes);
    await Promise.all(this.caches.map((cache) => cache.drain()));
    return outcomes;
  }

  private async readAll(cache: ResultCache, scopes: readonly Scope[]): Promise<Record<string, Outcome>> {
    return Object.fromEntries(
      await Promise.all(scopes.map(async (scope) => [nameOf(scope), await this.read(cache, scope)] as const)),
    );
  }

  /** @throws an assertion error if the value is not what the database holds. */
  private async read(cache: ResultCache, scope: Scope): Promise<Outcome> {
    let outcome: Outcome = 'hit';
    const compute = async (): Promise<unknown> => {
      outcome = 'fresh';
      return this.select(scope);
    };
    const depends = typeof scope === 'string' ? { domains: [scope] } : { rows: [scope] };
    const value = await cache.getOrSet(`${this.prefix} ${nameOf(scope)}`, compute, { ...depends, ttl: 60 });
    expect({ [nameOf(scope)]: value }).toEqual({ [nameOf(scope)]: await this.select(scope) });
    return outcome;
  }

  private async select(scope: Scope): Promise<unknown> {
    const [table, values] = typeof scope === 'string' ? [scope, {}] : scope;
    const where = Object.keys(values).map((column, index) => `AND t.${column} = $${index + 1}`);
    const { rows } = await this.database.pool.query<{ found: unknown }>(
      `SELECT COALESCE(json_agg(t ORDER BY t::text), '[]') AS found FROM ${table} t WHERE true ${where.join(' ')}`,
      Object.values(values).map(String),
    );
    return rows[0]!.found;
  }
}

export function nameOf(scope: Scope): string {
  if (typeof scope === 'string') return scope;
  const [table, values] = scope;
  const named = Object.entries(values).map(
    ([column, value]) => `${column}=${typeof value === 'string' ? JSON.stringify(value) : `${typeof value} ${value}`}`,
  );
  return `${table} ${named.join()}`;
}
