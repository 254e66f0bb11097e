import { type EmbeddedServer } from '@workspace/embedded-server';
import { execFile } from 'node:child_process';
import { chmod, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';

const run = promisify(execFile);

const copyOf = (server: EmbeddedServer): string => join(dirname(server.dataDirectory), 'copy');

/**
 * A base backup of the running server, with the write-ahead log it needs: what a point-in-time restore begins with. When
 * it is restored, UNLOGGED tables are empty.
 */
export async function copyRunning(server: EmbeddedServer): Promise<void> {
  const copy = copyOf(server);
  const client = new pg.Client({ connectionString: server.url() });
  await client.connect();
  try {
    await client.query(`SELECT pg_backup_start('check', fast => true)`);
    // Files that vanish or grow meanwhile are what the log repairs.
    await run('cp', ['-a', server.dataDirectory, copy]).catch(() => undefined);
    const { rows } = await client.query<{ labelfile: string }>(
      'SELECT labelfile FROM pg_backup_stop(wait_for_archive => false)',
    );
    await run('cp', ['-a', join(server.dataDirectory, 'pg_wal'), copy]);
    // In the place of a file, which has the right owner.
    const label = join(copy, 'backup_label');
    await run('cp', ['-a', join(copy, 'PG_VERSION'), label]);
    await writeFile(label, rows[0]!.labelfile);
    await rm(join(copy, 'postmaster.pid'), { force: true });
  } finally {
    await client.end();
  }
}

/** A copy of the files of a server that was shut down in order: UNLOGGED tables are in it as they are. The server runs again. */
export async function copyHalted(server: EmbeddedServer): Promise<void> {
  await server.halt();
  await run('cp', ['-a', server.dataDirectory, copyOf(server)]);
  await server.restart();
}

/** Put the copy in the place of the server's data, and start. */
export async function restoreCopy(server: EmbeddedServer): Promise<void> {
  await server.halt();
  await rm(server.dataDirectory, { recursive: true, force: true });
  await rename(copyOf(server), server.dataDirectory);
  await server.restart();
}

/** Everything that a dump of these tables holds, of UNLOGGED ones too, as files of COPY. */
export class Dump {
  private constructor(
    private readonly folder: string,
    private readonly tables: readonly string[],
  ) {}

  static async of(pool: pg.Pool, server: EmbeddedServer, tables: readonly string[]): Promise<Dump> {
    const folder = dirname(server.dataDirectory);
    await chmod(folder, 0o777);
    // In one transaction's snapshot, as pg_dump does.
    const client = await pool.connect();
    try {
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
      for (const table of tables) await client.query(`COPY ${table} TO '${join(folder, table)}'`);
      await client.query('COMMIT');
    } finally {
      client.release();
    }
    return new Dump(folder, tables);
  }

  /**
   * Load it into tables that exist, in the place of what they hold, in one transaction. Name the log after what is
   * watched: a real restore makes triggers last, so what they log here must be replaced by what the dump has.
   */
  async restore(client: pg.PoolClient): Promise<void> {
    await client.query('BEGIN');
    for (const table of this.tables)
      await client.query(`DELETE FROM ${table}; COPY ${table} FROM '${join(this.folder, table)}'`);
    await client.query('COMMIT');
  }
}
