import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { closeCaches, openCache, type TestCache } from '../support/caches.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { Random } from '../checks/random.js';
import { randomStatement, type Statement } from './statements.js';

/** More of them: `ROUNDS=50 SEED=7 npm test -- test/inference/random-statements.spec.ts`. */
const ROUNDS = Number(process.env.ROUNDS ?? 3);
const SEED = Number(process.env.SEED ?? 1);
const STATEMENTS = 25;
const WRITES = 20;

let database: TestDatabase;
let one: TestCache;

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query(`
    CREATE TABLE a (id int PRIMARY KEY, t text, label varchar(4), x int, n int);
    CREATE TABLE b (id int PRIMARY KEY, t text, label varchar, x int, n int);
    CREATE TABLE c (id int PRIMARY KEY, t text COLLATE "C", label text, x int, n int);
    CREATE TABLE d (id bigint PRIMARY KEY, t text, label char(4), x smallint, n int)`);
  one = await openCache(database, {
    watch: ['a', 'b', 'c', 'd'].map((table) => ({
      table,
      domain: table,
      tenantColumn: 't',
      tagColumns: [['x'], ...(table === 'd' ? [] : [['label']])],
    })),
  });
});
afterAll(async () => {
  await closeCaches();
  await database.drop();
});

it('random statements give after every random write what computing them anew gives', async () => {
  let [narrowed, hits] = [0, 0];
  for (let round = 0; round < ROUNDS; round++) {
    const random = new Random(SEED * 1_000 + round);
    await database.pool.query(`TRUNCATE a, b, c, d`);
    for (let i = 0; i < 24; i++) await database.pool.query(write(random));
    const statements: Statement[] = [];
    while (statements.length < STATEMENTS) {
      const statement = randomStatement(random);
      const rows = await answer(statement).catch(() => null);
      if (rows === null || (rows.length === 0 && random.chance(0.9))) continue;
      const { narrowing, unknown } = await one.store.inferences.tablesOf(statement.text);
      if (unknown !== null) continue;
      if ((narrowing?.rows.length ?? 0) > 0) narrowed++;
      else if (random.chance(0.8)) continue;
      statements.push(statement);
    }
    for (let i = 0; i < WRITES; i++) {
      const change = write(random);
      const told = statements.map(() => ({ isHit: true }));
      const before = await Promise.all(statements.map((each, index) => cached(round, index, each, { isHit: true })));
      await one.cache.drain();
      await database.pool.query(change);
      const after = await Promise.all(statements.map((each, index) => cached(round, index, each, told[index]!)));
      for (const [index, statement] of statements.entries()) {
        if (told[index]!.isHit) hits++;
        const shown = { seed: SEED, round, ...statement, change, before: before[index] };
        expect({ ...shown, answer: after[index] }).toEqual({ ...shown, answer: await answer(statement) });
      }
      await one.cache.drain();
    }
  }
  // Otherwise it would show nothing.
  expect(narrowed).toBeGreaterThan(ROUNDS * 5);
  expect(hits).toBeGreaterThan(ROUNDS * 20);
}, 3_600_000);

async function cached(round: number, index: number, statement: Statement, told: { isHit: boolean }): Promise<string[]> {
  return one.cache.getOrSet(
    `${round}/${index}`,
    async () => {
      told.isHit = false;
      return answer(statement);
    },
    { domains: 'infer' },
  );
}

async function answer({ text, values }: Statement): Promise<string[]> {
  const { rows } = await database.pool.query<unknown[]>({ text, values: [...values], rowMode: 'array' });
  return rows.map((row) => JSON.stringify(row)).sort();
}

/** One row, with few values, so that many meet. */
function write(random: Random): string {
  const table = random.pick(['a', 'b', 'c', 'd']);
  const text = (): string => random.pick(["'p'", "'q'", "'r'", 'NULL', "'1'", "'P'", "'p '"]);
  const int = (): string => random.pick(['1', '2', '3', '4', 'NULL']);
  const id = random.below(6);
  const column = random.pick(['t', 'label', 'x', 'n', 'n', 't']);
  const value = column === 't' || column === 'label' ? text() : int();
  return random.pick([
    `INSERT INTO ${table} VALUES (${id}, ${text()}, ${text()}, ${int()}, ${int()}) ON CONFLICT DO NOTHING`,
    `INSERT INTO ${table} VALUES (${id}, ${text()}, ${text()}, ${int()}, ${int()}) ON CONFLICT (id) DO UPDATE SET t = excluded.t, x = excluded.x`,
    `UPDATE ${table} SET ${column} = ${value} WHERE id = ${id}`,
    `UPDATE ${table} SET ${column} = ${value} WHERE id = (SELECT max(id) FROM ${table})`,
    `DELETE FROM ${table} WHERE id = ${id}`,
  ]);
}
