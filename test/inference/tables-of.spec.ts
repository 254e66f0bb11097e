import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CacheConfigurationError, PostgresCache, type StatementReads } from 'nestjs-result-cache';
import { closeCaches, openCache, type TestCache } from '../support/caches.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { createRole } from '../support/role.js';

let database: TestDatabase;
let one: TestCache;

const SCHEMA = `
  CREATE TABLE users (id int PRIMARY KEY, name text, team int);
  CREATE TABLE posts (id int PRIMARY KEY, author int REFERENCES users, tags int[]);
  CREATE TABLE teams (id int PRIMARY KEY);
  CREATE TABLE secrets (owner int, v text);
  ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
  CREATE POLICY own ON secrets USING (owner IN (SELECT t.id FROM teams t));
  CREATE POLICY made ON secrets FOR INSERT WITH CHECK (EXISTS (SELECT FROM posts));
  CREATE TABLE events (at int, v text) PARTITION BY RANGE (at);
  CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
  CREATE TABLE animals (n text); CREATE TABLE dogs () INHERITS (animals);
  CREATE TABLE unwatched (v int);
  CREATE SEQUENCE numbers;
  CREATE VIEW v_user AS SELECT u.id, u.name, (SELECT count(*) FROM posts p WHERE p.author = u.id) AS posts FROM users u;
  CREATE VIEW v_outer AS SELECT * FROM v_user WHERE false;
  CREATE MATERIALIZED VIEW m_user AS SELECT * FROM v_user;
  CREATE SCHEMA other; CREATE TABLE other.users (id int);
  CREATE FUNCTION parsed(team int) RETURNS SETOF users LANGUAGE sql STABLE BEGIN ATOMIC SELECT * FROM users u WHERE u.team = parsed.team; END;
  CREATE FUNCTION hidden(n int) RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT count(*) FROM teams); END';
  CREATE FUNCTION commented() RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT count(*) FROM teams); END';
  COMMENT ON FUNCTION commented() IS 'Counts teams. @cache-domains team, user';
  CREATE FUNCTION told(t text) RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END';
  CREATE FUNCTION pure(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN n; END';
  CREATE FUNCTION writing() RETURNS int LANGUAGE sql BEGIN ATOMIC INSERT INTO teams VALUES (1) RETURNING id; END;
  CREATE FUNCTION with_default(n bigint DEFAULT hidden(1)) RETURNS bigint LANGUAGE sql STABLE RETURN n;
  CREATE FUNCTION add_name(text,text) RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN a; END';
  CREATE AGGREGATE names (text) (SFUNC = add_name, STYPE = text);
  CREATE FUNCTION differs(a users, b users) RETURNS boolean LANGUAGE sql STABLE BEGIN ATOMIC SELECT EXISTS (SELECT FROM teams); END;
  CREATE OPERATOR <~> (LEFTARG = users, RIGHTARG = users, FUNCTION = differs);
`;

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query(SCHEMA);
  one = await openCache(database, {
    watch: ['users:user', 'posts:post', 'teams:team', 'secrets:secret', 'events:event', 'animals:animal'].map(
      (pair) => {
        const [table, domain] = pair.split(':') as [string, string];
        return { table, domain };
      },
    ),
    inference: { functions: { 'public.told(text)': ['team'] } },
  });
});

afterAll(async () => {
  await closeCaches();
  await database.drop();
});

const tablesOf = (sql: string): Promise<StatementReads> => one.store.inferences.tablesOf(sql);
const names = ({ unknown, tables }: StatementReads): unknown => unknown ?? tables.map(({ name }) => name).sort();

