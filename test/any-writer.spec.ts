import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type ResultCache } from 'nestjs-result-cache';
import pg from 'pg';
import { CachedReads, nameOf, type Outcome, type Scope } from './support/cached-reads.js';
import { closeCaches, openCache, type TestCache } from './support/caches.js';
import { createDatabase, type TestDatabase } from './support/database.js';
import { installSettled } from './support/settled.js';

const TABLES = ['author', 'book', 'review', 'shelf', 'trail', 'event', 'animal'];
const watch = [
  { table: 'author', domain: 'author', tenantColumn: 'tenant_id' },
  { table: 'book', domain: 'book', tagColumns: [['author_id']] },
  { table: 'review', domain: 'review', tagColumns: [['book_id']] },
  { table: 'shelf', domain: 'shelf' },
  { table: 'trail', domain: 'trail' },
  { table: 'event', domain: 'event', tenantColumn: 'region' },
  { table: 'animal', domain: 'animal', tagColumns: [['id']] },
];

let database: TestDatabase;
let one: TestCache;
/** One process, another, and one without memory of its own. */
let caches: ResultCache[];
let reads: CachedReads;
let client: pg.PoolClient;

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query(`
    CREATE TABLE author (id int PRIMARY KEY, tenant_id text, name text NOT NULL);
    CREATE TABLE book (id int PRIMARY KEY, title text NOT NULL,
      author_id int NOT NULL REFERENCES author ON DELETE CASCADE ON UPDATE CASCADE);
    CREATE TABLE review (id int PRIMARY KEY, stars int NOT NULL, book_id int REFERENCES book ON DELETE SET NULL);
    CREATE TABLE shelf (id int PRIMARY KEY, label text NOT NULL);
    CREATE TABLE trail (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text NOT NULL);
    CREATE TABLE event (id int, region text, note text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
    CREATE TABLE event_eu PARTITION OF event FOR VALUES IN ('eu');
    CREATE TABLE event_us PARTITION OF event FOR VALUES IN ('us') PARTITION BY LIST (id);
    CREATE TABLE event_us_even PARTITION OF event_us FOR VALUES IN (2, 4, 6);
    CREATE TABLE event_us_odd PARTITION OF event_us DEFAULT;
    CREATE TABLE animal (id int PRIMARY KEY, name text NOT NULL);
    CREATE TABLE dog (breed text) INHERITS (animal);

    CREATE VIEW acme_author AS SELECT id, tenant_id, name FROM author WHERE tenant_id = 'acme';
    CREATE VIEW titles AS SELECT b.id, b.title, a.name FROM book b JOIN author a ON a.id = b.author_id;
    CREATE FUNCTION retitle() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN UPDATE book SET title = NEW.title WHERE id = OLD.id; RETURN NEW; END $$;
    CREATE TRIGGER retitle INSTEAD OF UPDATE ON titles FOR EACH ROW EXECUTE FUNCTION retitle();
    CREATE FUNCTION rename_author(who int, new_name text) RETURNS void LANGUAGE sql AS
      $$ UPDATE author SET name = new_name WHERE id = who $$;
    CREATE PROCEDURE rename_twice(who int) LANGUAGE plpgsql AS
      $$ BEGIN UPDATE author SET name = 'first' WHERE id = who; COMMIT; UPDATE author SET name = 'second' WHERE id = who; END $$;
    CREATE FUNCTION leave_trail() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO trail (note) VALUES (TG_OP); RETURN NULL; END $$;
    CREATE TRIGGER leave_trail AFTER INSERT ON shelf FOR EACH ROW EXECUTE FUNCTION leave_trail();
    CREATE CONSTRAINT TRIGGER leave_trail_late AFTER DELETE ON shelf DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION leave_trail();
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
    CREATE TRIGGER refuse BEFORE UPDATE ON shelf FOR EACH ROW WHEN (NEW.label = 'refused') EXECUTE FUNCTION refuse();`);
  await installSettled(database);
  one = await openCache(database, { watch });
  const other = await openCache(database);
  const bare = await openCache(database, {}, { memory: false });
  caches = [one.cache, other.cache, bare.cache];
  client = await database.pool.connect();
});

afterAll(async () => {
  client.release();
  await closeCaches();
  await database.drop();
});

