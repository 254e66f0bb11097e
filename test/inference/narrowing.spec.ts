import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { closeCaches, openCache, type TestCache } from '../support/caches.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

let database: TestDatabase;
let one: TestCache;

const TABLES = { users: 'user', posts: 'post', comments: 'comment' } as const;
type Table = keyof typeof TABLES;

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query(`
    CREATE TABLE users (id int PRIMARY KEY, t text, label varchar, n int);
    CREATE TABLE posts (id int PRIMARY KEY, t text, uid int, n int);
    CREATE TABLE comments (id int PRIMARY KEY, t text, pid int, uid int, n int);
    CREATE TABLE soft (id int PRIMARY KEY, t text COLLATE "C", n int);
    CREATE TABLE guarded (id int PRIMARY KEY, t text);
    ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
    CREATE TABLE parent (id int PRIMARY KEY, t text);
    CREATE TABLE child () INHERITS (parent);
    CREATE TABLE half_a (id int PRIMARY KEY, t text);
    CREATE TABLE half_b (id int PRIMARY KEY, t text);
    CREATE VIEW v_users AS SELECT * FROM users;
    CREATE FUNCTION many(int) RETURNS bigint STABLE BEGIN ATOMIC SELECT count(*) FROM users WHERE n > $1; END;
    INSERT INTO users SELECT i, (ARRAY['a', 'b', NULL])[1 + i % 3], 'l' || i % 2, i % 4 FROM generate_series(1, 9) i;
    INSERT INTO posts SELECT i, (ARRAY['a', 'b', NULL])[1 + i % 3], 1 + i % 10, i % 4 FROM generate_series(1, 12) i;
    INSERT INTO comments SELECT i, (ARRAY['a', 'b', NULL])[1 + i % 3], 1 + i % 13, 1 + i % 9, i % 4 FROM generate_series(1, 18) i;
    INSERT INTO soft VALUES (1, 'a', 1); INSERT INTO guarded VALUES (1, 'a'); INSERT INTO parent VALUES (1, 'a')`);
  one = await openCache(database, {
    watch: [
      { table: 'users', domain: 'user', tenantColumn: 't', tagColumns: [['label']] },
      { table: 'posts', domain: 'post', tenantColumn: 't', tagColumns: [['uid']] },
      { table: 'comments', domain: 'comment', tenantColumn: 't', tagColumns: [['pid'], ['uid']] },
      ...['soft', 'guarded', 'parent'].map((table) => ({ table, domain: table, tenantColumn: 't' })),
      ...['half_a', 'half_b'].map((table) => ({ table, domain: 'half', tenantColumn: 't' })),
    ],
  });
});
afterAll(async () => {
  await closeCaches();
  await database.drop();
});

/** `user.t=$1` for rows, `post` for a whole domain. */
async function read(sql: string): Promise<string[]> {
  const { narrowing, tables, unknown } = await one.store.inferences.tablesOf(sql);
  if (unknown !== null) throw new Error(unknown);
  if (narrowing === null) return tables.flatMap(({ domains }) => domains.map((domain) => `${domain} whole`)).sort();
  const rows = narrowing.rows.map(({ domain, column, parameter }) => `${domain}.${column}=$${parameter}`);
  return [...narrowing.whole.map((domain) => `${domain} whole`), ...rows].sort();
}