describe('the tables of a statement', () => {
  it.each<[string, string, string[]]>([
    ['one table', 'SELECT * FROM users WHERE id = $1', ['users']],
    ['a view, whatever its plan leaves out', 'SELECT * FROM v_outer', ['posts', 'users']],
    [
      'a table that the plan proves empty',
      'SELECT * FROM users WHERE EXISTS (SELECT FROM posts WHERE false)',
      ['posts', 'users'],
    ],
    [
      'sub-queries, joins, unions and common table expressions',
      'WITH t AS (SELECT id FROM teams) SELECT u.id FROM users u JOIN t ON t.id = u.team UNION SELECT id FROM posts',
      ['posts', 'teams', 'users'],
    ],
    ['a function with a parsed body', 'SELECT * FROM parsed($1)', ['users']],
    ['an operator’s function', 'SELECT a <~> b FROM users a, users b', ['teams', 'users']],
    ['the policies of reading, not those of writing', 'SELECT * FROM secrets', ['secrets', 'teams']],
    ['a partition, as its root', 'SELECT * FROM events_1', ['events']],
    ['an inheritance child, as its root', 'SELECT * FROM dogs', ['animals']],
    [
      'parameters of types that only the text tells',
      'SELECT id FROM posts WHERE tags && $1 AND author = ANY ($2) LIMIT $3',
      ['posts'],
    ],
    [
      'aggregates and functions of PostgreSQL’s own',
      "SELECT json_agg(u), now(), random(), to_char(now(), 'YYYY'), count(*) OVER () FROM users u GROUP BY u.id",
      ['users'],
    ],
    ['an immutable function', 'SELECT pure(id) FROM teams', ['teams']],
    ['none', 'SELECT 1', []],
    ['a text that ends in a comment', 'SELECT * FROM teams; -- all', ['teams']],
    ['a plain TABLE or VALUES', 'TABLE teams', ['teams']],
    ['a schema of its own', 'SELECT * FROM other.users', ['other.users']],
    ['a materialized view by its own name', 'SELECT * FROM m_user', ['m_user']],
  ])('are found: %s', async (_, sql, tables) => {
    expect(names(await tablesOf(sql))).toEqual(tables.map((name) => (name.includes('.') ? name : `public.${name}`)));
  });

  it('are found where there are more parameters than a function takes', async () => {
    const list = Array.from({ length: 150 }, (_, index) => `$${index + 2}`).join(', ');
    const sql = `SELECT '$7', id AS "$8" FROM users WHERE name = $1 AND id IN (${list}) -- $9`;
    expect(names(await tablesOf(sql))).toEqual(['public.users']);
  });

  it('come with the domains that make them void, and with what is declared', async () => {
    expect(await tablesOf('SELECT * FROM v_user')).toEqual({
      narrowing: null,
      tables: [
        { name: 'public.posts', domains: ['post'], isWatched: true },
        { name: 'public.users', domains: ['user'], isWatched: true },
      ],
      declared: [],
      unknown: null,
      unwatched: null,
    });
    expect(await tablesOf("SELECT commented(), told('x')")).toMatchObject({
      declared: ['team', 'user'],
      unknown: null,
    });
    expect((await tablesOf('SELECT * FROM unwatched')).unwatched).toContain(
      'watch: [{ table: "public.unwatched", domain: "unwatched" }]',
    );
    expect((await tablesOf('SELECT * FROM m_user')).unwatched).toContain('materialized view public.m_user');
  });

  it.each<[string, string, string]>([
    ['a function that PostgreSQL does not parse', 'SELECT hidden(1)', 'public.hidden(integer)'],
    ['one in an argument’s default', 'SELECT with_default()', 'public.hidden(integer)'],
    ['an aggregate’s function', 'SELECT names(name) FROM users', 'public.add_name(text,text)'],
    ['SQL inside a function of PostgreSQL’s own', "SELECT query_to_xml('SELECT 1', true, true, '')", 'query_to_xml'],
    ['a sequence', "SELECT nextval('numbers')", 'nextval'],
    ['a sequence’s state', 'SELECT last_value FROM numbers', 'public.numbers'],
    ['the catalogue', 'SELECT relname FROM pg_class', 'pg_catalog.pg_class'],
    ['the information schema', 'SELECT * FROM information_schema.tables', 'information_schema.tables'],
    ['rights', "SELECT has_table_privilege('users', 'SELECT')", 'has_table_privilege'],
    ['a write', 'UPDATE users SET name = $1 RETURNING id', 'writes'],
    ['a write in a common table expression', 'WITH w AS (DELETE FROM users RETURNING *) SELECT * FROM w', 'writes'],
    ['a function that writes', 'SELECT writing()', 'public.writing()'],
    ['a lock', 'SELECT * FROM users FOR UPDATE', 'locks rows'],
    ['a lock deep inside', 'SELECT * FROM (SELECT * FROM users FOR SHARE) u', 'locks rows'],
    ['several statements', 'SELECT 1; DELETE FROM users', 'PostgreSQL does not tell'],
    ['a statement that is none', 'EXPLAIN SELECT 1', 'PostgreSQL does not tell'],
    ['a setting changed beside a read', "SELECT set_config('search_path', 'other', false) FROM users", 'set_config'],
  ])('are unknown, naming the culprit: %s', async (_, sql, culprit) => {
    await database.pool.query('DELETE FROM users; INSERT INTO users VALUES (1)');
    const { unknown, tables } = await tablesOf(sql);
    expect(unknown).toContain(culprit);
    expect(tables).toEqual([]);
    expect((await database.pool.query('SELECT FROM users')).rowCount).toBe(1);
  });

  it('follow the search path that is asked for', async () => {
    const search = async (...searchPath: string[]): Promise<unknown> =>
      names(await one.store.inferences.tablesOf('SELECT * FROM users', { searchPath }));
    expect(await search('other', 'public')).toEqual(['other.users']);
    expect(await search('public', 'other')).toEqual(['public.users']);
  });

  it('are looked for anew when a definition has changed', async () => {
    await database.pool.query('CREATE VIEW v_changing AS SELECT id FROM users');
    expect(names(await tablesOf('TABLE v_changing'))).toEqual(['public.users']);
    await database.pool.query('CREATE OR REPLACE VIEW v_changing AS SELECT id FROM posts');
    expect(names(await tablesOf('TABLE v_changing'))).toEqual(['public.posts']);
    await database.pool.query(
      'CREATE OR REPLACE FUNCTION parsed(team int) RETURNS SETOF users LANGUAGE sql STABLE BEGIN ATOMIC SELECT * FROM users u WHERE u.team IN (SELECT id FROM teams); END',
    );
    expect(names(await tablesOf('SELECT * FROM parsed($1)'))).toEqual(['public.teams', 'public.users']);
  });

  it('leave nothing behind in the database or on the connection', async () => {
    await tablesOf('SELECT 41 + $1::int');
    await expect(tablesOf('SELECT nonsense')).resolves.toMatchObject({ unknown: expect.stringContaining('nonsense') });
    const left = await database.pool.query("SELECT proname FROM pg_proc WHERE proname = 'result_cache_inference'");
    expect(left.rows).toEqual([]);
  });

  it('are unknown to a role without the right to create temporary objects', async () => {
    const role = await createRole(database);
    try {
      await database.pool.query(`REVOKE TEMPORARY ON DATABASE ${database.name} FROM PUBLIC`);
      await database.pool.query(`GRANT USAGE ON SCHEMA fraiseql_cache TO ${role.name}`);
      await database.pool.query(`GRANT SELECT ON ALL TABLES IN SCHEMA fraiseql_cache TO ${role.name}`);
      await database.pool.query('SELECT fraiseql_cache.allow_use($1)', [role.name]);
      const store = new PostgresCache({ connection: role.pool });
      const { unknown } = await store.inferences.tablesOf('SELECT 1');
      await store.close();
      expect(unknown).toContain('GRANT TEMPORARY ON DATABASE');
    } finally {
      await database.pool.query(`GRANT TEMPORARY ON DATABASE ${database.name} TO PUBLIC`);
      await database.pool.query(`DROP OWNED BY ${role.name}`);
      await role.drop(database.pool);
    }
  });

  it('are told where the function is declared as the message says', async () => {
    const { unknown } = await tablesOf('SELECT hidden(1)');
    const signature = /functions: \{ "([^"]+)"/.exec(unknown!)![1]!;
    const declared = await openCache(database, { inference: { functions: { [signature]: ['team'] } } });
    expect(await declared.store.inferences.tablesOf('SELECT hidden(1)')).toMatchObject({
      declared: ['team'],
      unknown: null,
    });
    await database.pool.query(/COMMENT ON FUNCTION .*? IS '[^']*'/.exec(unknown!)![0]);
    expect(await tablesOf('SELECT hidden(1)')).toMatchObject({ declared: ['user'], unknown: null });
  });

  it('cannot be declared of a function that is not there', async () => {
    const store = new PostgresCache({ connection: database.pool, inference: { functions: { 'no_such(int)': [] } } });
    await expect(store.initialize()).rejects.toThrow(CacheConfigurationError);
    await store.close();
  });
});