beforeEach(async () => {
  await database.pool.query(`
    TRUNCATE ${TABLES.join(', ')} RESTART IDENTITY;
    INSERT INTO author VALUES (1, 'acme', 'Ada'), (2, 'acme', 'Bob'), (3, 'globex', 'Cy');
    INSERT INTO book VALUES (1, 'On Engines', 1), (2, 'Notes', 1), (3, 'Looms', 2);
    INSERT INTO review VALUES (1, 5, 1), (2, 4, 3);
    INSERT INTO shelf VALUES (1, 'top');
    INSERT INTO event VALUES (1, 'eu', 'x'), (2, 'us', 'y'), (3, 'us', 'z');
    INSERT INTO animal VALUES (1, 'Tom');
    INSERT INTO dog VALUES (2, 'Rex', 'collie');`);
  reads = new CachedReads(database, caches);
});

const author = (values: Record<string, string | number>): Scope => ['author', values];
const book = (values: Record<string, number>): Scope => ['book', values];
const review = (values: Record<string, number>): Scope => ['review', values];
const event = (values: Record<string, string | number>): Scope => ['event', values];
const animal = (id: number): Scope => ['animal', { id }];

/** One way of writing: what must be read anew after it, and which narrow reads are still hits (all other tables are). */
interface Writer {
  name: string;
  write: string | (() => Promise<unknown>);
  voids: readonly Scope[];
  keeps?: readonly Scope[];
}

const expected = (voids: readonly Scope[], keeps: readonly Scope[]): Record<string, Outcome> =>
  Object.fromEntries([
    ...voids.map((scope) => [nameOf(scope), 'fresh'] as const),
    ...keeps.map((scope) => [nameOf(scope), 'hit'] as const),
  ]);

async function check({ write, voids, keeps = [] }: Writer): Promise<void> {
  const kept = [...keeps, ...TABLES.filter((table) => !voids.includes(table))];
  await reads.prime([...voids, ...kept]);
  await (typeof write === 'string' ? client.query(write) : write());
  expect(await reads.outcomes([...voids, ...kept])).toEqual(expected(voids, kept));
}

/** COPY … FROM STDIN in the protocol's own messages. */
async function copyIn(target: string, lines: string): Promise<void> {
  interface Wire {
    sendCopyFromChunk(chunk: Buffer): void;
    endCopyFrom(): void;
  }
  await new Promise<void>((resolve, reject) => {
    const query = new pg.Query(`COPY ${target} FROM STDIN`, (error: Error | undefined) =>
      error ? reject(error) : resolve(),
    );
    Object.assign(query, {
      handleCopyInResponse: (wire: Wire) => {
        wire.sendCopyFromChunk(Buffer.from(lines));
        wire.endCopyFrom();
      },
    });
    client.query(query);
  });
}

