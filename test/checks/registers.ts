import type pg from 'pg';
import { now, type Write } from './history.js';
import { type Random, Zipf } from './random.js';

export const REGISTERS = 500;
export const TENANTS = 10;

export const WATCH = ['reg_a', 'reg_b'].map((table) => ({ table, domain: table, tenantColumn: 'tenant_id' }));

export const tenantOf = (register: number): string => `t${register % TENANTS}`;

/** Two tables that are always written together, in one transaction. */
export async function createRegisters(pool: pg.Pool): Promise<void> {
  for (const table of ['reg_a', 'reg_b'])
    await pool.query(`CREATE TABLE ${table} (id int PRIMARY KEY, tenant_id text NOT NULL, v bigint NOT NULL DEFAULT 0);
      INSERT INTO ${table} SELECT i, 't' || i % ${TENANTS} FROM generate_series(0, ${REGISTERS - 1}) i; ANALYZE ${table}`);
}

/** What the registers hold, as writes from before anything: what a history begins with. */
export async function readRegisters(pool: pg.Pool): Promise<Write[]> {
  const { rows } = await pool.query<{ id: number; v: string }>('SELECT id, v FROM reg_a WHERE v > 0 ORDER BY id');
  return rows.map(({ id, v }) => ({ register: id, value: Number(v), issued: -Infinity, acknowledged: -Infinity }));
}

/** One writer: alone with its registers, so that their values only grow. */
export class Writer {
  readonly writes: Write[] = [];
  /** Where it writes, from its next write on. */
  pool: pg.Pool;
  private readonly values = new Map<number, number>();
  private readonly zipf: Zipf;

  constructor(
    pool: pg.Pool,
    private readonly index: number,
    private readonly writers: number,
    private readonly random: Random,
  ) {
    this.pool = pool;
    this.zipf = new Zipf(REGISTERS);
  }

  /** Write until told to stop, about every `pauseMs`. */
  async run(until: () => boolean, pauseMs: number): Promise<void> {
    while (!until()) {
      await pause(this.random.next() * 2 * pauseMs);
      if (!until()) await this.write().catch(() => undefined);
    }
  }

  async write(): Promise<void> {
    const rank = this.zipf.pick(this.random);
    const register = Math.min(REGISTERS - 1, rank - (rank % this.writers) + this.index);
    if (register % this.writers !== this.index) return;
    const write = this.next(register);
    const { value } = write;
    const client = await this.pool.connect();
    let lost: Error | undefined;
    try {
      write.acknowledged = await this.transaction(client, register, value);
    } catch (error) {
      lost = error as Error;
      throw error;
    } finally {
      client.release(lost);
    }
  }

  /**
   * Write the hottest `count` registers in one transaction and prepare it.
   * @returns how to commit it, on any connection.
   */
  async prepare(name: string, count: number): Promise<(pool: pg.Pool) => Promise<void>> {
    const registers = Array.from({ length: count }, (_, index) => this.index + index * this.writers);
    const writes = registers.map((register) => this.next(register));
    const client = await this.pool.connect();
    try {
      await client.query('BEGIN');
      for (const { register, value } of writes)
        for (const table of ['reg_a', 'reg_b'])
          await client.query(`UPDATE ${table} SET v = $2 WHERE id = $1`, [register, value]);
      await client.query(`PREPARE TRANSACTION '${name}'`);
    } finally {
      client.release();
    }
    return async (pool) => {
      await pool.query(`COMMIT PREPARED '${name}'`);
      for (const write of writes) write.acknowledged = now();
    };
  }

  private next(register: number): Write {
    const value = (this.values.get(register) ?? 0) + 1;
    this.values.set(register, value);
    const write: Write = { register, value, issued: now() };
    this.writes.push(write);
    return write;
  }

  private async transaction(client: pg.PoolClient, register: number, value: number): Promise<number | null> {
    const { random } = this;
    const [first, second] = random.chance(0.5) ? ['reg_a', 'reg_b'] : ['reg_b', 'reg_a'];
    await client.query('BEGIN');
    // A savepoint that is rolled back leaves neither the value nor a log row behind.
    if (random.chance(0.1)) {
      await client.query('SAVEPOINT s');
      await client.query(`UPDATE ${first} SET v = $2 WHERE id = $1`, [register, value + 1_000_000]);
      await client.query('ROLLBACK TO SAVEPOINT s');
    }
    await client.query(`UPDATE ${first} SET v = $2 WHERE id = $1`, [register, value]);
    if (random.chance(0.2)) await pause(random.next() * 40);
    await client.query(`UPDATE ${second} SET v = $2 WHERE id = $1`, [register, value]);
    if (random.chance(0.1)) {
      await client.query('ROLLBACK');
      return null;
    }
    if (random.chance(0.05)) {
      const name = `'w${this.index}_${register}_${value}'`;
      await client.query(`PREPARE TRANSACTION ${name}`);
      await pause(random.next() * 40);
      await client.query(`COMMIT PREPARED ${name}`);
    } else await client.query('COMMIT');
    return now();
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
