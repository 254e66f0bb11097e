import { startServer, type EmbeddedServer } from '@workspace/embedded-server';
import pg from 'pg';
import { copyHalted, copyRunning, Dump, restoreCopy } from './backup.js';
import { now } from './history.js';
import { createLoadedDatabase, type Load } from './load.js';
import { type Proxy } from './proxy.js';
import { pause } from './registers.js';

/** What a fault has at hand. Everything runs under load, and every process is warm. */
export interface Site {
  server: EmbeddedServer;
  /** Between the readers' caches (and where the fault says so their computations too) and the server. */
  proxy: Proxy;
  load: Load;
  /** Milliseconds that a bounded read may be behind. */
  delta: number;
  /** To be called at the end of the run, whatever happens. */
  finally(clean: () => Promise<void>): void;
}

export interface Fault {
  name: string;
  /** What computations go through: by default straight to the server, so that whatever fails is the cache's. */
  computationsThroughProxy?: boolean;
  /** No read may take longer: computations can always be made. Milliseconds. */
  mostPerRead?: number;
  poolSize?: number;
  /** Before the load. */
  prepare?(server: EmbeddedServer): Promise<void>;
  /** Make it happen, and resolve when the server is back. */
  happen(site: Site): Promise<void>;
}

/** The database under load, beside which there are others. */
export const DATABASE = 'app';

const CACHE_TABLES = [
  'horizon_sample',
  'cascade_rules',
  'caches',
  'watched',
  'log',
  'fraiseql_cache',
  'incarnation',
].map((table) => `fraiseql_cache.${table}`);

async function on<T>(url: string, work: (pool: pg.Pool) => Promise<T>): Promise<T> {
  const pool = new pg.Pool({ connectionString: url, max: 2 });
  pool.on('error', () => undefined);
  try {
    return await work(pool);
  } finally {
    await pool.end();
  }
}

/** Transactions that a crash caught between their two phases: what became of them is for their manager to say. */
async function decideInDoubt(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ gid: string }>(
    `SELECT gid FROM pg_prepared_xacts WHERE gid LIKE 'w%' AND database = current_database()`,
  );
  for (const [index, { gid }] of rows.entries())
    await pool.query(`${index % 2 ? 'ROLLBACK' : 'COMMIT'} PREPARED '${gid}'`);
}

/** Use up transaction ids until the next one is `xid`. */
async function burn(pool: pg.Pool, xid: number): Promise<void> {
  await pool.query(
    `DO $$ BEGIN WHILE pg_snapshot_xmax(pg_current_snapshot())::text::bigint < ${xid} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$`,
  );
}

async function nextXid(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<{ xid: string }>('SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS xid');
  return Number(rows[0]!.xid);
}

/** Writers go on while readers cannot look. */
async function writeUnseen({ load }: Site): Promise<void> {
  load.write();
  await pause(300);
}

async function crash(server: EmbeddedServer): Promise<void> {
  await server.crash();
  await server.restart();
}

/**
 * Take the database back: hold the writers, `restore` while nobody can reach it, let them write until transaction ids
 * are beyond where they were, and only then let readers back in. So nothing but its identity tells it from what it was.
 */
async function rewind(site: Site, restore: () => Promise<{ url: string; port: number }>): Promise<void> {
  const { load, proxy, server } = site;
  const before = await on(server.url(), nextXid);
  await proxy.close();
  await load.hold();
  const stoppedAt = now();
  const { url, port } = await restore();
  await on(url, async (pool) => {
    await decideInDoubt(pool);
    await load.rewound(stoppedAt, url);
    await writeUnseen(site);
    await burn(pool, before + 1_000);
  });
  load.reachable();
  await proxy.open(port);
}

/** A second server with the data of a dump, UNLOGGED contents included. `twin`: by the transaction id it was made with. */
async function restoreDump(site: Site, twin: boolean): Promise<{ url: string; port: number }> {
  const second = await startServer({ settings: { max_prepared_transactions: 50 } });
  site.finally(() => second.stop());
  await on(second.url(), (pool) => pool.query(`CREATE DATABASE ${DATABASE}`));
  const url = second.url(DATABASE);
  await on(url, async (to) => {
    await createLoadedDatabase(to, url);
    await on(site.server.url(DATABASE), async (from) => {
      const dump = await Dump.of(from, site.server, ['reg_a', 'reg_b', ...CACHE_TABLES]);
      const { rows } = await from.query<{ born: string }>('SELECT born::text FROM fraiseql_cache.incarnation');
      if (twin) await burn(to, Number(rows[0]!.born));
      const client = await to.connect();
      try {
        await dump.restore(client);
      } finally {
        client.release();
      }
      const { rows: made } = await to.query<{ twin: boolean }>(
        'SELECT xmin = born AS twin FROM fraiseql_cache.incarnation',
      );
      if (made[0]?.twin !== twin)
        throw new Error(`the restored incarnation is ${twin ? 'no' : 'a'} twin of the dumped one`);
    });
  });
  return { url, port: second.port };
}