const writers: readonly Writer[] = [
  {
    name: 'several statements in one simple query, as psql -c sends them',
    write: `UPDATE author SET name = 'Ada L.' WHERE id = 1; DELETE FROM review WHERE id = 2`,
    voids: [
      'author',
      'review',
      author({ id: 1 }),
      author({ tenant_id: 'acme' }),
      review({ id: 2 }),
      review({ book_id: 3 }),
    ],
    keeps: [author({ id: 2 }), author({ tenant_id: 'globex' }), review({ id: 1 })],
  },
  {
    name: 'COPY FROM STDIN',
    write: () => copyIn('author', '4\tinitech\tDee\n5\tinitech\tEve\n'),
    voids: ['author', author({ id: 4 }), author({ tenant_id: 'initech' })],
    keeps: [author({ id: 1 }), author({ tenant_id: 'acme' })],
  },
  {
    name: 'COPY FROM PROGRAM on the server',
    write: `COPY shelf FROM PROGRAM 'printf "7\\tlow\\n"'`,
    voids: ['shelf', 'trail', ['shelf', { id: 7 }]],
    keeps: [['shelf', { id: 1 }]],
  },
  {
    name: 'an upsert that inserts',
    write: `INSERT INTO author VALUES (4, 'acme', 'Dee') ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name`,
    voids: ['author', author({ id: 4 }), author({ tenant_id: 'acme' })],
    keeps: [author({ id: 1 }), author({ tenant_id: 'globex' })],
  },
  {
    name: 'an upsert that updates, and moves the row to another tenant',
    write: `INSERT INTO author VALUES (1, 'globex', 'Ada L.') ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, tenant_id = EXCLUDED.tenant_id`,
    voids: ['author', author({ id: 1 }), author({ tenant_id: 'acme' }), author({ tenant_id: 'globex' })],
    keeps: [author({ id: 2 })],
  },
  {
    name: 'an upsert of several rows that does both',
    write: `INSERT INTO author VALUES (2, 'acme', 'B'), (5, 'initech', 'E') ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name`,
    voids: ['author', author({ id: 2 }), author({ id: 5 }), author({ tenant_id: 'initech' })],
    keeps: [author({ id: 1 }), author({ tenant_id: 'globex' })],
  },
  {
    name: 'an upsert that does nothing',
    write: `INSERT INTO author VALUES (1, 'acme', 'other') ON CONFLICT DO NOTHING`,
    voids: [],
    keeps: [author({ id: 1 })],
  },
  {
    name: 'an upsert whose condition updates nothing',
    write: `INSERT INTO author AS a VALUES (1, 'acme', 'other') ON CONFLICT (id) DO UPDATE SET name = 'x' WHERE a.name = 'nobody'`,
    voids: [],
    keeps: [author({ id: 1 })],
  },
  {
    name: 'MERGE: insert, update and delete in one',
    write: `MERGE INTO author a USING (VALUES (1, 'new'), (3, NULL), (9, 'nine')) s (id, name) ON a.id = s.id
            WHEN MATCHED AND s.name IS NULL THEN DELETE
            WHEN MATCHED THEN UPDATE SET name = s.name
            WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'initech', s.name)`,
    voids: [
      'author',
      author({ id: 1 }),
      author({ id: 3 }),
      author({ id: 9 }),
      author({ tenant_id: 'globex' }),
      author({ tenant_id: 'initech' }),
    ],
    keeps: [author({ id: 2 })],
  },
  {
    name: 'MERGE that does nothing',
    write: `MERGE INTO author a USING (VALUES (1)) s (id) ON a.id = s.id WHEN MATCHED THEN DO NOTHING`,
    voids: [],
  },
  {
    name: 'ON DELETE CASCADE, and ON DELETE SET NULL behind it',
    write: 'DELETE FROM author WHERE id = 1',
    voids: [
      'author',
      'book',
      'review',
      book({ author_id: 1 }),
      book({ id: 2 }),
      review({ book_id: 1 }),
      review({ id: 1 }),
    ],
    keeps: [author({ id: 2 }), book({ author_id: 2 }), review({ id: 2 }), review({ book_id: 3 })],
  },
  {
    name: 'ON UPDATE CASCADE',
    write: 'UPDATE author SET id = 9 WHERE id = 1',
    voids: ['author', 'book', author({ id: 1 }), author({ id: 9 }), book({ author_id: 1 }), book({ author_id: 9 })],
    keeps: [author({ id: 2 }), book({ id: 3 }), book({ author_id: 2 })],
  },
  {
    name: 'TRUNCATE',
    write: 'TRUNCATE review',
    voids: ['review', review({ id: 1 }), review({ book_id: 3 })],
  },
  {
    name: 'TRUNCATE CASCADE',
    write: 'TRUNCATE author CASCADE',
    voids: ['author', 'book', 'review', author({ tenant_id: 'acme' }), book({ author_id: 2 }), review({ id: 2 })],
  },
  {
    name: 'an updatable view',
    write: `INSERT INTO acme_author VALUES (4, 'acme', 'Dee'); UPDATE acme_author SET name = 'x' WHERE id = 1; DELETE FROM acme_author WHERE id = 4`,
    voids: ['author', author({ id: 1 }), author({ id: 4 }), author({ tenant_id: 'acme' })],
    keeps: [author({ id: 2 }), author({ tenant_id: 'globex' })],
  },
  {
    name: 'a view with an INSTEAD OF trigger',
    write: `UPDATE titles SET title = 'Looms II' WHERE id = 3`,
    voids: ['book', book({ id: 3 }), book({ author_id: 2 })],
    keeps: [book({ id: 1 }), book({ author_id: 1 })],
  },
  {
    name: 'writes in WITH queries',
    write: `WITH gone AS (DELETE FROM review WHERE id = 1 RETURNING id), renamed AS (UPDATE author SET name = 'C' WHERE id = 3)
            INSERT INTO shelf SELECT id + 10, 'of a review' FROM gone`,
    voids: ['review', 'author', 'shelf', 'trail', review({ id: 1 }), author({ id: 3 })],
    keeps: [review({ id: 2 }), author({ id: 1 }), ['shelf', { id: 1 }]],
  },
  {
    name: 'a function in a SELECT',
    write: `SELECT rename_author(2, 'Bo')`,
    voids: ['author', author({ id: 2 })],
    keeps: [author({ id: 1 })],
  },
  {
    name: 'a procedure that commits in between',
    write: 'CALL rename_twice(2)',
    voids: ['author', author({ id: 2 })],
    keeps: [author({ id: 1 })],
  },
  {
    name: 'a DO block that catches its own error',
    write: `DO $$ BEGIN
              BEGIN UPDATE review SET stars = 1 WHERE id = 2; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END;
              UPDATE review SET stars = 1 WHERE id = 1;
            END $$`,
    voids: ['review', review({ id: 1 })],
    keeps: [review({ id: 2 })],
  },
  {
    name: 'a trigger on another table',
    write: `INSERT INTO shelf VALUES (2, 'low')`,
    voids: ['shelf', 'trail', ['shelf', { id: 2 }], ['trail', { id: 2 }]],
    keeps: [
      ['shelf', { id: 1 }],
      ['trail', { id: 1 }],
    ],
  },
  {
    name: 'a trigger that runs at COMMIT',
    write: 'BEGIN; DELETE FROM shelf WHERE id = 1; COMMIT',
    voids: ['shelf', 'trail'],
  },
  {
    name: 'UPDATE … WHERE CURRENT OF a cursor',
    write: `BEGIN; DECLARE c CURSOR FOR SELECT * FROM author ORDER BY id FOR UPDATE; FETCH 2 FROM c;
            UPDATE author SET name = 'cursed' WHERE CURRENT OF c; COMMIT`,
    voids: ['author', author({ id: 2 })],
    keeps: [author({ id: 1 }), author({ id: 3 })],
  },
  {
    name: 'session_replication_role = replica',
    write: `SET session_replication_role = replica; UPDATE author SET name = 'replica' WHERE id = 1;
            UPDATE event SET note = 'replica' WHERE id = 1; TRUNCATE review; RESET session_replication_role`,
    voids: ['author', 'event', 'review', author({ id: 1 }), event({ region: 'eu' }), review({ id: 2 })],
    keeps: [author({ id: 2 }), event({ region: 'us' })],
  },
  {
    name: 'a partitioned table through its root',
    write: `INSERT INTO event VALUES (5, 'us', 'n'); DELETE FROM event WHERE id = 1`,
    voids: ['event', event({ region: 'us' }), event({ region: 'eu' }), event({ id: 5, region: 'us' })],
    keeps: [event({ id: 2, region: 'us' })],
  },
  {
    name: 'a partition directly',
    write: `UPDATE event_eu SET note = 'direct' WHERE id = 1`,
    voids: ['event', event({ region: 'eu' }), event({ region: 'eu', id: 1 })],
    keeps: [event({ region: 'us' })],
  },
  {
    name: 'a partition of a partition directly',
    write: `INSERT INTO event_us_odd VALUES (7, 'us', 'direct')`,
    voids: ['event', event({ region: 'us' }), event({ id: 7, region: 'us' })],
    keeps: [event({ region: 'eu' }), event({ id: 3, region: 'us' })],
  },
  {
    name: 'TRUNCATE of one partition',
    write: 'TRUNCATE event_us_even',
    voids: ['event', event({ region: 'us' }), event({ id: 2, region: 'us' })],
  },
  {
    name: 'a row that UPDATE moves to another partition',
    write: `UPDATE event SET region = 'us' WHERE id = 1`,
    voids: ['event', event({ region: 'eu' }), event({ region: 'us' }), event({ id: 1, region: 'us' })],
    keeps: [event({ id: 2, region: 'us' })],
  },
  {
    // PostgreSQL puts such a row into no transition table.
    name: 'a row that MERGE moves to another partition',
    write: `MERGE INTO event e USING (VALUES (1)) s (id) ON e.id = s.id WHEN MATCHED THEN UPDATE SET region = 'us'`,
    voids: ['event', event({ region: 'eu' }), event({ region: 'us' }), event({ id: 1, region: 'us' })],
    keeps: [event({ id: 2, region: 'us' })],
  },
  {
    name: 'rows of which MERGE moves some, below a partition and under session_replication_role = replica',
    write: `SET session_replication_role = replica;
            MERGE INTO event_us e USING (VALUES (2, 9), (3, 3)) s (id, new_id) ON e.id = s.id WHEN MATCHED THEN UPDATE SET id = s.new_id;
            RESET session_replication_role`,
    voids: [
      'event',
      event({ region: 'us' }),
      event({ id: 2, region: 'us' }),
      event({ id: 9, region: 'us' }),
      event({ id: 3, region: 'us' }),
    ],
    keeps: [event({ region: 'eu' })],
  },
  {
    name: 'an inheritance child directly',
    write: `UPDATE dog SET name = 'Max' WHERE id = 2`,
    voids: ['animal', animal(2)],
    keeps: [animal(1)],
  },
  {
    name: 'an inheritance child through its parent',
    write: `UPDATE animal SET name = 'Sam' WHERE id = 2; DELETE FROM ONLY animal WHERE id = 2`,
    voids: ['animal', animal(2)],
    keeps: [animal(1)],
  },
  {
    name: 'statements that change no row',
    write: `UPDATE author SET name = 'x' WHERE false; DELETE FROM book WHERE id = 99; INSERT INTO review SELECT 9, 9, NULL WHERE false;
            SELECT * FROM author FOR UPDATE; UPDATE shelf SET label = 'refused'; UPDATE event SET note = '' WHERE id = 99; LOCK TABLE author`,
    voids: [],
    keeps: [author({ id: 1 }), book({ author_id: 1 })],
  },
  {
    name: 'a transaction that is rolled back',
    write: `BEGIN; UPDATE author SET name = 'gone'; TRUNCATE review; INSERT INTO shelf VALUES (3, 'x'); ROLLBACK`,
    voids: [],
    keeps: [author({ id: 1 }), author({ tenant_id: 'acme' }), review({ id: 1 })],
  },
  {
    name: 'a transaction that fails',
    write: async () => {
      await expect(client.query('BEGIN; DELETE FROM book; SELECT 1 / 0; COMMIT')).rejects.toThrow('division by zero');
      await client.query('ROLLBACK');
    },
    voids: [],
    keeps: [book({ id: 1 })],
  },
  {
    name: 'a savepoint that is rolled back, between writes that stay',
    write: `BEGIN; UPDATE author SET name = 'stays' WHERE id = 1; SAVEPOINT s; UPDATE author SET name = 'gone' WHERE id = 2;
            DELETE FROM review; ROLLBACK TO s; UPDATE shelf SET label = 'stays'; COMMIT`,
    voids: ['author', 'shelf', author({ id: 1 })],
    keeps: [author({ id: 2 }), review({ id: 1 })],
  },
  {
    name: 'a write that is rolled back to a savepoint and done again',
    write: `BEGIN; SAVEPOINT s; UPDATE author SET name = 'gone' WHERE id = 2; ROLLBACK TO s;
            UPDATE author SET name = 'stays' WHERE id = 2; COMMIT`,
    voids: ['author', author({ id: 2 })],
    keeps: [author({ id: 1 })],
  },
];

