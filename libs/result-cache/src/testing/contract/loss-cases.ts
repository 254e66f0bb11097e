import assert from 'node:assert/strict';
import { type Cases } from './world.js';

/** These come last: after them the world that was listening is another one. */
export const lossCases: Cases = {
  'exchange is null once the incarnation is lost, until somebody recovers the store': async (world) => {
    const { key, proof } = await world.keep({ domains: ['item'] });
    await world.host.crash();
    assert.equal(await world.store.exchange({ since: proof.fence, keys: [key] }), null);
    assert.equal(await world.peer.exchange({ since: null, keys: [key], prove: true }), null);
    await Promise.all([world.store.recover(), world.peer.recover()]);
    const [one, other] = [await world.ask([key]), await world.ask([key], { store: world.peer })];
    assert.notEqual(one.fence.incarnation, proof.fence.incarnation);
    assert.equal(one.fence.incarnation, other.fence.incarnation, 'both found the same new incarnation');
    assert.equal(one.rows.filter((row) => row.proof.fence.incarnation === one.fence.incarnation).length, 0);
  },

  'recover of a store that lost nothing changes nothing': async (world) => {
    const { incarnation } = await world.fence();
    await world.peer.recover();
    assert.equal((await world.fence()).incarnation, incarnation);
  },

  'what was fenced before the loss is refused after it': async (world) => {
    const fence = await world.fence();
    const fill = await world.value({ fence });
    await world.host.crash();
    // Nobody has noticed yet.
    assert.equal((await world.store.fill([fill])).size, 0);
    await world.store.recover();
    assert.equal((await world.peer.fill([fill])).size, 0);
    await world.settle();
    assert.equal((await world.store.fill([await world.value()])).size, 1);
  },

  'a transaction from before the loss cannot make an entry stale': async (world) => {
    const writer = await world.begin();
    await writer.query('UPDATE contract_item SET label = label WHERE id = 1');
    await world.host.crash();
    await world.store.recover();
    const { fence, horizon } = await world.ask([]);
    assert.ok(fence.lo < horizon, 'the horizon is beyond every transaction that was running');
    assert.equal((await world.store.fill([await world.value({ fence })])).size, 0);
    await writer.query('ROLLBACK');
    await world.settle();
    assert.equal((await world.store.fill([await world.value()])).size, 1);
  },
};
