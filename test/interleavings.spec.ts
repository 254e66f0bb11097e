import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startServer, type EmbeddedServer } from '@workspace/embedded-server';
import { FILLER, merges, OBSERVER, Stage, WRITERS, type Step } from './checks/interleavings.js';

/** In `npm test` one order in four, spread over all; `npm run check:orders` plays every one. */
const STEP = process.env.EVERY_ORDER === '1' ? 1 : 4;

// A server of its own: what other specs have open would get into the fences, and each order is to be what it says.
let server: EmbeddedServer;
let stage: Stage;

beforeAll(async () => {
  server = await startServer({ settings: { max_prepared_transactions: 10, synchronous_commit: 'off' } });
  stage = await Stage.set(server.url());
});

afterAll(async () => {
  await stage?.close();
  await server?.stop();
});

/** How many orders there are, counted another way. */
function multinomial(...lengths: number[]): number {
  const factorial = (n: number): number => (n < 2 ? 1 : n * factorial(n - 1));
  return factorial(lengths.reduce((sum, n) => sum + n)) / lengths.map(factorial).reduce((product, n) => product * n);
}

describe('the orders of one computation, one writer and one observer, at every pair of isolation levels', () => {
  it.each(Object.entries(WRITERS))(
    'where the writer goes on to %s',
    async (name, writer) => {
      // An overtaken writer is there for the fences it leaves behind: the reads at the end of each order suffice.
      const observer = name.includes('overtaken') ? ['compact' as const] : OBSERVER;
      const orders = [...merges<Step>(FILLER, writer, observer)];
      expect(new Set(orders.map((order) => order.join())).size).toBe(
        multinomial(FILLER.length, writer.length, observer.length),
      );
      const before = { ...stage.tally };
      for (const [index, order] of orders.entries()) if (index % STEP === 0) await stage.play(order);

      const { hits, voids, torn } = stage.tally;
      expect(hits).toBeGreaterThan(before.hits);
      expect(voids).toBeGreaterThan(before.voids);
      // There was something to tear, and it was never served.
      if (name.includes('savepoint') || name === 'roll back') expect(torn).toBe(before.torn);
      else expect(torn).toBeGreaterThan(before.torn);
    },
    120_000,
  );
});
