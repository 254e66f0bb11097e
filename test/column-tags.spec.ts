import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createHash } from 'node:crypto';
import { CacheConfigurationError, type ResultCache, type RowValues } from 'nestjs-result-cache';
import { CachedReads, nameOf, type Outcome, type Scope } from './support/cached-reads.js';
import { closeCaches, openCache, type TestCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';
import { installSettled } from './support/settled.js';
import { fuzz } from './support/fuzz.js';

const watch = [
  { table: 'item', domain: 'item', tenantColumn: 'tenant_id', tagColumns: [['owner_id']] },
  { table: 'line', domain: 'line', tagColumns: [['order_id']] },
  { table: 'coded', domain: 'coded' },
  { table: 'pair', domain: 'pair' },
  { table: 'doc', domain: 'doc' },
  {
    table: 'odd',
    domain: 'odd',
    tagColumns: [['amount'], ['at'], ['folded'], ['padded'], ['mood'], ['email'], ['flag'], ['id', 'amount']],
  },
  { table: 'person_now', domain: 'person' },
  { table: 'person_old', domain: 'person' },
  { table: 'retyped', domain: 'retyped', tagColumns: [['code']] },
  { table: 'thing', domain: 'thing', tenantColumn: 'tenant', tagColumns: [['owner'], ['tenant', 'owner']] },
];

let database: TestDatabase;
let one: TestCache;
let caches: ResultCache[];
let reads: CachedReads;

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query(`
    CREATE TABLE item (id int PRIMARY KEY, tenant_id text, owner_id bigint, n int NOT NULL DEFAULT 0);
    CREATE TABLE line (order_id int, n int NOT NULL DEFAULT 0, line int, PRIMARY KEY (line, order_id));
    CREATE TABLE coded (code text PRIMARY KEY, n int NOT NULL DEFAULT 0);
    CREATE TABLE pair (a text, b varchar(9), n int NOT NULL DEFAULT 0, PRIMARY KEY (a, b));
    CREATE TABLE doc (id uuid PRIMARY KEY, n int NOT NULL DEFAULT 0);
    CREATE COLLATION folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');
    CREATE TABLE odd (id int PRIMARY KEY, amount numeric, at timestamptz, folded text COLLATE folding, padded char(4),
      mood mood, email email, flag boolean);
    CREATE TABLE person_now (id int PRIMARY KEY, name text);
    CREATE TABLE person_old (id text PRIMARY KEY, name text);
    CREATE VIEW person AS SELECT id::text, name FROM person_now UNION ALL SELECT id, name FROM person_old;
    CREATE TABLE retyped (id int PRIMARY KEY, code int NOT NULL);
    CREATE TABLE thing (id int PRIMARY KEY, tenant text, owner int, n int NOT NULL DEFAULT 0);`);
  await installSettled(database);
  one = await openCache(database, { watch });
  caches = [one.cache, (await openCache(database)).cache, (await openCache(database, {}, { memory: false })).cache];
});

afterAll(async () => {
  await closeCaches();
  await database.drop();
});

beforeEach(() => {
  reads = new CachedReads(database, caches);
});

const write = (text: string, values?: unknown[]): Promise<unknown> => database.pool.query(text, values);
const rows = (table: string, ...values: RowValues[]): Scope[] => values.map((value) => [table, value]);
const tagsOf = (table: string, values: RowValues): Promise<readonly string[]> =>
  one.store.tagsOf({ domains: [], free: [], rows: [[table, values]] });

/** Write, and see that exactly `voids` of the reads were computed again. */
async function expectVoid(voids: readonly Scope[], keeps: readonly Scope[], ...writing: Parameters<typeof write>) {
  await reads.prime([...voids, ...keeps]);
  await write(...writing);
  expect(await reads.outcomes([...voids, ...keeps])).toEqual(
    Object.fromEntries<Outcome>([
      ...voids.map((scope) => [nameOf(scope), 'fresh'] as const),
      ...keeps.map((scope) => [nameOf(scope), 'hit'] as const),
    ]),
  );
}