async function dropped({ server }: Site, statement: string): Promise<void> {
  await on(server.url(DATABASE), async (pool) => {
    // Against writers that hold what it wants, it may need to ask more than once.
    for (;;) {
      try {
        return void (await pool.query(statement));
      } catch (error) {
        if ((error as { code?: string }).code !== '40P01') throw error;
      }
    }
  });
}

export const faults: readonly Fault[] = [
  {
    name: 'kill -9',
    async happen({ server }) {
      await crash(server);
      await on(server.url(DATABASE), decideInDoubt);
    },
  },
  {
    name: 'kill -9, prepared transaction commits later',
    async happen({ server, load }) {
      const commit = await load.reserve.prepare('survivor', 12);
      await crash(server);
      await on(server.url(DATABASE), async (pool) => {
        await decideInDoubt(pool);
        await pause(700);
        await commit(pool);
      });
    },
  },
  {
    name: 'point-in-time restore',
    computationsThroughProxy: true,
    async happen(site) {
      await copyRunning(site.server);
      await pause(700);
      await rewind(site, async () => {
        await restoreCopy(site.server);
        return { url: site.server.url(DATABASE), port: site.server.port };
      });
    },
  },
  {
    name: 'files of a halted server restored',
    computationsThroughProxy: true,
    async happen(site) {
      await copyHalted(site.server);
      await site.load.untilHitting(5_000);
      await pause(500);
      await rewind(site, async () => {
        await restoreCopy(site.server);
        return { url: site.server.url(DATABASE), port: site.server.port };
      });
    },
  },
  {
    name: 'dump restored into a fresh cluster',
    computationsThroughProxy: true,
    happen: (site) => rewind(site, () => restoreDump(site, false)),
  },
  {
    name: 'the same, by the same transaction id',
    computationsThroughProxy: true,
    // So that the second cluster is behind, and can be brought to the same id.
    prepare: (server) => on(server.url(), (pool) => burn(pool, 3_000)),
    happen: (site) => rewind(site, () => restoreDump(site, true)),
  },
  {
    name: 'database replaced by an earlier copy of it',
    computationsThroughProxy: true,
    async happen(site) {
      const { server, load, proxy } = site;
      const alone = async (statement: string): Promise<void> => {
        await on(server.url(), async (pool) => {
          await pool.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${DATABASE}'`);
          await pool.query(statement);
        });
      };
      await proxy.close();
      await load.hold();
      await on(server.url(DATABASE), decideInDoubt);
      await alone(`CREATE DATABASE copy TEMPLATE ${DATABASE}`);
      load.write();
      await proxy.open();
      await load.untilHitting(5_000);
      await pause(700);
      await rewind(site, async () => {
        await alone(`ALTER DATABASE ${DATABASE} RENAME TO former`);
        await alone(`ALTER DATABASE copy RENAME TO ${DATABASE}`);
        return { url: server.url(DATABASE), port: server.port };
      });
    },
  },
  {
    name: 'connections cut',
    mostPerRead: 1_000,
    async happen({ proxy, delta }) {
      for (let round = 0; round < 3; round++) {
        proxy.cut();
        await pause(delta * 2);
      }
      await proxy.close();
      await pause(300);
      await proxy.open();
    },
  },
  {
    name: 'connections hang, then go on',
    mostPerRead: 1_000,
    async happen({ proxy }) {
      proxy.hang();
      await pause(1_200);
      proxy.resume();
    },
  },
  {
    name: 'connections hang for ever, new ones work',
    mostPerRead: 1_000,
    async happen({ proxy }) {
      proxy.swallow();
    },
  },
  {
    name: 'event loop stalled',
    async happen({ load, delta }) {
      for (let round = 0; round < 3; round++) {
        await load.ask({ do: 'stall', ms: 3 * delta }, 'stalled');
        await pause(delta);
      }
    },
  },
  {
    name: 'cache table dropped',
    mostPerRead: 2_000,
    happen: (site) => dropped(site, 'DROP TABLE fraiseql_cache.fraiseql_cache'),
  },
  {
    name: 'schema dropped',
    mostPerRead: 2_000,
    happen: (site) => dropped(site, 'DROP SCHEMA fraiseql_cache CASCADE'),
  },
  {
    name: 'pool of one connection, occupied',
    mostPerRead: 1_000,
    poolSize: 1,
    async happen({ load }) {
      load.send({ do: 'occupy', ms: 1_200 });
      await pause(1_200);
    },
  },
];
