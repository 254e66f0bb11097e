import pg from 'pg';
import { PostgresCache, ResultCache } from 'nestjs-result-cache';
import { GATE, WATCH } from './lease-world.js';

/** Many callers of one key in a process of its own, on the database named by the first argument. */
export type CallerCommand = { call: string; callers: number };

export type CallerMessage =
  | { is: 'ready' }
  /** The process asked for the lease and was told whether it has it. */
  | { is: 'claimed'; isGranted: boolean }
  | { is: 'done'; values: unknown[] };

const url = process.argv[2]!;
const pool = new pg.Pool({ connectionString: url, max: 4 });
const store = new PostgresCache({ connection: url, watch: WATCH });
const cache = new ResultCache({ store, timeout: Infinity, lease: { ttl: '10m' } });

const tell = (message: CallerMessage): void => void process.send!(message);

const claim = store.leases.claim.bind(store.leases);
store.leases.claim = async (claims) => {
  const answers = await claim(claims);
  for (const { isGranted } of answers.values()) tell({ is: 'claimed', isGranted });
  return answers;
};

/** Is counted, and waits at the gate, which is the database's: whoever is killed at it leaves nothing behind. */
async function compute(key: string): Promise<number> {
  await pool.query('INSERT INTO computations (key, pid) VALUES ($1, $2)', [key, process.pid]);
  const { rows } = await pool.query<{ v: number }>(
    `WITH gate AS MATERIALIZED (SELECT pg_advisory_lock_shared(${GATE}), pg_advisory_unlock_shared(${GATE})) SELECT v FROM source, gate`,
  );
  return rows[0]!.v;
}

process.on('message', ({ call, callers }: CallerCommand) => {
  const options = { domains: ['source'], ttl: 60 };
  const calls = Array.from({ length: callers }, () => cache.getOrSet(call, () => compute(call), options));
  void Promise.all(calls).then(async (values) => {
    await cache.drain();
    tell({ is: 'done', values });
  });
});
process.once('disconnect', () => process.exit(0));

await store.initialize();
tell({ is: 'ready' });
