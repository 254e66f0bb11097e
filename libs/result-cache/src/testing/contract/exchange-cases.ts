import assert from 'node:assert/strict';
import { type Cases } from './world.js';

export const exchangeCases: Cases = {
  'exchange answers with a fence, a horizon and the database’s clock': async (world) => {
    const { fence, horizon, now, rows } = await world.ask([world.key()]);
    assert.ok(fence.lo <= fence.hi && fence.open.every((xid) => xid >= fence.lo && xid < fence.hi));
    assert.ok(Number.isSafeInteger(horizon) && horizon <= fence.hi);
    const [{ clock }] = await world.sql('SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS clock');
    assert.ok(Math.abs(now - (clock as number)) < 60_000, 'the clock is the database’s');
    assert.deepEqual(rows, []);
  },

  'exchange returns the rows asked for as they were stored, and no others': async (world) => {
    const texts = ['{"b":1,"a":1.0}', '[1e400,"\\u0000","\\ud800","😀"]', 'null'];
    const kept = await Promise.all(
      texts.map(async (json, n) => ({
        json,
        types: n === 0 ? '{"t":1}' : null,
        ...(await world.keep({}, { json, types: n === 0 ? '{"t":1}' : null })),
      })),
    );
    const { rows } = await world.ask([world.key(), kept[2]!.key, kept[0]!.key, kept[1]!.key]);
    assert.equal(rows.length, 3);
    for (const { key, proof, json, types } of kept) {
      const row = rows.find((one) => one.key === key);
      assert.ok(row);
      assert.deepEqual({ json: row.json, types: row.types, proof: row.proof }, { json, types, proof });
    }
    assert.equal((await world.ask([kept[0]!.key])).rows.length, 1);
  },

  'exchange does not return what has expired, by the database’s clock': async (world) => {
    const { key } = await world.keep({}, { ttlMs: 1 });
    while ((await world.row(key)) !== undefined);
  },

  'exchange tells what was touched since a fence, once it is committed': async (world) => {
    const { proof } = await world.keep({ domains: ['item'] });
    const before = await world.fence();
    assert.deepEqual(await world.touchedSince(before), []);
    const writer = await world.begin();
    await writer.query('UPDATE contract_item SET label = label WHERE id = 1');
    assert.deepEqual(await world.touchedSince(before), []);
    await writer.query('COMMIT');
    const told = await world.touchedSince(before);
    assert.ok(told.some(({ tag, xid }) => proof.tags.includes(tag) && xid === writer.xid));
    assert.ok(told.every(({ xid }) => xid === writer.xid));
    await world.quiesce();
    assert.deepEqual(await world.touchedSince(await world.fence()), []);
  },

  'exchange tells of a transaction that the fence saw running': async (world) => {
    const slow = await world.begin();
    await world.sql('SELECT pg_current_xact_id()');
    const since = await world.fence();
    assert.ok(since.open.includes(slow.xid) && since.hi > slow.xid);
    await slow.query('UPDATE contract_item SET label = label WHERE id = 1');
    await slow.query('COMMIT');
    assert.ok((await world.touchedSince(since)).some(({ xid }) => xid === slow.xid));
  },

  'exchange tells nothing of a transaction that was rolled back': async (world) => {
    const since = await world.fence();
    const writer = await world.begin();
    await writer.query('DELETE FROM contract_item');
    await writer.query('ROLLBACK');
    assert.deepEqual(await world.touchedSince(since), []);
  },

  'exchange lists up to 1,000 touches, and says "everything" beyond': async (world) => {
    const tags = (count: number) => Array.from({ length: count }, (_, n) => `${world.key('tag')} ${n}`);
    const few = await world.fence();
    await world.store.invalidate({ domains: [], free: tags(990), rows: [] });
    assert.equal((await world.touchedSince(few)).length, 990);
    const many = await world.fence();
    await world.store.invalidate({ domains: [], free: tags(1_100), rows: [] });
    assert.equal((await world.ask([], { since: many })).touched, 'everything');
  },

  'exchange sees touches and rows in one snapshot': async (world) => {
    for (let round = 0; round < 50; round++) {
      const { key } = await world.keep();
      const since = await world.fence();
      const [{ touched, rows }] = await Promise.all([world.ask([key], { since }), world.peer.delete([key])]);
      assert.equal(rows.length === 0, touched.length > 0, 'the row is gone exactly if its deletion is told');
    }
  },

  'exchange with "prove" returns only rows that nothing has touched': async (world) => {
    const [touched, untouched] = [await world.keep({ free: ['a'] }), await world.keep({ free: ['b'] })];
    const both = [touched.key, untouched.key];
    assert.equal((await world.ask(both, { prove: true })).rows.length, 2);
    await world.store.invalidate({ domains: [], free: ['a'], rows: [] });
    assert.deepEqual(
      (await world.ask(both, { prove: true })).rows.map(({ key }) => key),
      [untouched.key],
    );
    // Without it, judging them is the caller's business.
    assert.equal((await world.ask(both)).rows.length, 2);
  },

  'exchange with "prove" knows what a fence saw running': async (world) => {
    const [slow, idle] = [await world.begin(), await world.begin()];
    await world.sql('SELECT pg_current_xact_id()');
    const { key, proof } = await world.keep({ domains: ['item'] });
    assert.ok([slow, idle].every(({ xid }) => proof.fence.open.includes(xid)));
    await idle.query('COMMIT');
    await world.assertValid(key, 'after a transaction that touched nothing');
    await slow.query('UPDATE contract_item SET label = label WHERE id = 1');
    await world.assertValid(key, 'before the commit');
    await slow.query('COMMIT');
    await world.assertVoid(key, 'after the commit of a transaction that was running when it was fenced');
  },

  'refence renews the fence of the very row that was proved': async (world) => {
    const { key, proof } = await world.keep({ domains: ['item'] });
    await world.sql('SELECT pg_current_xact_id()');
    const { rows, fence } = await world.ask([key], { prove: true });
    await world.store.refence(rows, fence);
    const renewed = (await world.row(key))!;
    assert.deepEqual(renewed.proof, { ...proof, fence });
    assert.equal(renewed.json, rows[0]!.json);
    await world.assertValid(key, 'after its fence was renewed');

    // The row that replaces it is another one, which has its own fence.
    await world.keep({}, { key, json: '"newer"', fence });
    const newer = (await world.row(key))!;
    assert.notEqual(newer.proofText, renewed.proofText);
    await world.store.refence([renewed], await world.fence());
    assert.deepEqual(await world.row(key), newer);
    await world.store.refence([], fence);
  },
};
