import { startServer } from '@workspace/embedded-server';

/** One real PostgreSQL server for the whole run; each spec file makes itself a database on it (see `database.ts`). */
export default async function globalSetup() {
  globalThis.embeddedServer = await startServer({
    settings: { shared_buffers: '64MB', max_prepared_transactions: 20 },
  });
  process.env.TEST_DATABASE_URL = globalThis.embeddedServer.url();
}
