import { describe, it } from '@jest/globals';
import { startServer } from '@workspace/embedded-server';
import { scenarios, Stage } from './checks/scenarios.js';
import { createDatabase } from './support/database.js';

describe('orders of events that break one rule each where it is not kept', () => {
  it.each(scenarios.filter(({ crashes }) => !crashes))('$name', async ({ run }) => {
    const database = await createDatabase();
    const stage = await Stage.set(database.url);
    try {
      await run(stage);
    } finally {
      await stage.close();
      await database.drop();
    }
  });

  it.each(scenarios.filter(({ crashes }) => crashes))('$name', async ({ run }) => {
    const server = await startServer({ settings: { max_prepared_transactions: 10 } });
    const stage = await Stage.set(server.url(), server);
    try {
      await run(stage);
    } finally {
      await stage.close();
      await server.stop();
    }
  });
});
