import assert from 'node:assert/strict';
import { type Cases } from './world.js';

export const invalidationCases: Cases = {
  'delete removes entries, and says how many were live': async (world) => {
    const kept = [await world.keep(), await world.keep()].map(({ key }) => key);
    const expired = (await world.keep({}, { ttlMs: 1 })).key;
    while ((await world.row(expired)) !== undefined);
    assert.equal(await world.store.delete([...kept, expired, world.key()]), 2);
    assert.equal((await world.ask(kept)).rows.length, 0);
    assert.equal(await world.store.delete(kept), 0);
    assert.equal(await world.store.delete([]), 0);
  },

  'delete holds for computations under way in other processes': async (world) => {
    const fence = await world.fence();
    const key = world.key();
    await world.store.delete([key]);
    assert.ok((await world.touchedSince(fence)).some(({ tag }) => tag === `!${key}`));
    // Their fill may be accepted, but what it stored is void from the start.
    await world.peer.fill([await world.value({ key, fence })]);
    await world.assertVoid(key, 'that was fenced before the deletion and stored after it');
    await world.keep({}, { key });
    await world.assertValid(key, 'that was fenced after the deletion');
  },

  'deleteMatching deletes by prefix and pattern, and nothing else': async (world) => {
    const prefix = world.key('100%_');
    const keys = ['a', 'ab', 'b'].map((end) => `${prefix}:${end}`);
    const others = [world.key('100xx:a'), `x${prefix}:a`];
    for (const key of [...keys, ...others]) await world.keep({}, { key });
    const like = `${prefix.replace(/[\\%_]/g, '\\$&')}:a%`;
    assert.equal(await world.store.deleteMatching(`${prefix}:a`, like), 2);
    const { rows } = await world.ask([...keys, ...others]);
    assert.deepEqual(rows.map(({ key }) => key).sort(), [keys[2], ...others].sort());
  },

  'deleteMatching holds for computations under way in other processes': async (world) => {
    const fence = await world.fence();
    const prefix = world.key('');
    const like = `${prefix}%`;
    await world.store.deleteMatching(prefix, like);
    const told = (await world.touchedSince(fence)).map(({ tag }) => tag);
    assert.ok(told.includes(`~${like}`));
    const key = `${prefix}late`;
    await world.peer.fill([await world.value({ key, fence })]);
    await world.assertVoid(key, 'that was fenced before its pattern was deleted and stored after it');
    await world.keep({}, { key });
    await world.assertValid(key, 'that was fenced after its pattern was deleted');
  },

  'invalidate voids what depends on domains, tags or rows, in all processes': async (world) => {
    const one = await world.keep({ rows: [['item', { id: 1 }]] });
    const two = await world.keep({ rows: [['item', { id: 2 }]] });
    const tenant = await world.keep({ rows: [['item', { tenant: 'acme' }]] });
    const domain = await world.keep({ domains: ['item'] });
    const free = await world.keep({ free: ['free'] });
    await world.store.invalidate({ domains: [], free: [], rows: [['item', { id: 1n }]] });
    await world.assertVoid(one.key, 'after its row');
    await world.assertVoid(domain.key, 'after a row of its domain');
    await world.assertVoid(tenant.key, 'after a row which may be of its tenant');
    await world.assertValid(two.key, 'after another row');
    await world.store.invalidate({ domains: ['item'], free: [], rows: [] });
    await world.assertVoid(two.key, 'after its whole domain');
    await world.assertValid(free.key, 'after another tag');
    await world.peer.invalidate({ domains: [], free: ['free'], rows: [] });
    await world.assertVoid(free.key, 'after its tag');
    await world.store.invalidate({ domains: [], free: [], rows: [] });
  },

  'invalidate within a transaction takes effect with its commit': async (world) => {
    const { key } = await world.keep({ domains: ['item'], free: ['free'] });
    const writer = await world.begin();
    await world.store.invalidate({ domains: [], free: ['free'], rows: [] }, writer);
    await world.assertValid(key, 'before the commit');
    await writer.query('COMMIT');
    await world.assertVoid(key, 'after the commit');
  },

  'invalidate within a transaction has no effect where that is rolled back': async (world) => {
    const { key } = await world.keep({ free: ['free'] });
    const writer = await world.begin();
    await world.store.invalidate({ domains: [], free: ['free'], rows: [] }, writer);
    await writer.query('ROLLBACK');
    await world.assertValid(key, 'after the rollback');
    // And where the transaction has failed already, that is the transaction's.
    const broken = await world.begin();
    await assert.rejects(broken.query('SELECT 1 / 0'));
    await assert.rejects(world.store.invalidate({ domains: ['item'], free: [], rows: [] }, broken));
  },
};
