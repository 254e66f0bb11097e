import { afterAll, beforeAll, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseAnswer } from '../../libs/result-cache/src/postgres/wire.js';
import { closeCaches, openCache, type TestCache } from '../support/caches.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { fuzz } from '../support/fuzz.js';

class User {
  name = 'ada';
  at = new Date(0);
}
/** Of every kind that the codec knows a type for. */
const VALUES: Record<string, unknown> = {
  plain: { id: 1, tags: ['a', 'b'] },
  typed: {
    at: new Date(5),
    big: 7n,
    map: new Map([['a', new Set([1])]]),
    gone: undefined,
    nan: NaN,
    bytes: Buffer.from('hi'),
  },
  user: new User(),
  list: [new Date(1), null, 2n],
  text: 'text',
};

let database: TestDatabase;
let writer: TestCache;
let readers: TestCache[];
/** The rows as they were stored. */
let stored: Record<string, string | null>[];

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query('CREATE TABLE users (id int PRIMARY KEY)');
  writer = await openCache(database, { watch: [{ table: 'users', domain: 'user' }] });
  // One that keeps rows in memory, and one that reads each of them anew.
  readers = [await openCache(database), await openCache(database, {}, { memory: false })];
  for (const [key, value] of Object.entries(VALUES)) await compute(writer, key, value);
  await writer.cache.drain();
  const { rows } = await database.pool.query('SELECT to_jsonb(c) AS row FROM fraiseql_cache.fraiseql_cache c');
  stored = rows.map(({ row }) => row as Record<string, string | null>);
  expect(stored).toHaveLength(Object.keys(VALUES).length);
});
afterAll(async () => {
  await closeCaches();
  await database.drop();
});

const compute = async ({ cache }: TestCache, key: string, value: unknown): Promise<unknown> =>
  cache.getOrSet(key, async () => value, { domains: ['user'], classes: [User] });

const TYPES = [
  'Date',
  'Map',
  'Set',
  'Error',
  'RegExp',
  'URL',
  'Buffer',
  'bigint',
  'entries',
  'User',
  'Function',
  '__proto__',
];
const { node: types } = fc.letrec((tie) => ({
  node: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom(...TYPES),
    fc.constantFrom<unknown>(null, 0, true),
    fc.dictionary(
      fc.constantFrom('k', 'c', 'p', 'a', 'u', 'r', 'm', 'v', 'h', 'o', '__proto__', 'at', 'constructor'),
      tie('node'),
      {
        maxKeys: 3,
      },
    ),
    fc.array(tie('node'), { maxLength: 3 }),
  ),
}));
/** As PostgreSQL can hold it. */
const clean = (text: string): string => text.replace(/\0|\p{Surrogate}/gu, '?');
const text = fc.string({ unit: 'binary', maxLength: 30 }).map(clean);
const json = fc.jsonValue({ maxDepth: 3 }).map((value) => JSON.stringify(value).replace(/\\u(0000|d[89a-f]..)/gi, '?'));
const polluting = fc.constantFrom(
  '{"__proto__":{"polluted":1}}',
  '{"constructor":{"prototype":{"polluted":1}}}',
  '{"toJSON":1,"then":{},"toString":null,"valueOf":null}',
  `${'['.repeat(3_000)}${']'.repeat(3_000)}`,
);
/** Places of a proof, and what they hold instead: parts of it, or what is none. */
const changes = fc.array(
  fc.tuple(
    fc.nat(9),
    fc.oneof(
      json.map((each) => JSON.parse(each) as unknown),
      fc.constantFrom<unknown>('1', [null], [1], [{}], [['x']], -1, 2 ** 53, 'Infinity', { length: 2 }, '', null, 1.5),
    ),
  ),
  { maxLength: 2 },
);
function changed(proof: string, places: readonly (readonly [place: number, value: unknown])[]): string {
  const parts = JSON.parse(proof) as unknown[];
  for (const [place, value] of places) parts[place] = value;
  return JSON.stringify(parts);
}

/** What became of one of the rows. */
const damage = fc.record({
  row: fc.nat(Object.keys(VALUES).length - 1),
  value: fc.option(
    // Of a column that may hold no NULL.
    fc.oneof(json, polluting).filter((each) => each !== 'null'),
  ),
  types: fc.option(
    fc.oneof(
      text,
      types.map((node) => JSON.stringify(node)),
      polluting,
    ),
  ),
  proof: fc.option(fc.oneof(fc.constant(''), text, json, polluting), { freq: 1 }),
  changes,
  swap: fc.boolean(),
});

it('whatever rows hold, reads are served or computed, none is rejected, and nothing else is harmed', async () => {
  const untouched = Object.getOwnPropertyNames(Object.prototype);
  let served = 0;
  let computed = 0;
  let run = 0;
  await fuzz(
    fc.asyncProperty(fc.array(damage, { minLength: 30, maxLength: 30 }), async (all) => {
      await database.pool.query('DELETE FROM fraiseql_cache.fraiseql_cache');
      run++;
      const rows = all.map((each, index) => {
        const good = stored[each.row]!;
        const other = stored[(each.row + 1) % stored.length]!;
        return {
          ...good,
          cache_key: `damaged ${run} ${index}`,
          cache_value: each.value === null ? good['cache_value'] : (JSON.parse(each.value) as unknown),
          value_types: each.types ?? (each.swap ? other : good)['value_types'],
          proof: each.proof ?? changed(good['proof']!, each.changes),
        };
      });
      // Beside one that is as it was.
      rows.push({ ...stored[0]!, cache_key: 'sound' } as never);
      await database.pool.query(
        'INSERT INTO fraiseql_cache.fraiseql_cache SELECT * FROM jsonb_populate_recordset(NULL::fraiseql_cache.fraiseql_cache, $1)',
        [JSON.stringify(rows)],
      );
      for (const reader of readers) {
        const answers = await Promise.all(
          rows.map(async ({ cache_key: key }) => [await compute(reader, key, 'computed'), await reader.cache.get(key)]),
        );
        for (const [answer] of answers.slice(0, -1)) {
          if (answer === 'computed') computed++;
          else served++;
        }
        const sound = Object.values(VALUES)[Object.keys(VALUES).indexOf(stored[0]!['cache_key']!)];
        expect(answers.at(-1)![0]).toEqual(sound);
        await reader.cache.drain();
      }
    }),
    40,
  );
  expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(untouched);
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  expect(served).toBeGreaterThan(100);
  expect(computed).toBeGreaterThan(100);
});

it('a proof that is believed has all its parts', () => {
  const good = '[10,12,[11],"incarnation",1000,500,1.5,["user"]]';
  const cell = fc.oneof(
    text,
    json,
    polluting,
    changes.map((places) => changed(good, places)),
  );
  fuzz(
    fc.property(fc.array(fc.tuple(text, cell, fc.option(text), json), { maxLength: 4 }), (rows) => {
      const answer = parseAnswer([[null, '10:12:11 incarnation 1 1', null, null], ...rows])!;
      for (const { proof: found } of answer.rows) {
        const { fence, tags, expiresAt, cachedAt, computeMs } = found;
        for (const number of [fence.lo, fence.hi, ...fence.open]) expect(Number.isSafeInteger(number)).toBe(true);
        for (const time of [expiresAt, cachedAt, computeMs ?? 0]) expect(Number.isFinite(time)).toBe(true);
        for (const word of [fence.incarnation, ...tags]) expect(typeof word).toBe('string');
      }
    }),
    5_000,
  );
});