const STATEMENTS: [sql: string, reads: string[]][] = [
  ['SELECT count(*) FROM users WHERE t = $1', ['user.t=$1']],
  ['SELECT * FROM users WHERE $1 = t AND n > 1', ['user.t=$1']],
  ['SELECT * FROM users WHERE (t = $1 AND n > 1) AND n < 3', ['user.t=$1']],
  ['SELECT * FROM users WHERE label = $1', ['user.label=$1']],
  ['SELECT * FROM users AS u (a, b) WHERE u.b = $1', ['user.t=$1']],
  ['SELECT ":relid" FROM (SELECT id AS ":relid", t AS ":quals {" FROM users WHERE t = $1) x', ['user.t=$1']],
  ['SELECT id AS "a\u00a0:resno", t AS "b\r:quals" FROM users WHERE t = $1', ['user.t=$1']],
  ["SELECT '(}\\{', E'\\\\' FROM users WHERE t = $1 AND label <> '){'", ['user.t=$1']],
  ['SELECT n, count(*) FROM users WHERE t = $1 GROUP BY n HAVING count(*) > 1 ORDER BY 1 LIMIT 2', ['user.t=$1']],
  ['SELECT count(*) FILTER (WHERE n > 1), rank() OVER (ORDER BY count(*)) FROM users WHERE t = $1', ['user.t=$1']],
  // Fewer rows are better than those of a tenant.
  ['SELECT * FROM posts WHERE t = $1 AND uid = $2', ['post.uid=$2']],
  ['SELECT * FROM posts WHERE t = $1 AND uid = $2 AND id = $3', ['post.id=$3']],
  ['SELECT * FROM posts WHERE t = $1 AND id = 4', ['post.t=$1']],
  // Conditions that other rows meet too.
  ['SELECT * FROM users WHERE t = $1 OR n = 1', ['user whole']],
  ['SELECT * FROM users WHERE NOT t = $1', ['user whole']],
  ['SELECT * FROM users WHERE t <> $1', ['user whole']],
  ['SELECT * FROM users WHERE t >= $1', ['user whole']],
  ['SELECT * FROM users WHERE (t = $1) IS NOT TRUE', ['user whole']],
  ['SELECT * FROM users WHERE lower(t) = $1', ['user whole']],
  ["SELECT * FROM users WHERE t || '' = $1", ['user whole']],
  ['SELECT t = $1 FROM users', ['user whole']],
  ['SELECT count(*) FILTER (WHERE t = $1) FROM users', ['user whole']],
  ['SELECT t FROM users GROUP BY t HAVING t = $1', ['user whole']],
  ['SELECT * FROM users ORDER BY t = $1, id', ['user whole']],
  ['SELECT coalesce(t = $1, true) FROM users WHERE coalesce(t = $1, true)', ['user whole']],
  ['SELECT * FROM users TABLESAMPLE BERNOULLI (100) REPEATABLE (1) WHERE t = $1', ['user whole']],
  ['SELECT id, rank() OVER (ORDER BY id) FROM users WHERE n < 3 AND $1 = label || t', ['user whole']],
  ['SELECT * FROM (SELECT t, rank() OVER (ORDER BY id) FROM users) x WHERE t = $1', ['user whole']],
  ['SELECT * FROM (SELECT * FROM users ORDER BY id LIMIT 3) x WHERE t = $1', ['user whole']],
  // Joins.
  [
    'SELECT u.id, p.n FROM users u JOIN posts p ON p.uid = u.id AND p.t = u.t WHERE u.t = $1',
    ['post.t=$1', 'user.t=$1'],
  ],
  ['SELECT u.id, p.n FROM users u, posts p WHERE p.uid = u.id AND p.t = u.t AND u.t = $1', ['post.t=$1', 'user.t=$1']],
  ['SELECT u.id, p.n FROM users u JOIN posts p USING (t) WHERE t = $1', ['post.t=$1', 'user.t=$1']],
  ['SELECT u.id, p.n FROM users u NATURAL JOIN posts p WHERE u.t = $1', ['post.t=$1', 'user.t=$1']],
  ['SELECT u.id, p.n FROM users u JOIN posts p ON p.uid = u.id WHERE u.t = $1', ['post whole', 'user.t=$1']],
  ['SELECT u.id, p.n FROM users u JOIN posts p ON p.uid = u.id AND u.t = $1', ['post whole', 'user.t=$1']],
  [
    'SELECT u.id, p.n FROM users u LEFT JOIN posts p ON p.uid = u.id AND p.t = u.t WHERE u.t = $1',
    ['post.t=$1', 'user.t=$1'],
  ],
  ['SELECT u.id, p.n FROM users u LEFT JOIN posts p ON p.uid = u.id AND p.t = $1', ['post.t=$1', 'user whole']],
  ['SELECT u.id, p.n FROM users u LEFT JOIN posts p ON p.uid = u.id AND u.t = $1', ['post whole', 'user whole']],
  ['SELECT u.id, p.n FROM users u LEFT JOIN posts p ON p.uid = u.id WHERE p.t = $1', ['post.t=$1', 'user whole']],
  [
    'SELECT u.id, p.n FROM users u LEFT JOIN posts p ON p.uid = u.id AND p.t = u.t WHERE p.t = $1',
    ['post.t=$1', 'user whole'],
  ],
  ['SELECT u.id, p.n FROM users u RIGHT JOIN posts p ON p.uid = u.id AND u.t = $1', ['post whole', 'user whole']],
  [
    'SELECT u.id, p.n FROM users u FULL JOIN posts p ON p.uid = u.id AND u.t = $1 AND p.t = $1',
    ['post whole', 'user whole'],
  ],
  [
    'SELECT u.id, p.n FROM users u FULL JOIN posts p ON p.uid = u.id WHERE u.t = $1 AND p.t = $1',
    ['post whole', 'user whole'],
  ],
  [
    `SELECT u.id, count(DISTINCT p.id), count(c.id) FROM users u JOIN posts p ON p.uid = u.id AND p.t = u.t
       LEFT JOIN comments c ON c.pid = p.id AND c.t = p.t WHERE u.t = $1 GROUP BY u.id ORDER BY 2 DESC, 1 LIMIT 5`,
    ['comment.t=$1', 'post.t=$1', 'user.t=$1'],
  ],
  [
    'SELECT u.id, c.n FROM users u LEFT JOIN posts p ON p.uid = u.id LEFT JOIN comments c ON c.pid = p.id AND c.t = p.t WHERE u.t = $1',
    ['comment whole', 'post whole', 'user.t=$1'],
  ],
  [
    'SELECT u.id, c.n FROM users u LEFT JOIN (posts p JOIN comments c ON c.pid = p.id AND c.t = $1 AND p.t = $1) ON p.uid = u.id WHERE u.t = $1',
    ['comment whole', 'post whole', 'user.t=$1'],
  ],
  ['SELECT a.id FROM users a JOIN users b ON a.n = b.n WHERE a.t = $1', ['user whole', 'user.t=$1']],
  ['SELECT a.id FROM users a JOIN users b ON a.n = b.n AND a.t = b.t WHERE a.t = $1', ['user.t=$1']],
  ['SELECT a.id FROM users a JOIN users b ON a.n = b.n WHERE a.t = $1 AND b.t = $2', ['user.t=$1', 'user.t=$2']],
  // Levels answer for themselves.
  ['SELECT (SELECT count(*) FROM users WHERE t = $1), count(*) FROM posts WHERE t = $1', ['post.t=$1', 'user.t=$1']],
  ['SELECT (SELECT count(*) FROM users), count(*) FROM posts WHERE t = $1', ['post.t=$1', 'user whole']],
  ['SELECT id FROM posts p WHERE t = $1 AND EXISTS (SELECT FROM users u WHERE u.t = p.t)', ['post.t=$1', 'user whole']],
  ['SELECT id FROM posts WHERE t = $1 AND uid IN (SELECT id FROM users WHERE t = $1)', ['post.t=$1', 'user.t=$1']],
  ['SELECT id FROM posts WHERE t = $1 UNION SELECT id FROM users WHERE t = $1', ['post.t=$1', 'user.t=$1']],
  ['SELECT id FROM posts WHERE t = $1 EXCEPT SELECT id FROM users', ['post.t=$1', 'user whole']],
  ['WITH x AS (SELECT * FROM users) SELECT count(*) FROM x WHERE t = $1', ['user whole']],
  [
    'WITH x AS (SELECT * FROM users WHERE t = $1) SELECT count(*) FROM x, posts p WHERE p.t = $1',
    ['post.t=$1', 'user.t=$1'],
  ],
  [
    'SELECT p.id, x.n FROM posts p, LATERAL (SELECT n FROM users u WHERE u.t = p.t AND u.t = $1) x',
    ['post whole', 'user.t=$1'],
  ],
];