describe('whoever writes, the next read knows', () => {
  it.each(writers)('$name', check);
});

describe('transactions that take their time', () => {
  const slow = [author({ id: 1 }), 'author'];

  it('keeps hits while a prepared transaction waits, and drops them at COMMIT PREPARED', async () => {
    await reads.prime(slow);
    await client.query(
      `BEGIN; UPDATE author SET name = 'two-phase' WHERE id = 1; PREPARE TRANSACTION '${database.name}'`,
    );
    expect(await reads.outcomes(slow)).toEqual(expected([], slow));
    await client.query(`COMMIT PREPARED '${database.name}'`);
    expect(await reads.outcomes(slow)).toEqual(expected(slow, []));
  });

  it('keeps hits over ROLLBACK PREPARED', async () => {
    await reads.prime(slow);
    await client.query(
      `BEGIN; UPDATE author SET name = 'two-phase' WHERE id = 1; PREPARE TRANSACTION '${database.name}'`,
    );
    await client.query(`ROLLBACK PREPARED '${database.name}'`);
    expect(await reads.outcomes(slow)).toEqual(expected([], slow));
  });

  it('drops what was computed while the writer was open, when it commits', async () => {
    await client.query(`BEGIN; UPDATE author SET name = 'slow' WHERE id = 1`);
    await reads.prime(slow);
    await client.query('COMMIT');
    expect(await reads.outcomes(slow)).toEqual(expected(slow, []));
  });
});

