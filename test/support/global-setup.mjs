import { startServer } from '@workspace/embedded-server';

/**
 * A real PostgreSQL server for each jest worker. Specs run side by side in two workers, and a transaction that one leaves open makes
 * every entry of the same server count as touched: on a server of its own a spec sees only what it did itself.
 */
export default async function globalSetup({ maxWorkers }) {
  globalThis.embeddedServers = [];
  for (let worker = 0; worker < maxWorkers; worker++)
    globalThis.embeddedServers.push(
      await startServer({ settings: { shared_buffers: '64MB', max_prepared_transactions: 20 } }),
    );
  process.env.TEST_DATABASE_URLS = JSON.stringify(globalThis.embeddedServers.map((server) => server.url()));
}