it.each(STATEMENTS)('%s', async (sql, reads) => {
  expect(await read(sql)).toEqual(reads);
});

it.each<[sql: string, reads: string[]]>([
  ['SELECT * FROM v_users WHERE t = $1', ['user whole']],
  ['SELECT many(1), id FROM users WHERE t = $1', ['user whole']],
  ['SELECT id FROM guarded WHERE t = $1', ['guarded whole']],
  ['SELECT id FROM parent WHERE t = $1', ['parent whole']],
  ['SELECT id FROM half_a WHERE t = $1', ['half whole']],
  ['SELECT id FROM soft WHERE t = $1', ['soft.t=$1']],
  ['SELECT id FROM soft WHERE t COLLATE "und-x-icu" = $1', ['soft whole']],
])('what the statement does not show counts as a whole: %s', async (sql, reads) => {
  expect(await read(sql)).toEqual(reads);
});

/** Writes whose rows have none of the values that are read, neither before nor after. */
function writesBeside(table: Table, reads: readonly string[]): string[] {
  const domain = TABLES[table];
  const columns = reads.filter((each) => each.startsWith(`${domain}.`)).map((each) => /\.(\w+)=\$(\d)/.exec(each)!);
  const isBeside = columns
    .map(([, column, n]) => `${column} IS DISTINCT FROM '${n === '1' ? 'a' : 'b'}'`)
    .join(' AND ');
  if (columns.length === 0 || columns.some(([, column]) => !['t', 'label'].includes(column!))) return [];
  const others = ['b', 'zz', null].filter((value) => value !== 'b' || !columns.some(([, , n]) => n === '2'));
  const isTenant = columns.every(([, column]) => column === 't');
  return [
    `DELETE FROM ${table} WHERE ${isBeside}`,
    `UPDATE ${table} SET n = n + 1 WHERE ${isBeside}`,
    `UPDATE ${table} SET n = 0 WHERE ${isBeside}`,
    `UPDATE ${table} SET id = id + 100 WHERE ${isBeside}`,
    ...(isTenant
      ? others.flatMap((t) => {
          const value = t === null ? 'NULL' : `'${t}'`;
          const joined = table === 'users' ? 'label' : 'uid';
          return [
            `UPDATE ${table} SET t = ${value} WHERE ${isBeside}`,
            `INSERT INTO ${table} (id, t, ${joined}, n) SELECT 50 + i, ${value}, i, i % 4 FROM generate_series(0, 12) i`,
            ...(table === 'comments' ? [`UPDATE comments SET pid = n + 1, t = ${value} WHERE ${isBeside}`] : []),
          ];
        })
      : []),
  ];
}