describe('a read of some rows', () => {
  beforeEach(async () => {
    await write(`TRUNCATE item, line;
      INSERT INTO item VALUES (1, 'acme', 10), (2, 'acme', 20), (3, 'globex', 10), (7, NULL, NULL);
      INSERT INTO line VALUES (1, 0, 1), (1, 0, 2), (2, 0, 1)`);
  });

  it('depends on its row only', async () => {
    await expectVoid(
      rows('item', { id: 1 }),
      rows('item', { id: 2 }, { id: 99 }),
      'UPDATE item SET n = 1 WHERE id = 1',
    );
  });

  it('depends on its tenant only', async () => {
    await expectVoid(
      rows('item', { tenant_id: 'acme' }, { id: 2 }),
      rows('item', { tenant_id: 'globex' }, { id: 1 }, { tenant_id: 'acm' }),
      'DELETE FROM item WHERE id = 2',
    );
  });

  it('depends on its foreign key only', async () => {
    await expectVoid(
      rows('item', { owner_id: 10 }, { tenant_id: 'globex' }),
      rows('item', { owner_id: 20 }, { owner_id: 1 }, { tenant_id: 'acme' }),
      'UPDATE item SET n = 1 WHERE id = 3',
    );
  });

  it('that found nothing is void when such a row comes', async () => {
    await expectVoid(
      rows('item', { id: 4 }, { tenant_id: 'initech' }, { owner_id: 40 }),
      rows('item', { id: 5 }, { tenant_id: 'acme' }, { owner_id: 10 }),
      `INSERT INTO item VALUES (4, 'initech', 40)`,
    );
  });

  it('notices a changed primary key on both sides', async () => {
    await expectVoid(
      rows('item', { id: 1 }, { id: 8 }, { tenant_id: 'acme' }),
      rows('item', { id: 2 }, { tenant_id: 'globex' }),
      'UPDATE item SET id = 8 WHERE id = 1',
    );
  });

  it('notices a moved tenant on both sides', async () => {
    await expectVoid(
      rows('item', { tenant_id: 'acme' }, { tenant_id: 'globex' }, { id: 1 }),
      rows('item', { tenant_id: 'initech' }, { id: 2 }),
      `UPDATE item SET tenant_id = 'globex' WHERE id = 1`,
    );
  });

  it('notices a moved foreign key on both sides', async () => {
    await expectVoid(
      rows('item', { owner_id: 10 }, { owner_id: 30 }),
      rows('item', { owner_id: 20 }),
      'UPDATE item SET owner_id = 30 WHERE id = 1',
    );
  });

  it('does not see rows whose value becomes or was NULL, but the one it came from', async () => {
    await expectVoid(
      rows('item', { owner_id: 20 }, { id: 2 }, { id: 7 }),
      rows('item', { owner_id: 10 }),
      'UPDATE item SET owner_id = NULL WHERE id IN (2, 7)',
    );
  });

  it('refuses null, which names no rows', async () => {
    const options = { rows: [['item', { tenant_id: null }]] as unknown as [string, RowValues][] };
    await expect(one.cache.getOrSet('k', async () => 1, options)).rejects.toThrow(CacheConfigurationError);
  });

  it('names a composite key in any order, and its columns by themselves', async () => {
    expect(await tagsOf('line', { line: 2, order_id: 1 })).toEqual(['line.order_id,line=*', 'line.order_id,line=1,2']);
    await expectVoid(
      rows('line', { order_id: 1, line: 2 }, { line: 2, order_id: 1 }, { order_id: 1 }),
      rows('line', { order_id: 1, line: 1 }, { order_id: 2, line: 1 }, { order_id: 2 }),
      'UPDATE line SET n = 1 WHERE order_id = 1 AND line = 2',
    );
  });

  it('named by columns that are no tag depends on the whole table', async () => {
    expect(await tagsOf('item', { n: 0 })).toEqual(['item']);
    expect(await tagsOf('item', { id: 1, n: 0 })).toEqual(['item']);
    expect(await tagsOf('line', { line: 1 })).toEqual(['line']);
    expect(await tagsOf('item', { nonsense: 1 })).toEqual(['item']);
    await expectVoid(
      rows('line', { line: 2 }),
      rows('line', { order_id: 2 }),
      'UPDATE line SET n = 2 WHERE order_id = 1',
    );
  });

  it.each([
    [100, 'hit'],
    [101, 'fresh'],
  ] as const)('counts as one of "some rows" beyond 100 rows a statement: %i', async (count, outcome) => {
    await write(`INSERT INTO item SELECT i, 'bulk', 50 FROM generate_series(1001, 1000 + $1::int) i`, [count]);
    await reads.prime(rows('item', { id: 1 }, { tenant_id: 'acme' }));
    await write(`UPDATE item SET n = n + 1 WHERE tenant_id = 'bulk'`);
    expect(Object.values(await reads.outcomes(rows('item', { id: 1 }, { tenant_id: 'acme' })))).toEqual([
      outcome,
      outcome,
    ]);
  });
});

