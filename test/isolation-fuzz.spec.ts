import { afterAll, beforeAll, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { CacheModule, EVENT_CHANNEL, getCacheToken, TenantContext, type CacheService } from 'nestjs-result-cache';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { inspect } from 'node:util';
import { createDatabase, type TestDatabase } from './support/database.js';
import { fuzz } from './support/fuzz.js';
import { closeNest, startNest, type StartedNest } from './support/nest.js';
import { installSettled } from './support/settled.js';

/** One of them is the beginning of another, one is a pattern, one would end a text in SQL. */
const TENANTS = [
  'acme',
  'acme:kv',
  '%',
  '*',
  "o'; DROP TABLE items; --",
  '__proto__',
  'shared',
  'ac\nme',
  'é',
  'e\u0301',
];
const KEYS = ['k', 'k:1', '*', 'acme:kv:k', '__proto__', 'k\0'];
/** What no other tenant, no event and no log line may show. */
const SECRET = 'the secret of ';

let database: TestDatabase;
/** Two processes, as far as the database can tell. */
let processes: StartedNest[];
/** In each of them: the module's cache, a named one on its table, and a named one with a table of its own. */
let caches: CacheService[][];
const told: string[] = [];
const listen = (event: unknown): void => void told.push(inspect(event, { depth: 6 }));

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query('CREATE TABLE items (id int PRIMARY KEY, tenant_id text, name text)');
  await installSettled(database);
  const start = async (): Promise<StartedNest> =>
    startNest(database, {
      options: { tenancy: 'required', lease: true },
      imports: [
        CacheModule.forFeature({ name: 'named', lease: true }),
        CacheModule.forFeature({ name: 'own', tableName: 'own', freshness: { maxStaleness: '50ms' } }),
      ],
    });
  processes = [await start(), await start()];
  caches = processes.map(({ app, cache }) => [
    cache,
    ...['named', 'own'].map((name) => app.get<CacheService>(getCacheToken(name))),
  ]);
  subscribe(EVENT_CHANNEL, listen);
});
afterAll(async () => {
  unsubscribe(EVENT_CHANNEL, listen);
  await closeNest();
  await database.drop();
});

const step = fc.record({
  operation: fc.constantFrom(
    ...(['read', 'read', 'read', 'fail', 'get', 'many', 'set', 'delete', 'pattern', 'tags', 'write', 'stats'] as const),
  ),
  process: fc.nat({ max: 1 }),
  cache: fc.nat({ max: 2 }),
  tenant: fc.nat({ max: 2 }),
  named: fc.boolean(),
  key: fc.constantFrom(...KEYS),
});
/** What goes on at once, then what comes after it. */
const rounds = fc.tuple(
  fc.uniqueArray(fc.constantFrom(...TENANTS), { minLength: 3, maxLength: 3 }),
  fc.array(fc.array(step, { minLength: 2, maxLength: 12 }), { minLength: 2, maxLength: 6 }),
);

it('three tenants at once, in two processes: nobody is shown a value, an error, a figure or a word of another’s', async () => {
  let id = 0;
  let shared = 0;
  await fuzz(
    fc.asyncProperty(rounds, async ([names, all]) => {
      for (const steps of all)
        await Promise.all(
          steps.map(async ({ operation, process, cache: index, tenant: number, named, key }) => {
            const cache = caches[process]![index]!;
            const tenant = names[number]!;
            const secret = `${SECRET}${tenant}`;
            const policy = { domains: ['item'], tags: [`tag ${tenant}`] };
            const within = async <T>(call: (options: object) => Promise<T>): Promise<T> =>
              named
                ? call({ tenant: { id: tenant } })
                : processes[process]!.app.get(TenantContext).run(tenant, async () => call({}));
            const own = (found: unknown): void => {
              if (found === undefined) return;
              shared++;
              expect(found).toEqual({ secret });
            };
            switch (operation) {
              case 'read':
              case 'fail': {
                // Whoever joins a computation that fails is of the same tenant.
                const compute = async (): Promise<unknown> => {
                  if (operation === 'fail') throw new Error(secret);
                  return { secret };
                };
                const reading = within((more) => cache.getOrSet(key, compute, { ...policy, ...more }));
                const found = await reading.catch((error: Error) => {
                  expect(error.message).toBe(secret);
                  return undefined;
                });
                return own(found);
              }
              case 'get':
                return own(await within((more) => cache.get(key, more)));
              case 'many':
                for (const found of (await within((more) => cache.getMany(KEYS, more))).values()) own(found);
                return;
              case 'set':
                return void (await within((more) => cache.set(key, { secret }, { untracked: true, ...more })));
              case 'delete':
                return void (await within((more) => cache.delete(key, more)));
              case 'pattern':
                return void (await within((more) => cache.invalidatePattern(`${key.replace('\0', '')}*`, more)));
              case 'tags':
                return void (await cache.invalidateTags(`tag ${tenant}`));
              case 'write':
                return void (await database.pool.query('INSERT INTO items VALUES ($1, $2)', [++id, tenant]));
              case 'stats':
                expect(inspect(await cache.getStats(), { depth: 9 })).not.toContain(SECRET);
            }
          }),
        );
    }),
    30,
  );
  expect(shared).toBeGreaterThan(100);
  const log = [...told, ...processes.flatMap(({ warnings }) => warnings)];
  expect(log.length).toBeGreaterThan(100);
  for (const line of log) expect(line).not.toContain(SECRET);
  // Each row is its tenant's, by its column as by its key.
  for (const table of ['fraiseql_cache', 'own']) {
    const { rows } = await database.pool.query<{ tenant: string; secret: string }>(
      `SELECT tenant_id AS tenant, cache_value ->> 'secret' AS secret FROM fraiseql_cache.${table}`,
    );
    for (const { tenant, secret } of rows) expect(secret).toBe(`${SECRET}${tenant}`);
  }
}, 120_000);