it('no write to other rows changes what a statement gives', async () => {
  let held = 0;
  const client = await database.pool.connect();
  try {
    for (const [sql] of STATEMENTS) {
      // As it is found, so that a wrong expectation above is noticed too.
      const reads = await read(sql);
      const places = new Set(sql.match(/\$\d/g)).size;
      const values = sql.includes('label = $1')
        ? ['l1']
        : ['a', sql.includes('uid = $2') ? '2' : 'b', '3'].slice(0, places);
      const answer = async (): Promise<string[]> =>
        (await client.query<object>(sql, values)).rows.map((row) => JSON.stringify(row)).sort();
      const before = await answer();
      for (const [table, domain] of Object.entries(TABLES) as [Table, string][]) {
        if (reads.includes(`${domain} whole`)) continue;
        for (const write of writesBeside(table, sql.includes('label = $1') ? ['user.label=$1'] : reads)) {
          const meant = sql.includes('label = $1') ? write.replace("'a'", "'l1'") : write;
          await client.query('BEGIN');
          await client.query(meant);
          const after = await answer();
          await client.query('ROLLBACK');
          expect({ sql, write: meant, answer: after }).toEqual({ sql, write: meant, answer: before });
          held++;
        }
      }
    }
  } finally {
    client.release();
  }
  expect(held).toBeGreaterThan(300);
});

it('a result is void by a write to the rows it read, and by no other', async () => {
  const sql =
    'SELECT u.id, count(p.id)::int FROM users u LEFT JOIN posts p ON p.uid = u.id AND p.t = u.t WHERE u.t = $1 GROUP BY 1';
  let computed = 0;
  const get = async (): Promise<unknown> => {
    const value = await one.cache.getOrSet(
      'counts',
      async () => {
        computed++;
        return (await database.pool.query(sql, ['a'])).rows;
      },
      { domains: 'infer' },
    );
    await one.cache.drain();
    return value;
  };
  await get();
  await get();
  expect(computed).toBe(1);
  await database.pool.query(
    "UPDATE posts SET n = 9 WHERE t = 'b'; UPDATE users SET n = 9 WHERE t IS NULL; DELETE FROM comments",
  );
  await get();
  expect(computed).toBe(1);
  for (const write of [
    "UPDATE posts SET t = 'a' WHERE id = 1",
    "UPDATE users SET t = 'b' WHERE id = 3",
    "DELETE FROM posts WHERE t = 'a'",
  ]) {
    const before = computed;
    await database.pool.query(write);
    await get();
    await get();
    expect([write, computed]).toEqual([write, before + 1]);
  }
});

it('parameters that were changed while they waited to be sent narrow nothing', async () => {
  const client = await database.pool.connect();
  let computed = 0;
  const get = async (): Promise<unknown> => {
    const value = await one.cache.getOrSet(
      'changed',
      async () => {
        computed++;
        const sent = ['a'];
        const before = client.query('SELECT 1');
        const asked = client.query<{ n: number }>('SELECT sum(n)::int AS n FROM users WHERE t = $1', sent);
        sent[0] = 'b';
        await before;
        return (await asked).rows[0]!.n;
      },
      { domains: 'infer' },
    );
    await one.cache.drain();
    return value;
  };
  try {
    const before = (await get()) as number;
    expect([await get(), computed]).toEqual([before, 1]);
    await database.pool.query("INSERT INTO users (id, t, n) VALUES (77, 'b', 1000)");
    expect(await get()).toBe(before + 1000);
  } finally {
    client.release();
  }
});

it.each([[null], [true], ['\ud800'], [new Date(0)]])(
  'a parameter that makes no tag, %j, narrows nothing',
  async (value) => {
    const { store } = one;
    const session = { ...(await factsOf()), isStrangersTransaction: false };
    const statement = { text: 'SELECT * FROM users WHERE t = $1', values: [value], session };
    expect(await store.inferences.dependenciesOf(statement, await store.inferences.version())).toEqual({
      domains: ['user'],
      rows: [],
      problem: null,
    });
  },
);

async function factsOf(): Promise<object> {
  const { parseFacts, PROBE } = await import('../../libs/result-cache/src/postgres/inference/session-facts.js');
  const { rows } = await database.pool.query<(string | null)[]>({
    text: PROBE,
    rowMode: 'array',
    types: { getTypeParser: () => String },
  } as never);
  return parseFacts(rows);
}