describe('values', () => {
  /** What could be taken for something else: structure, escapes, digests, another spelling. */
  const texts = [
    ...['.', '=', '*', '@', ',', '%', '!', '~', '\n', '\t', ' ', '', '\\', '"', `'`, '$1', '{}', '\u0001', '~*'],
    ...[
      '%2E',
      '%252E',
      'a.b',
      'a=b',
      'a,b',
      'a%b',
      'a',
      'A',
      'ä',
      'a\u0308',
      'ß',
      'ss',
      'NULL',
      'null',
      '7',
      '007',
      ' 7',
    ],
    ...['👩‍👩‍👧', '👩', 'x'.repeat(200), 'x'.repeat(201), 'ü'.repeat(3_000), `${'ü'.repeat(3_000)}!`],
    `@${createHash('sha256').update('ü'.repeat(3_000)).digest('hex')}`,
  ];

  it('that are text stay apart, whatever characters they hold', async () => {
    const scopes = rows('coded', ...texts.map((code) => ({ code })));
    await reads.prime(scopes);
    for (const [index, code] of texts.entries()) {
      await write('INSERT INTO coded VALUES ($1)', [code]);
      const fresh = Object.entries(await reads.outcomes(scopes)).filter(([, outcome]) => outcome === 'fresh');
      expect(fresh.map(([name]) => name)).toEqual([nameOf(scopes[index]!)]);
    }
  });

  it('of composite keys stay apart where one ends and the next begins', async () => {
    await expectVoid(
      rows('pair', { a: 'x,y', b: 'z' }),
      rows('pair', { a: 'x', b: 'y,z' }, { a: 'x', b: 'y' }, { a: 'x%2Cy', b: 'z' }, { a: 'z', b: 'x,y' }),
      `INSERT INTO pair VALUES ('x,y', 'z')`,
    );
  });

  it('that are numbers are the same however they are written', async () => {
    const seven = [7, '7', '007', ' 7 ', '+7'].map((id): Scope => ['item', { id }]);
    await expectVoid(seven, rows('item', { id: 70 }, { id: -7 }), 'UPDATE item SET n = n + 1 WHERE id = 7');
    await expectVoid(
      rows('item', { id: -7 }, { id: '-07' }),
      seven,
      `INSERT INTO item VALUES (-7, NULL, ${2n ** 62n})`,
    );
    await expectVoid(rows('item', { owner_id: 2n ** 62n }), rows('item', { id: 7 }), 'DELETE FROM item WHERE id = -7');
    for (const id of ['seven', '7.0', '7e0', '0x7', '٧', '', '9'.repeat(30), 7.5, NaN])
      expect([id, await tagsOf('item', { id })]).toEqual([id, ['item']]);
  });

  it('that are UUIDs are the same however they are written', async () => {
    const id = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';
    const spellings = [id, id.toUpperCase(), id.replaceAll('-', ''), id.replaceAll('-', '').toUpperCase(), `{${id}}`];
    const scopes = spellings.map((spelling): Scope => ['doc', { id: spelling }]);
    const other = rows('doc', { id: 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' });
    await expectVoid(scopes, other, 'INSERT INTO doc VALUES ($1)', [id.toUpperCase()]);
    await expectVoid(scopes, other, 'UPDATE doc SET n = 1');
    expect(await tagsOf('doc', { id: `{${id}}` })).toEqual(['doc']);
    expect(await tagsOf('doc', { id: 'no uuid' })).toEqual(['doc']);
  });

  it('of a tenant called * is one tenant, not all of them', async () => {
    await expectVoid(
      rows('item', { tenant_id: '*' }),
      rows('item', { tenant_id: 'acme' }),
      `INSERT INTO item VALUES (11, '*')`,
    );
    await expectVoid(
      rows('item', { tenant_id: 'acme' }),
      rows('item', { tenant_id: '*' }),
      `INSERT INTO item VALUES (12, 'acme')`,
    );
  });

  it('of types whose text says nothing about equality make a read depend on the whole table', async () => {
    await write(`INSERT INTO odd VALUES (1, 1.0, '2026-01-01Z', 'Ada', 'ab', 'ok', 'a@b', true)`);
    const spelt = rows(
      'odd',
      ...[{ amount: '1.00' }, { amount: 1 }, { at: '2026-01-01 01:00+01' }, { folded: 'ADA' }, { padded: 'ab' }],
      ...[{ mood: 'ok' }, { email: 'a@b' }, { flag: 'yes' }, { id: 1, amount: '1.000' }],
    );
    for (const [, values] of spelt as [string, RowValues][]) expect(await tagsOf('odd', values)).toEqual(['odd']);
    await expectVoid([...spelt, ...rows('odd', { id: 1 })], rows('odd', { id: 2 }), 'DELETE FROM odd');
  });
});

describe('a domain fed by two tables', () => {
  it('is narrowed only by values that both write in the same way', async () => {
    expect(await tagsOf('person', { id: '7' })).toEqual(['person.id=*', 'person.id=7']);
    expect(await tagsOf('person', { id: '007' })).toEqual(['person']);
    expect(await tagsOf('person', { id: 'a' })).toEqual(['person']);
    const [seven, padded, eight] = rows('person', { id: '7' }, { id: '007' }, { id: '8' }) as [Scope, Scope, Scope];
    await expectVoid([seven, padded], [eight], `INSERT INTO person_now VALUES (7, 'Ada')`);
    await expectVoid([seven, padded], [eight], `INSERT INTO person_old VALUES ('7', 'Ada I')`);
    await expectVoid([padded], [seven, eight], `INSERT INTO person_old VALUES ('007', 'Bond')`);
    await expectVoid([seven, padded, eight], [], 'TRUNCATE person_old');
  });
});

describe('a column that gets another type', () => {
  const code = (...codes: string[]): Scope[] => rows('retyped', ...codes.map((value) => ({ code: value })));

  it('is written as the new type once the table is watched again, and its domain is not cached before', async () => {
    await write('INSERT INTO retyped VALUES (1, 7), (2, 8)');
    await expectVoid(code('7'), code('8'), 'UPDATE retyped SET id = 3 WHERE code = 7');

    await write('ALTER TABLE retyped ALTER code TYPE text');
    for (const cache of caches) await cache.purge();
    expect(await one.cache.domainProblem('retyped')).toContain('columns as they were before an ALTER TABLE');
    await write(`SELECT fraiseql_cache.watch('retyped', 'retyped', NULL, '[["code"]]')`);
    for (const cache of caches) await cache.purge();
    expect(await one.cache.domainProblem('retyped')).toBeNull();

    await expectVoid(code('a.b', '8'), code('7', '007', 'a%2Eb'), `UPDATE retyped SET code = 'a.b' WHERE code = '8'`);
    await expectVoid(code('a.b', '007'), code('7'), `UPDATE retyped SET code = '007' WHERE code = 'a.b'`);

    await write('ALTER TABLE retyped ALTER code TYPE numeric USING code::numeric');
    await write(`SELECT fraiseql_cache.watch('retyped', 'retyped', NULL, '[["code"]]')`);
    for (const cache of caches) await cache.purge();
    expect(await tagsOf('retyped', { code: '7' })).toEqual(['retyped']);
    // What was cached as text is void, though nothing but the type has changed.
    expect(await reads.outcomes(code('7'))).toEqual({ [nameOf(code('7')[0]!)]: 'fresh' });
    await expectVoid(code('7', '007'), [], 'UPDATE retyped SET id = id + 10 WHERE code = 7');
  });
});

/** A row of `thing` without its counter. */
interface Thing {
  id: number;
  tenant: string | null;
  owner: number | null;
}

/** What one statement does: to which rows, and what becomes of each (`null`: deleted). */
type Statement =
  | { kind: 'put'; row: Thing }
  | { kind: 'add'; row: Thing }
  | { kind: 'set'; where: Partial<Thing>; to: Partial<Thing> }
  | { kind: 'delete'; where: Partial<Thing> };

interface Transaction {
  statements: { statement: Statement; undone: boolean }[];
  commits: boolean;
}

describe('any writes and any narrow reads', () => {
  const tenants = ['a', 'a.b', '*'];
  const scopes = [
    'thing',
    ...rows('thing', ...[1, 2, 3, 4].map((id) => ({ id }))),
    ...rows('thing', ...tenants.map((tenant) => ({ tenant }))),
    ...rows('thing', { owner: 1 }, { owner: 2 }, { tenant: 'a', owner: 1 }, { owner: 2, tenant: '*' }),
  ];

  const id = fc.integer({ min: 1, max: 4 });
  const tenant = fc.constantFrom(...tenants, null);
  const owner = fc.constantFrom(1, 2, null);
  const row: fc.Arbitrary<Thing> = fc.record({ id, tenant, owner });
  const where = fc.oneof(fc.record({ id }), fc.record({ tenant }), fc.record({ owner }), fc.constant({}));
  const statement: fc.Arbitrary<Statement> = fc.oneof(
    fc.record({ kind: fc.constant('put' as const), row }),
    fc.record({ kind: fc.constant('add' as const), row }),
    fc.record({
      kind: fc.constant('set' as const),
      where,
      to: fc.oneof(fc.record({ tenant }), fc.record({ owner }), fc.constant({})),
    }),
    fc.record({ kind: fc.constant('set' as const), where: fc.record({ id }), to: fc.record({ id }) }),
    fc.record({ kind: fc.constant('delete' as const), where }),
  );
  const transaction: fc.Arbitrary<Transaction> = fc.record({
    statements: fc.array(fc.record({ statement, undone: fc.boolean() }), { minLength: 1, maxLength: 3 }),
    commits: fc.oneof({ weight: 3, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
  });

  /** What a statement touches, and what it leaves; `null` where it would break the primary key. */
  function foresee(table: readonly Thing[], statement: Statement): { touched: Thing[]; left: Thing[] } | null {
    if (statement.kind === 'put' || statement.kind === 'add') {
      const old = table.filter((thing) => thing.id === statement.row.id);
      if (statement.kind === 'add' && old.length > 0) return { touched: [], left: [...table] };
      return {
        touched: [...old, statement.row],
        left: [...table.filter((thing) => !old.includes(thing)), statement.row],
      };
    }
    const old = table.filter((thing) => matches(thing, statement.where));
    const others = table.filter((thing) => !old.includes(thing));
    if (statement.kind === 'delete') return { touched: old, left: others };
    const changed = old.map((thing) => ({ ...thing, ...statement.to }));
    if (changed.some((thing) => others.some((other) => other.id === thing.id))) return null;
    return { touched: [...old, ...changed], left: [...others, ...changed] };
  }

  function matches(thing: Thing, values: object): boolean {
    return Object.entries(values).every(([column, value]) => thing[column as keyof Thing] === value);
  }

  const literal = (value: unknown): string => (typeof value === 'string' ? `'${value}'` : String(value));
  const condition = (values: object): string =>
    [
      'true',
      ...Object.entries(values).map(([column, value]) => `${column} IS NOT DISTINCT FROM ${literal(value)}`),
    ].join(' AND ');

  function sql(statement: Statement): string {
    if (statement.kind === 'delete') return `DELETE FROM thing WHERE ${condition(statement.where)}`;
    if (statement.kind === 'set')
      return `UPDATE thing SET ${['n = n + 1', ...Object.entries(statement.to).map(([column, value]) => `${column} = ${literal(value)}`)].join()} WHERE ${condition(statement.where)}`;
    const { id, tenant, owner } = statement.row;
    return `INSERT INTO thing VALUES (${[id, tenant, owner].map(literal).join()}) ON CONFLICT (id) DO ${
      statement.kind === 'add'
        ? 'NOTHING'
        : 'UPDATE SET tenant = EXCLUDED.tenant, owner = EXCLUDED.owner, n = thing.n + 1'
    }`;
  }

  it('a read is computed again exactly if a committed write touched one of its rows, before or after', async () => {
    let voided = 0;
    let kept = 0;
    await fuzz(
      fc.asyncProperty(
        fc.array(row, { maxLength: 4 }),
        fc.array(transaction, { minLength: 1, maxLength: 5 }),
        async (first, all) => {
          let table = [...new Map(first.map((thing) => [thing.id, thing])).values()];
          await write('DELETE FROM thing');
          for (const thing of table) await write(sql({ kind: 'add', row: thing }));
          reads = new CachedReads(database, caches);
          await reads.prime(scopes);

          for (const { statements, commits } of all) {
            const touched: Thing[] = [];
            const texts = ['BEGIN'];
            let after = table;
            for (const { statement, undone } of statements) {
              const effect = foresee(after, statement);
              if (effect === null) continue;
              if (undone) texts.push('SAVEPOINT s', sql(statement), 'ROLLBACK TO s');
              else {
                texts.push(sql(statement));
                touched.push(...effect.touched);
                after = effect.left;
              }
            }
            await write([...texts, commits ? 'COMMIT' : 'ROLLBACK'].join('; '));
            if (commits) table = after;

            const expected = Object.fromEntries(
              scopes.map((scope): [string, Outcome] => {
                const concerned = touched.some((thing) => typeof scope === 'string' || matches(thing, scope[1]));
                return [nameOf(scope), commits && concerned ? 'fresh' : 'hit'];
              }),
            );
            const outcomes = await reads.outcomes(scopes);
            expect({ texts, outcomes }).toEqual({ texts, outcomes: expected });
            const fresh = Object.values(outcomes).filter((outcome) => outcome === 'fresh').length;
            voided += fresh;
            kept += scopes.length - fresh;
          }
        },
      ),
      40,
    );
    // Both sides of the "exactly" were at stake.
    expect(voided).toBeGreaterThan(100);
    expect(kept).toBeGreaterThan(100);
  });
});
