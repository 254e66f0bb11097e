import { PostgresCache, ResultCache, type MemoryOptions, type Policy } from 'nestjs-result-cache';
import pg from 'pg';
import { copyEntry, copyKey } from '../entries.js';
import { valueOf } from '../values.js';

/** How much of everything there is in a cache. */
export interface Size {
  entries: number;
  /** Of each entry: it depends on so many domains. */
  tags: number;
  /** 0: entries depend on whole domains. Otherwise each depends on the rows of one of so many tenants. */
  tenants: number;
}

export const TIERS = ['memory, strict', 'PostgreSQL, validated'] as const;
export type GrownTier = (typeof TIERS)[number];

const MOST_TAGS = 10;
const domainsOf = (count: number): string[] => Array.from({ length: count }, (_, index) => `growth_${index}`);
const keyOf = (tenant: number): string => `tenant:${tenant}`;

/** A cache of this library with entries of 1 kB, as many as wanted. */
export class GrownCache {
  private readonly caches: Readonly<Record<GrownTier, ResultCache>>;
  private readonly policies: readonly Policy[];

  private constructor(
    private readonly pool: pg.Pool,
    private readonly store: PostgresCache,
    readonly size: Size,
  ) {
    const cache = (memory: MemoryOptions | false): ResultCache => new ResultCache({ store, timeout: Infinity, memory });
    this.caches = {
      'memory, strict': cache({ maxEntries: size.entries, maxBytes: 2 ** 31, ttl: '1h' }),
      'PostgreSQL, validated': cache(false),
    };
    const { entries, tags, tenants } = size;
    if (tenants > 0 && entries % tenants !== 0)
      throw new Error(`growth: ${entries} entries cannot be shared out among ${tenants} tenants`);
    const names = domainsOf(tags);
    this.policies = Array.from({ length: Math.max(1, tenants) }, (_, tenant) =>
      this.caches['memory, strict'].policy({
        ttl: '1h',
        ...(tenants === 0 ? { domains: names } : { rows: names.map((name) => [name, { tenant_id: `t${tenant}` }]) }),
      }),
    );
  }

  static async open(postgresUrl: string, size: Size): Promise<GrownCache> {
    const pool = new pg.Pool({ connectionString: postgresUrl, max: 4 });
    const tables = domainsOf(MOST_TAGS);
    for (const table of tables)
      await pool.query(`CREATE TABLE IF NOT EXISTS ${table} (id int PRIMARY KEY, tenant_id text NOT NULL)`);
    const store = new PostgresCache({
      connection: pool,
      tableName: `bench_growth_${size.entries}_${size.tags}_${size.tenants}`,
      watch: tables.map((table) => ({ table, domain: table, tenantColumn: 'tenant_id' })),
    });
    await store.initialize();
    return new GrownCache(pool, store, size);
  }

  /** Store all entries. */
  async fill(): Promise<void> {
    const cache = this.caches['PostgreSQL, validated'];
    await Promise.all(
      this.policies.map((policy, tenant) => cache.getOrSet(keyOf(tenant), async () => valueOf(1_000, tenant), policy)),
    );
    await cache.drain();
    const copies = this.size.entries / this.policies.length - 1;
    for (const tenant of this.policies.keys()) await copyEntry(this.pool, this.store, keyOf(tenant), copies);
    await this.store.vacuum();
  }

  /** Read all entries once, so that this process knows them. */
  async warm(): Promise<void> {
    const { entries } = this.size;
    for (const tier of TIERS)
      for (let first = 0; first < entries; first += 1_000)
        await Promise.all(
          Array.from({ length: Math.min(1_000, entries - first) }, (_, index) => this.read(tier, first + index)),
        );
  }

  /** Read an entry by its number, from 0. @throws Error where it is not there. */
  read(tier: GrownTier, index: number): Promise<unknown> {
    const tenant = index % this.policies.length;
    const copy = Math.floor(index / this.policies.length);
    const key = copy === 0 ? keyOf(tenant) : copyKey(keyOf(tenant), copy);
    return this.caches[tier].getOrSet(key, missing, this.policies[tenant]!);
  }

  async close(): Promise<void> {
    for (const cache of Object.values(this.caches)) cache.stop();
    await this.store.close();
    await this.pool.end();
  }
}

async function missing(): Promise<never> {
  throw new Error('growth: a miss');
}
