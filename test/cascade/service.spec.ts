import { afterAll, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import {
  CacheConfigurationError,
  CascadeService,
  CascadeStore,
  fieldTags,
  NotInstalledError,
  type CascadeRule,
} from 'nestjs-result-cache';
import { CascadeWorld } from '../support/cascade-world.js';
import { closeNest, startNest } from '../support/nest.js';

let world: CascadeWorld;

beforeAll(async () => {
  world = await CascadeWorld.open();
});
afterAll(async () => {
  await closeNest();
  await world.close();
});
beforeEach(() => world.reset());

const entries = {
  user: { domains: ['user'] },
  one: { rows: [['user', { id: 5 }]] as const },
  other: { rows: [['user', { id: 6 }]] as const },
  ofAuthor: { rows: [['post', { author_id: 5 }]] as const },
  ofOther: { rows: [['post', { author_id: 6 }]] as const },
  feed: { tags: ['user:5:feed'] },
  otherFeed: { tags: ['user:6:feed'] },
};
const rule: CascadeRule = { source: 'user', cascadeTo: ['post:author:{id}', 'user:{id}:feed'] };

describe('a wrong rule is refused with what to write', () => {
  it.each<[string, unknown, string]>([
    ['no list', {}, 'rules are a list'],
    ['no object', [null], 'is no rule'],
    ['an unknown option', [{ ...rule, colums: ['a'] }], "did you mean 'columns'"],
    ['an unknown source', [{ ...rule, source: 'users' }], "there are 'code', 'comment', 'like', 'post', 'user'"],
    ['no target', [{ source: 'user', cascadeTo: [] }], 'cascadeTo is no list'],
    ['everything', [{ source: 'user', cascadeTo: ['*'] }], 'name the domains'],
    [
      'an unknown domain',
      [{ source: 'user', cascadeTo: ['posts:author:{id}'] }],
      "no watched table feeds; there are 'code'",
    ],
    [
      'an unknown column of the target',
      [{ source: 'user', cascadeTo: ['post:writer:{id}'] }],
      "it has 'id', 'title', 'author_id'",
    ],
    [
      'a column reached over another domain',
      [{ source: 'user', cascadeTo: ['comment:post_author:{id}'] }],
      'follow from its own rules',
    ],
    ['an unknown column of the source', [{ source: 'user', cascadeTo: ['post:author:{uid}'] }], "the column 'uid'"],
    ['something else', [{ source: 'user', cascadeTo: ['post:title'] }], 'is no pattern'],
    ['a function as condition', [{ ...rule, condition: () => true }], 'write condition: { published: true }'],
    ['a condition on an unknown column', [{ ...rule, condition: { publishd: true } }], "the column 'publishd'"],
    [
      'a condition on a column that cannot be compared',
      [{ ...rule, condition: { note: 'x' } }],
      'boolean, integer, uuid, text and enum',
    ],
    [
      'a condition with a value of another type',
      [{ ...rule, condition: { level: 'high' } }],
      '"high" is no value of a column of kind integer',
    ],
    ['a condition that nothing fulfils', [{ ...rule, condition: { level: [] } }], 'nothing would ever cascade'],
    ['an unknown changed column', [{ ...rule, columns: ['mail'] }], "the column 'mail'"],
    ['no changed column', [{ ...rule, columns: [] }], 'columns is no list'],
    ...[0, -1, 1.5, '2', NaN].map((maxDepth): [string, unknown, string] => [
      `maxDepth ${maxDepth}`,
      [{ ...rule, maxDepth }],
      'write 1 for direct targets only',
    ]),
    ['a contradiction', [rule, { ...rule, columns: ['name'] }], 'give them different names'],
  ])('%s', async (_, rules, message) => {
    const registering = world.cascade.register(rules as CascadeRule[]);
    await expect(registering).rejects.toThrow(CacheConfigurationError);
    await expect(registering).rejects.toThrow(message);
    expect(await world.cascade.getRules()).toEqual([]);
  });
});

describe('rules', () => {
  it('are given back as they were registered, and FraiseQL’s with them', async () => {
    const rules: CascadeRule[] = [
      { source: 'post', cascadeTo: ['comment'], maxDepth: 1, name: 'mine' },
      {
        source: 'user',
        cascadeTo: ['post:author:{id}'],
        condition: { level: [1, 2], published: true },
        columns: ['email', 'name'],
      },
    ];
    expect(await world.cascade.register(rules)).toBe(2);
    expect(await world.cascade.register(rules)).toBe(0);
    await world.sql(`INSERT INTO fraiseql_cache.cascade_rules VALUES ('user', 'like')`);
    expect(await world.cascade.getRules()).toEqual([rules[0], { source: 'user', cascadeTo: ['like'] }, rules[1]]);
  });

  it('of one name, source and pattern are replaced by the newer one', async () => {
    await world.cascade.register([rule]);
    expect(await world.cascade.register([{ ...rule, columns: ['name'] }])).toBe(2);
    expect(await world.voids(entries, `UPDATE users SET email = 'x' WHERE id = 5`)).toEqual(['user', 'one']);
  });

  it('are removed by what is said about them, and no others', async () => {
    await world.cascade.register([rule, { source: 'user', cascadeTo: ['comment'], name: 'auto' }]);
    await world.sql(
      `INSERT INTO fraiseql_cache.cascade_rules VALUES ('user', 'like'), ('user', 'comment') ON CONFLICT (source_domain, target_domain) DO UPDATE SET rule_type = EXCLUDED.rule_type`,
    );
    expect(await world.cascade.remove({ name: 'auto' })).toBe(1);
    expect((await world.cascade.getRules()).flatMap(({ cascadeTo }) => cascadeTo)).toEqual([
      'comment',
      'like',
      ...rule.cascadeTo,
    ]);
    expect(await world.cascade.remove({ source: 'user', target: 'like' })).toBe(1);
    expect(await world.cascade.remove({ source: 'user' })).toBe(3);
    expect(await world.cascade.getRules()).toEqual([]);
    expect((await world.sql('SELECT FROM fraiseql_cache.cascade_rules')).rowCount).toBe(0);
    expect(await world.voids(entries, `UPDATE users SET email = 'x' WHERE id = 5`)).toEqual(['user', 'one']);
    await expect(world.cascade.remove({})).rejects.toThrow("remove({ source: 'user' })");
  });

  it('of a name are replaced by others in one transaction, and those of other names stay', async () => {
    const ofAuto = (...cascadeTo: string[]): CascadeRule => ({ source: 'user', cascadeTo, name: 'auto' });
    await world.cascade.register([rule, ofAuto('like', 'post:author:{id}')]);
    expect(await world.cascade.register([ofAuto('comment', 'post:author:{id}')], { replace: 'auto' })).toBe(2);
    const rules = async () =>
      (await world.cascade.getRules()).map(({ name = '', cascadeTo }) => `${name} ${cascadeTo.join()}`);
    const left = ['auto comment', ' post:author:{id}', 'auto post:author:{id}', ' user:{id}:feed'];
    expect(await rules()).toEqual(left);
    expect((await world.sql(`SELECT FROM fraiseql_cache.cascade_rules WHERE target_domain = 'like'`)).rowCount).toBe(0);

    // What is there already waits for nobody, not even for who writes the source.
    await world.connected(async (client) => {
      await client.query('BEGIN; LOCK TABLE users IN ROW EXCLUSIVE MODE');
      expect(await world.cascade.register([ofAuto('comment', 'post:author:{id}')], { replace: 'auto' })).toBe(0);
    });
    // All or nothing: a list with a mistake takes nothing away.
    await expect(world.cascade.register([ofAuto('unknown')], { replace: 'auto' })).rejects.toThrow('no watched table');
    expect(await rules()).toEqual(left);
    expect(await world.cascade.register([], { replace: 'auto' })).toBe(2);
    expect(await rules()).toEqual([' post:author:{id}', ' user:{id}:feed']);
  });

  it.each<[string, CascadeRule[], unknown, string]>([
    ['another name', [{ ...rule, name: 'mine' }], { replace: 'auto' }, "has the name 'mine'; write name: 'auto'"],
    ['no name', [rule], { replace: 'auto' }, "has none; write name: 'auto'"],
    ['no text', [rule], { replace: true }, 'replace is no name of rules'],
    ['an unknown option', [rule], { replaces: 'auto' }, "did you mean 'replace'"],
  ])('are not replaced by those of %s', async (_, rules, options, message) => {
    await expect(world.cascade.register(rules, options as object)).rejects.toThrow(message);
  });

  it('that two replace at once are those of the later one', async () => {
    const ofAuto = (pattern: string): CascadeRule => ({ source: 'user', cascadeTo: [pattern], name: 'auto' });
    await world.connected(async (client) => {
      await client.query('BEGIN');
      await client.query(`SELECT fraiseql_cache.register_cascades($1, 'auto')`, [
        JSON.stringify([{ name: 'auto', source: 'user', pattern: 'like', target: 'like' }]),
      ]);
      const later = world.cascade.register([ofAuto('post')], { replace: 'auto' });
      const isWaiting = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
      while ((await world.sql(isWaiting)).rowCount === 0);
      await client.query('COMMIT');
      expect(await later).toBe(2);
    });
    expect(await world.cascade.getRules()).toEqual([ofAuto('post')]);
    expect(await world.voids(entries, 'UPDATE users SET name = name WHERE id = 5')).toContain('ofAuthor');
  });

  it('are found from foreign keys with the cache’s own connection, and pruned only when asked to', async () => {
    await world.sql('ALTER TABLE comments ADD CONSTRAINT post FOREIGN KEY (post_id) REFERENCES posts NOT VALID');
    try {
      const found: CascadeRule = { source: 'post', cascadeTo: ['comment:post_id:{id}'], name: 'auto' };
      await world.cascade.setupAutoRules();
      expect(await world.cascade.getRules()).toEqual([found]);
      await world.cascade.setupAutoRules({ name: 'shop' });
      await world.sql('ALTER TABLE comments DROP CONSTRAINT post');
      await world.cascade.setupAutoRules();
      expect(await world.cascade.getRules()).toEqual([found, { ...found, name: 'shop' }]);
      await world.cascade.setupAutoRules({ prune: true });
      expect(await world.cascade.getRules()).toEqual([{ ...found, name: 'shop' }]);
    } finally {
      await world.sql('ALTER TABLE comments DROP CONSTRAINT IF EXISTS post');
    }
  });

  it('may not be changed by a role that has no right to, but registered where they are there already', async () => {
    await world.register({ source: 'user', cascadeTo: ['post'] });
    await world.sql(`DO $$ BEGIN CREATE ROLE cascade_reader; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
      GRANT USAGE ON SCHEMA fraiseql_cache TO cascade_reader; SELECT fraiseql_cache.allow_use('cascade_reader')`);
    await world.connected(async (client) => {
      await client.query('SET ROLE cascade_reader');
      const entries = async (): Promise<never> => Promise.reject(new Error('counts none'));
      const asReader = new CascadeStore(entries, async (_, text, values) => {
        const { rows } = await client.query<string[]>({
          text,
          values,
          rowMode: 'array',
          types: { getTypeParser: () => String },
        } as never);
        return rows;
      });
      const there = (await asReader.rules()).map((detail) => ({ ...detail, name: '' }));
      expect(await asReader.register(there)).toBe(0);
      const changing = asReader.register([{ ...there[0]!, max_depth: 1 }]);
      await expect(changing).rejects.toThrow(NotInstalledError);
      await expect(changing).rejects.toThrow(
        'GRANT SELECT, INSERT, UPDATE, DELETE ON fraiseql_cache.cascade_rules, fraiseql_cache.cascade_detail TO cascade_reader;',
      );
    });
  });
});

describe('an invalidation by hand', () => {
  beforeEach(() => world.register(rule));

  it.each<[string, () => Promise<void>, string[]]>([
    ['a row', () => world.cascade.invalidate('user:5'), ['user', 'one', 'ofAuthor', 'feed']],
    [
      'a row by a column',
      () => world.cascade.invalidate({ domain: 'user', where: { id: 5 } }),
      ['user', 'one', 'ofAuthor', 'feed'],
    ],
    [
      'rows by another column',
      () => world.cascade.invalidate('user:best_friend:7'),
      ['user', 'one', 'other', 'ofAuthor', 'ofOther', 'feed', 'otherFeed'],
    ],
    [
      'a domain',
      () => world.cascade.invalidate('user'),
      ['user', 'one', 'other', 'ofAuthor', 'ofOther', 'feed', 'otherFeed'],
    ],
    [
      'all rows',
      () => world.cascade.invalidate('user:*'),
      ['user', 'one', 'other', 'ofAuthor', 'ofOther', 'feed', 'otherFeed'],
    ],
    [
      'several',
      () => world.cascade.invalidateBatch(['user:5', 'post:author:6']),
      ['user', 'one', 'ofAuthor', 'ofOther', 'feed'],
    ],
    [
      'the same through the cache',
      () => world.one.cache.invalidate({ rows: [['user', { id: 5 }]] }),
      ['user', 'one', 'ofAuthor', 'feed'],
    ],
  ])('of %s cascades like a write', async (_, invalidate, expected) => {
    expect(await world.voids(entries, invalidate)).toEqual(expected);
  });

  it('of something that is no domain is refused', async () => {
    await expect(world.cascade.invalidate('users:5')).rejects.toThrow(
      "'users' is no domain that a watched table feeds; there are 'code'",
    );
    await expect(world.cascade.invalidate({ domain: 'user', where: { uid: 5 } })).rejects.toThrow("no column 'uid'");
    await expect(world.cascade.invalidate(5 as never)).rejects.toThrow("'user:123'");
  });

  it('within a transaction takes effect with its commit', async () => {
    await world.connected(async (client) => {
      await client.query('BEGIN');
      const voided = await world.cached(entries);
      await world.cascade.invalidate('user:5', client);
      await client.query('ROLLBACK');
      expect(await voided()).toEqual([]);
    });
  });

  it('that is put off runs once when it is flushed, and not before', async () => {
    const voided = await world.cached(entries);
    await world.cascade.invalidateLazy('user:5', 3_600);
    await world.cascade.invalidateLazy('user:5', 7_200);
    const before = await world.sql('SELECT count(*) FROM fraiseql_cache.log');
    expect((await world.sql('SELECT count(*) FROM fraiseql_cache.log')).rows).toEqual(before.rows);
    await world.cascade.flush();
    expect(await voided()).toEqual(['user', 'one', 'ofAuthor', 'feed']);
    expect(await world.voids(entries, () => world.cascade.flush())).toEqual([]);
  });

  it('that is put off runs when its time has come', async () => {
    const touches = async (): Promise<number> =>
      (await world.sql(`SELECT FROM fraiseql_cache.log WHERE tag = 'user.id=5'`)).rowCount!;
    const before = await touches();
    jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask', 'Date', 'setInterval'] });
    try {
      await world.cascade.invalidateLazy('user:5', 5);
      jest.advanceTimersByTime(4_999);
      expect(await touches()).toBe(before);
      jest.advanceTimersByTime(2);
    } finally {
      jest.useRealTimers();
    }
    await world.cascade.flush();
    expect(await touches()).toBe(before + 1);
  });

  it.each([-1, NaN, Infinity, '5'])('cannot be put off by %p seconds', async (delay) => {
    await expect(world.cascade.invalidateLazy('user:5', delay as number)).rejects.toThrow(
      "invalidateLazy('user:123', 5)",
    );
  });

  it('of a field voids what depends on it alone', async () => {
    const fields = {
      title: { tags: fieldTags('post', 123, 'title') },
      text: { tags: fieldTags('post', 123, 'text') },
      otherTitle: { tags: fieldTags('post', 124, 'title') },
      allTitles: { tags: fieldTags('post', '*', 'title') },
    };
    expect(await world.voids(fields, () => world.cascade.invalidateField('post:123', 'title'))).toEqual([
      'title',
      'allTitles',
    ]);
    expect(await world.voids(fields, () => world.cascade.invalidateField('post:*', 'title'))).toEqual([
      'title',
      'otherTitle',
      'allTitles',
    ]);
    await expect(world.cascade.invalidateField('post', 'title')).rejects.toThrow(
      "invalidateField('post:*', 'author.name')",
    );
  });
});

describe('those who ask what cascades', () => {
  it('are told how often, before compaction and after', async () => {
    await world.register(rule, { source: 'post', cascadeTo: ['comment'] });
    // Counting ends at the oldest transaction of the whole server, which may be another spec's.
    do await world.sql('SELECT fraiseql_cache.sample_cascades(); DELETE FROM fraiseql_cache.cascade_sample');
    while ((await world.cascade.getStats()).totalInvalidations24h > 0);
    await world.sql(`UPDATE users SET name = 'x' WHERE id = 5`);
    await world.sql(`UPDATE users SET name = 'y' WHERE id = 5`);
    await world.sql(`UPDATE posts SET title = 'y' WHERE id = 5`);
    await world.sql(`UPDATE comments SET text = 'y' WHERE id = 5`);
    const expected = {
      totalInvalidations24h: 4,
      cascadeTriggered: 3,
      avgCascadeDepth: 1.4,
      mostFrequentCascades: [
        { pattern: 'user -> comment', count: 2 },
        { pattern: 'user -> post', count: 2 },
        { pattern: 'post -> comment', count: 1 },
      ],
    };
    expect(await world.cascade.getStats()).toMatchObject(expected);
    await world.sql('SELECT fraiseql_cache.compact(); SELECT fraiseql_cache.compact()');
    expect(await world.cascade.getStats()).toMatchObject(expected);
    await world.sql(`UPDATE fraiseql_cache.cascade_sample SET at = at - interval '25 hours'`);
    await world.sql(`UPDATE fraiseql_cache.log SET xid = xid WHERE false`);
    expect((await world.cascade.getStats()).mostFrequentCascades.every(({ count }) => count <= 2)).toBe(true);
  });

  it('see the time of invalidations by hand', async () => {
    const fresh = new CascadeService(world.one.cache, world.one.store);
    expect((await fresh.getStats()).avgCascadeTimeMs).toBeNull();
    await fresh.invalidate('user:5');
    expect((await fresh.getStats()).avgCascadeTimeMs).toBeGreaterThan(0);
  });

  it('see the time of triggers, as health does, where the server measures it', async () => {
    const fresh = new CascadeService(world.one.cache, world.one.store);
    expect((await world.one.store.stats()).cascadeMs).toBeUndefined();
    await world.register(rule);
    await world.connected(async (client) => {
      await client.query(`SET track_functions = 'pl'`);
      await client.query(`UPDATE users SET name = 'x' WHERE id = 5`);
      await client.query('SELECT pg_stat_force_next_flush()');
    });
    const { avgCascadeTimeMs } = await fresh.getStats();
    expect(avgCascadeTimeMs).toBeGreaterThan(0);
    expect((await world.one.store.stats()).cascadeMs).toBe(avgCascadeTimeMs);
  });

  it('see a graph with how many entries a write would void now', async () => {
    await world.sql('TRUNCATE fraiseql_cache.fraiseql_cache');
    await world.register(rule, { source: 'post', cascadeTo: ['comment', 'user:{author_id}'] });
    await world.cached({ ...entries, comment: { domains: ['comment'] } });
    const { text, mermaid } = await world.cascade.getGraph('user:5');
    expect(text).toBe(
      [
        'user:5',
        ' ├─> post:author:{id} (1 entry)',
        ' │    └─> comment (1 entry)',
        ' └─> user:{id}:feed (1 entry)',
      ].join('\n'),
    );
    expect(mermaid).toContain('n2["user"] -->|"post:author:{id}: 1 entry"| n0["post"]');
    expect((await world.cascade.getGraph()).text).toContain('post\n ├─> comment (1 entry)\n └─> user:{author_id} (');
  });

  it('see what invalidations by hand do in the log, without anybody’s data', async () => {
    const lines: string[] = [];
    const spies = (['log', 'debug'] as const).map((level) =>
      jest.spyOn(Logger.prototype, level).mockImplementation((line: unknown) => void lines.push(String(line))),
    );
    try {
      await world.register(rule);
      await world.cascade.invalidate('user:5');
      expect(lines).toEqual([]);
      world.cascade.setLogging({ enabled: true, level: 'DEBUG' });
      await world.sql('TRUNCATE fraiseql_cache.fraiseql_cache');
      await world.cached(entries);
      await world.cascade.invalidateBatch(['user:5', 'code:secret@example.org']);
      expect(lines.slice(0, -1)).toEqual([
        '[CASCADE] user:5 changed',
        expect.stringMatching(/^\[CASCADE\] code:#[0-9a-f]{8} changed$/),
        '[CASCADE] → Evaluating rule: user -> post:author:{id}',
        '[CASCADE] → Evaluating rule: user -> user:{id}:feed',
        '[CASCADE] → Matched 1 entry: post',
        '[CASCADE] → Matched 1 entry: tags',
      ]);
      expect(lines.at(-1)).toMatch(/^\[CASCADE\] ✓ CASCADE complete in [\d.]+ms$/);
    } finally {
      world.cascade.setLogging({ enabled: false });
      for (const spy of spies) spy.mockRestore();
    }
    expect(() => world.cascade.setLogging({ enabled: true, level: 'all' as 'log' })).toThrow("write 'log' or 'debug'");
  });
});

describe('in an application', () => {
  it('the service is injected, and runs what was put off when the application ends', async () => {
    const { app } = await startNest(world.database, {
      options: { watch: [{ table: 'users', domain: 'user', tagColumns: [['best_friend_id']] }] },
    });
    await world.register(rule);
    const voided = await world.cached(entries);
    await app.get(CascadeService).invalidateLazy('user:5', 3_600);
    await app.close();
    expect(await voided()).toEqual(['user', 'one', 'ofAuthor', 'feed']);
  });
});
