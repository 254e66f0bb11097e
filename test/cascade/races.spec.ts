import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { CascadeWorld } from '../support/cascade-world.js';

let world: CascadeWorld;

beforeAll(async () => {
  world = await CascadeWorld.open();
});
afterAll(() => world.close());
beforeEach(() => world.reset());

const ofAuthor = { rows: [['post', { author_id: 5 }]] as const };
const one = { rows: [['post', { id: 1 }]] as const };
const all = { domains: ['post'] };
const entries = { all, ofAuthor, one };

/** Resolves when some other session waits for a lock on this table. */
async function waitedFor(table: string): Promise<void> {
  for (;;) {
    const { rowCount } = await world.sql(
      `SELECT FROM pg_locks l WHERE l.relation = $1::regclass AND NOT l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
      [table],
    );
    if (rowCount! > 0) return;
  }
}

describe('a rule that is registered', () => {
  it('voids what was cached before', async () => {
    expect(
      await world.voids(entries, () => world.register({ source: 'user', cascadeTo: ['post:author:{id}'] })),
    ).toEqual(['all', 'ofAuthor', 'one']);
  });

  it('and is there already voids nothing, and waits for nobody', async () => {
    const rule = {
      source: 'user',
      cascadeTo: ['post:author:{id}', 'user:{id}:feed'],
      condition: { level: [1, 2] },
      columns: ['name'],
      maxDepth: 2,
    };
    await world.register(rule);
    await world.connected(async (writer) => {
      await writer.query(`BEGIN; UPDATE users SET email = 'x' WHERE id = 1`);
      expect(await world.voids(entries, () => world.register(rule))).toEqual([]);
      expect(
        await world.voids(
          entries,
          `INSERT INTO fraiseql_cache.cascade_rules VALUES ('user', 'post', 'detailed') ON CONFLICT (source_domain, target_domain) DO UPDATE SET rule_type = EXCLUDED.rule_type`,
        ),
      ).toEqual([]);
      await writer.query('ROLLBACK');
    });
  });

  it('waits for a writer that began without it, and what is cached from then on is void by later ones', async () => {
    await world.connected(async (writer) => {
      await writer.query('BEGIN');
      await writer.query(`UPDATE users SET name = 'first' WHERE id = 5`);
      let registered = false;
      const registering = world.register({ source: 'user', cascadeTo: ['post'] }).then(() => (registered = true));
      await waitedFor('users');
      expect(registered).toBe(false);
      // Cached under the old rules while the writer is open: the registration voids it.
      const voided = await world.cached(entries);
      await writer.query('COMMIT');
      await registering;
      expect(await voided()).toEqual(['all', 'ofAuthor', 'one']);
      expect(await world.voids(entries, () => writer.query(`UPDATE users SET name = 'next' WHERE id = 5`))).toEqual([
        'all',
        'ofAuthor',
        'one',
      ]);
    });
  });

  it('holds for a session that has used the old trigger, in the same transaction too', async () => {
    await world.connected(async (writer) => {
      await writer.query({ name: 'w', text: `UPDATE users SET name = name || 'x' WHERE id = $1`, values: [5] });
      await writer.query('BEGIN; SELECT 1 FROM posts');
      await world.register({ source: 'user', cascadeTo: ['post'] });
      const voided = await world.cached(entries);
      await writer.query({ name: 'w', text: `UPDATE users SET name = name || 'x' WHERE id = $1`, values: [5] });
      await writer.query('COMMIT');
      expect(await voided()).toEqual(['all', 'ofAuthor', 'one']);
    });
  });

  it('is no rule where its transaction is rolled back', async () => {
    await world.connected(async (client) => {
      await client.query(`BEGIN; INSERT INTO fraiseql_cache.cascade_rules VALUES ('user', 'post'); ROLLBACK`);
    });
    expect(await world.voids(entries, `UPDATE users SET name = 'x' WHERE id = 5`)).toEqual([]);
    const { rows } = await world.sql(`SELECT problem FROM fraiseql_cache.audit() WHERE problem IS NOT NULL`);
    expect(rows).toEqual([]);
  });

  it('by two at once is there twice over', async () => {
    await world.connected(async (client) => {
      await client.query(`BEGIN; INSERT INTO fraiseql_cache.cascade_rules VALUES ('user', 'post')`);
      const other = world.sql(`INSERT INTO fraiseql_cache.cascade_rules VALUES ('user', 'comment')`);
      await client.query('COMMIT');
      await other;
    });
    const both = { post: { domains: ['post'] }, comment: { domains: ['comment'] } };
    expect(await world.voids(both, `UPDATE users SET name = 'x' WHERE id = 5`)).toEqual(['post', 'comment']);
  });

  it('is refused where the rules of others could not be seen', async () => {
    await expect(
      world.connected(async (client) => {
        await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
        await client.query(`INSERT INTO fraiseql_cache.cascade_rules VALUES ('user', 'post')`);
      }),
    ).rejects.toThrow('READ COMMITTED');
  });
});

describe('a write that cascades', () => {
  beforeEach(() => world.register({ source: 'user', cascadeTo: ['post:author:{id}'] }));

  it('voids a list that a concurrent transaction adds to', async () => {
    await world.connected(async (author) =>
      world.connected(async (user) => {
        await author.query('BEGIN');
        await author.query(`INSERT INTO posts VALUES (900, 5, 1, 't', 'new')`);
        // The user is renamed by somebody who cannot see the new post, and commits last.
        await user.query(`BEGIN; UPDATE users SET name = 'x' WHERE id = 5`);
        await author.query('COMMIT');
        const voided = await world.cached({ new: { rows: [['post', { id: 900 }]] as const }, ofAuthor });
        await user.query('COMMIT');
        expect(await voided()).toEqual(['new', 'ofAuthor']);
      }),
    );
  });

  it('and is rolled back never happened', async () => {
    expect(await world.voids(entries, `BEGIN; UPDATE users SET name = 'x' WHERE id = 5; ROLLBACK`)).toEqual([]);
    expect(
      await world.voids(
        entries,
        `BEGIN; SAVEPOINT s; UPDATE users SET name = 'x' WHERE id = 5; ROLLBACK TO s; UPDATE comments SET text = 'x'; COMMIT`,
      ),
    ).toEqual([]);
    expect(
      await world.voids(entries, `BEGIN; SAVEPOINT s; UPDATE users SET name = 'x' WHERE id = 5; RELEASE s; COMMIT`),
    ).toEqual(['all', 'ofAuthor', 'one']);
  });

  it.each([
    ['an upsert', `INSERT INTO users (id, name) VALUES (5, 'x') ON CONFLICT (id) DO UPDATE SET name = 'y'`],
    ['a MERGE', `MERGE INTO users u USING (VALUES (5)) v (id) ON u.id = v.id WHEN MATCHED THEN UPDATE SET name = 'y'`],
    [
      'replication',
      `SET session_replication_role = replica; UPDATE users SET name = 'x' WHERE id = 5; RESET session_replication_role`,
    ],
  ])('may be %s', async (_, write) => {
    expect(await world.voids(entries, write)).toEqual(['all', 'ofAuthor', 'one']);
  });

  it('is one of a partition too', async () => {
    await world.sql(`CREATE TABLE parts (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
      CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20); SELECT fraiseql_cache.watch('parts', 'part')`);
    try {
      await world.register({ source: 'part', cascadeTo: ['post:author:{id}'] });
      await world.sql('INSERT INTO parts VALUES (5, 0)');
      for (const write of [
        'UPDATE parts SET v = 1 WHERE id = 5',
        'UPDATE parts_1 SET v = 2 WHERE id = 5',
        'MERGE INTO parts p USING (VALUES (5)) v (id) ON p.id = v.id WHEN MATCHED THEN UPDATE SET id = 15',
      ])
        expect(await world.voids(entries, write)).toEqual(['all', 'ofAuthor', 'one']);
    } finally {
      await world.sql(`SELECT fraiseql_cache.unwatch('parts'); DROP TABLE parts`);
    }
  });

  it('never deadlocks with one that cascades the other way', async () => {
    await world.register({ source: 'post', cascadeTo: ['user:{author_id}'] });
    const writer = async (tables: string[]): Promise<void> =>
      world.connected(async (client) => {
        for (let round = 0; round < 20; round++) {
          await client.query('BEGIN');
          for (const table of tables) await client.query(`INSERT INTO ${table} (id) VALUES (${1000 + count++})`);
          await client.query('COMMIT');
        }
      });
    let count = 0;
    await Promise.all([writer(['users', 'posts']), writer(['posts', 'users'])]);
  });
});

describe('an entry that holds another', () => {
  it('is void by what cascades to its own rows, whatever the other one names', async () => {
    await world.register({ source: 'user', cascadeTo: ['post'] });
    let computed = 0;
    const outer = async (): Promise<unknown> =>
      world.one.cache.getOrSet(
        'outer',
        async () => {
          computed++;
          return world.one.cache.getOrSet(`inner ${computed}`, async () => 1, { rows: [['user', { id: 3 }]] });
        },
        { rows: [['post', { id: 1 }]] },
      );
    await outer();
    await world.one.cache.drain();
    await world.sql(`UPDATE users SET name = 'x' WHERE id = 5`);
    await outer();
    expect(computed).toBe(2);
  });
});

describe('the audit', () => {
  it('finds triggers that were made for other rules, and caches neither source nor target until they are mended', async () => {
    await world.sql(`ALTER TABLE fraiseql_cache.cascade_rules DISABLE TRIGGER compile_insert`);
    try {
      await world.sql(`INSERT INTO fraiseql_cache.cascade_rules VALUES ('user', 'post')`);
    } finally {
      await world.sql(`ALTER TABLE fraiseql_cache.cascade_rules ENABLE ALWAYS TRIGGER compile_insert`);
    }
    await world.sql('SELECT fraiseql_cache.compile_cascades()');
    await world.sql(`DROP TRIGGER fraiseql_cache_update ON users`);
    try {
      const report = await world.one.store.audit();
      expect(report.get('user')).toContain('missing');
      expect(report.get('post')).toContain('writes to the domain "user" cascade here');
      expect(report.get('comment')).toBeNull();
    } finally {
      await world.sql(`SELECT fraiseql_cache.watch('users', 'user', NULL, '[["best_friend_id"]]')`);
    }
    const mended = await world.one.store.audit();
    expect([...mended.values()].filter((problem) => problem !== null)).toEqual([]);
    await world.one.cache.purge();
    await world.two.cache.purge();
    expect(await world.voids(entries, `UPDATE users SET name = 'x' WHERE id = 5`)).toEqual(['all', 'ofAuthor', 'one']);
  });

  it('finds triggers without the rules there are', async () => {
    await world.sql(`ALTER TABLE fraiseql_cache.cascade_rules DISABLE TRIGGER compile_insert`);
    try {
      await world.sql(`INSERT INTO fraiseql_cache.cascade_rules VALUES ('user', 'post')`);
    } finally {
      await world.sql(`ALTER TABLE fraiseql_cache.cascade_rules ENABLE ALWAYS TRIGGER compile_insert`);
    }
    expect((await world.one.store.audit()).get('post')).toContain('cascade rules');
    await world.sql('SELECT fraiseql_cache.compile_cascades()');
    expect((await world.one.store.audit()).get('post')).toBeNull();
    await world.sql(
      `UPDATE pg_proc SET prosrc = prosrc || ' ' WHERE proname LIKE 'touch_%_update' AND prosrc LIKE '%post.@user%'`,
    );
    const report = await world.one.store.audit();
    expect(report.get('user')).toContain('for other cascade rules');
    expect(report.get('post')).toContain('for other cascade rules');
    await world.sql('SELECT fraiseql_cache.compile_cascades()');
    expect((await world.one.store.audit()).get('post')).toBeNull();
  });
});
