import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freePort, startServer } from '@workspace/embedded-server';

/** Where the servers are that all contenders share. */
export interface Servers {
  postgresUrl: string;
  /** `null` where there is none: then contenders that need one are "not measured". */
  redisUrl: string | null;
}

export interface Environment extends Servers {
  stop(): Promise<void>;
}

export async function startEnvironment(): Promise<Environment> {
  // Durable commits, as in production: they are what writers that share a row wait for.
  const postgres = await startServer({
    settings: { shared_buffers: '512MB', fsync: 'on', full_page_writes: 'on', max_connections: '200' },
  });
  const redis = await findRedis();
  return {
    postgresUrl: postgres.url(),
    redisUrl: redis?.url ?? null,
    stop: async () => {
      await redis?.stop();
      await postgres.stop();
    },
  };
}

/** That of `REDIS_URL`, or a `redis-server` or `valkey-server` on the PATH, started without persistence. */
async function findRedis(): Promise<{ url: string; stop(): Promise<void> } | null> {
  const given = process.env['REDIS_URL'];
  if (given) return { url: given, stop: async () => undefined };
  for (const command of ['valkey-server', 'redis-server']) {
    const folder = await mkdtemp(join(tmpdir(), 'bench-redis-'));
    const port = await freePort();
    const server = spawn(command, ['--port', String(port), '--save', '', '--appendonly', 'no', '--dir', folder], {
      stdio: 'ignore',
    });
    const url = `redis://127.0.0.1:${port}`;
    if (await answers(server, url))
      return {
        url,
        stop: async () => {
          server.kill();
          await once(server, 'exit');
          await rm(folder, { recursive: true, force: true });
        },
      };
    await rm(folder, { recursive: true, force: true });
  }
  return null;
}

async function answers(server: ChildProcess, url: string): Promise<boolean> {
  let gone = false;
  server.once('error', () => (gone = true));
  server.once('exit', () => (gone = true));
  const client = new Redis(url, { retryStrategy: () => (gone ? null : 50), maxRetriesPerRequest: null });
  client.on('error', () => undefined);
  try {
    await client.ping();
    return true;
  } catch {
    return false;
  } finally {
    client.disconnect();
  }
}