describe('tenants', () => {
  it('takes a tenant of 6 kB and none at all, and keeps them apart', async () => {
    const long = 'ä'.repeat(3_000);
    const tenants = [long, `${long}!`, 'acme'].map((tenant_id) => author({ tenant_id }));
    await reads.prime(tenants);
    await client.query(`INSERT INTO author VALUES (4, $1, 'Dee')`, [long]);
    expect(await reads.outcomes(tenants)).toEqual(expected(tenants.slice(0, 1), tenants.slice(1)));
    await client.query(`INSERT INTO author VALUES (5, NULL, 'Nobody''s')`);
    expect(await reads.outcomes([...tenants, 'author'])).toMatchObject(expected(['author'], tenants));
    await client.query(`UPDATE author SET tenant_id = 'acme' WHERE id = 5`);
    expect(await reads.outcomes(tenants)).toEqual(expected(tenants.slice(2), tenants.slice(0, 2)));
  });
});

describe('what no trigger sees', () => {
  it('learns of an attached partition by watching again, of a detached one by being told', async () => {
    const us = [event({ region: 'us' }), 'event'];
    await reads.prime(us);
    await client.query('ALTER TABLE event_us DETACH PARTITION event_us_even');
    // Nothing fired, so what was cached is served: the row 2 is still in it.
    await expect(reads.outcomes(us)).rejects.toThrow(/id.*: 2/);
    await client.query(`SELECT fraiseql_cache.touch_domains('{event}')`);
    expect(await reads.outcomes(us)).toEqual(expected(us, []));

    await client.query('CREATE TABLE event_us_late (region text NOT NULL, note text, id int NOT NULL)');
    await client.query(`INSERT INTO event_us_late VALUES ('us', 'attached', 4)`);
    await client.query('ALTER TABLE event_us ATTACH PARTITION event_us_late FOR VALUES IN (2, 4, 6)');
    // Until it is watched itself, no read of the domain is cached.
    await one.cache.purge();
    expect(await one.cache.domainProblem('event')).toContain(
      'event_us_late: a partition or child table without triggers',
    );
    await client.query(`SELECT fraiseql_cache.watch('event', 'event', 'region')`);
    for (const cache of caches) await cache.purge();
    expect(await one.cache.domainProblem('event')).toBeNull();
    expect(await reads.outcomes(us)).toEqual(expected(us, []));
    await check({
      name: 'an attached partition whose columns stand in another order',
      write: `MERGE INTO event e USING (VALUES (4)) s (id) ON e.id = s.id WHEN MATCHED THEN UPDATE SET region = 'eu'`,
      voids: ['event', event({ region: 'us' }), event({ region: 'eu' })],
    });
  });
});

describe('the log', () => {
  it('tells with each domain which application did what to which table', async () => {
    await client.query(`SET application_name = 'nightly import'`);
    await client.query(
      `BEGIN; DELETE FROM author WHERE id = 1; UPDATE event_eu SET note = 'n'; TRUNCATE shelf; COMMIT`,
    );
    await client.query('RESET application_name');
    const { rows } = await client.query(
      `SELECT tag, relation::regclass::text, operation FROM fraiseql_cache.log WHERE application = 'nightly import' ORDER BY tag`,
    );
    expect(rows).toEqual([
      { tag: 'author', relation: 'author', operation: 'd' },
      { tag: 'book', relation: 'book', operation: 'd' },
      { tag: 'event', relation: 'event_eu', operation: 'u' },
      { tag: 'review', relation: 'review', operation: 'u' },
      { tag: 'shelf', relation: 'shelf', operation: 't' },
    ]);
  });
});
