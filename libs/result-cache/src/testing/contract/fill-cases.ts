import assert from 'node:assert/strict';
import { RefusedValueError } from '../../core/errors.js';
import { type Cases } from './world.js';

const NOBODYS = '00000000-0000-4000-8000-000000000000';

export const fillCases: Cases = {
  'fill stores a batch in whatever order, and returns the proofs by key': async (world) => {
    const fills = await Promise.all(
      ['c', 'a', 'b'].map((hint) => world.value({ key: world.key(hint), computeMs: 1.5 })),
    );
    const proofs = await world.store.fill(fills);
    assert.deepEqual([...proofs.keys()].sort(), fills.map(({ key }) => key).sort());
    for (const { key, fence } of fills) {
      const { row } = { row: await world.row(key) };
      assert.deepEqual(row?.proof, proofs.get(key));
      assert.deepEqual(row?.proof.fence, fence);
      assert.equal(row?.proof.computeMs, 1.5);
    }
    assert.equal((await world.store.fill([])).size, 0);
  },

  'fill gives an entry the life asked for': async (world) => {
    for (const ttlMs of [3_600_000, 86_400_000]) {
      const { proof } = await world.keep({}, { ttlMs });
      assert.ok(Math.abs(proof.expiresAt - proof.cachedAt - ttlMs) <= 1);
    }
  },

  'fill of batches that share keys, at once and in opposite order, does not deadlock': async (world) => {
    const fence = await world.fence();
    const fills = await Promise.all(Array.from({ length: 300 }, () => world.value({ fence })));
    const keys = fills.map(({ key }) => key);
    for (let round = 0; round < 5; round++)
      await Promise.all([
        world.store.fill(fills),
        world.peer.fill([...fills].reverse()),
        world.store.delete(keys),
        world.peer.delete([...keys].reverse()),
        world.store.fill([...fills].reverse()),
        world.peer.deleteMatching('contract:', 'contract:%:key'),
      ]);
  },

  'fill keeps the newer fence of two values of one key, whichever comes later': async (world) => {
    const older = await world.fence();
    await world.sql('SELECT pg_current_xact_id()');
    const newer = await world.fence();
    assert.ok(newer.hi > older.hi);
    const key = world.key();
    const old = await world.value({ key, json: '"old"', fence: older });
    const young = await world.value({ key, json: '"new"', fence: newer });
    const same = await world.value({ key, json: '"same"', fence: newer });

    assert.equal((await world.store.fill([old])).size, 1);
    assert.equal((await world.store.fill([young])).size, 1);
    assert.equal((await world.peer.fill([old])).size, 0);
    assert.equal((await world.row(key))?.json, '"new"');
    assert.equal((await world.peer.fill([same])).size, 1);
    assert.equal((await world.row(key))?.json, '"same"');

    for (const batch of [
      [old, young],
      [young, old],
    ]) {
      const twice = world.key();
      const proofs = await world.store.fill(batch.map((fill) => ({ ...fill, key: twice })));
      assert.deepEqual(
        [...proofs.values()].map(({ fence }) => fence.hi),
        [newer.hi],
      );
      assert.equal((await world.row(twice))?.json, '"new"');
    }
  },

  'fill with staleMs keeps a row beyond its expiry, and hands it out expired': async (world) => {
    const { key, proof } = await world.keep({ domains: ['item'] }, { ttlMs: 1, staleMs: 3_600_000 });
    assert.equal(proof.expiresAt - proof.cachedAt, 1);
    while ((await world.ask([])).now <= proof.expiresAt);
    assert.deepEqual((await world.row(key))?.proof, proof);
    await world.assertValid(key, 'that is only expired');
    assert.equal((await world.store.purge()).entries, 0);
    assert.deepEqual((await world.row(key))?.proof, proof);
  },

  'exchange with prove marks a touched row that was stored with staleMs, and leaves out a deleted one': async (
    world,
  ) => {
    const given = { staleMs: 3_600_000 };
    const proved = async (key: string): Promise<boolean | 'absent'> => {
      const { rows } = await world.ask([key], { prove: true, store: world.peer });
      return rows.length === 0 ? 'absent' : rows[0]!.isInvalidated === true;
    };
    const untouched = await world.keep({ domains: ['item'] }, given);
    const inner = world.key('inner');
    const outer = await world.keep({ domains: ['other'] }, { ...given, tags: [`!${inner}`] });
    const plain = await world.keep({ domains: ['item'] });
    assert.deepEqual(await Promise.all([untouched, outer, plain].map(({ key }) => proved(key))), [false, false, false]);

    await world.sql('UPDATE contract_item SET label = label');
    await world.assertVoid(untouched.key, 'after a write');
    assert.equal(await proved(untouched.key), true);
    assert.equal(await proved(plain.key), 'absent');

    // Of another process, whose transaction has to commit: the rows stay.
    await world.peer.deleteWithin([untouched.key, inner], { query: (text, values) => world.sql(text, values) });
    assert.equal(await proved(untouched.key), 'absent');
    assert.equal(await proved(outer.key), 'absent');
  },

  'fill replaces an expired value whatever its fence': async (world) => {
    const older = await world.fence();
    await world.sql('SELECT pg_current_xact_id()');
    const { key } = await world.keep({}, { ttlMs: 1 });
    while ((await world.row(key)) !== undefined);
    await world.keep({}, { key, fence: older });
  },

  'fill refuses a fence of another incarnation, and one from below the horizon': async (world) => {
    const fence = await world.fence();
    const good = await world.value({ fence });
    const foreign = await world.value({ fence: { ...fence, incarnation: NOBODYS } });
    const ancient = await world.value({ fence: { ...fence, lo: 0 } });
    const proofs = await world.store.fill([foreign, good, ancient]);
    assert.deepEqual([...proofs.keys()], [good.key]);
    assert.equal((await world.ask([foreign.key, ancient.key])).rows.length, 0);
  },

  'fill of a value that cannot be held throws RefusedValueError and stores nothing, or holds it': async (world) => {
    const bad = await world.value({ tenantId: 'a\0b' });
    const good = await world.value();
    const outcome = await world.store.fill([good, bad]).catch((error: unknown) => error);
    if (outcome instanceof Map) assert.equal((await world.ask([good.key, bad.key])).rows.length, 2);
    else {
      assert.ok(outcome instanceof RefusedValueError);
      assert.equal((await world.ask([good.key, bad.key])).rows.length, 0);
    }
  },

  'fill stores a fence with very many open transactions as one that is sound': async (world) => {
    const fence = await world.fence();
    const open = Array.from({ length: 1_000 }, (_, n) => fence.hi + 2 * n);
    const { proof } = await world.keep({}, { fence: { ...fence, hi: fence.hi + 2_000, open } });
    assert.ok(proof.fence.hi <= fence.hi || open.every((xid) => proof.fence.open.includes(xid)));
  },

  'fill accepts whatever text a key, tag, tenant or view may be': async (world) => {
    for (const text of ['%', '_', `'; drop table x`, '"', '\\', '{a,b}', 'ünï 😀', 'x'.repeat(1_000)]) {
      const { key, proof } = await world.keep({ free: [text] }, { key: world.key(text), tenantId: text, view: text });
      assert.deepEqual((await world.row(key))?.proof, proof);
      await world.assertValid(key, `named ${text}`);
      await world.store.invalidate({ domains: [], free: [text], rows: [] });
      await world.assertVoid(key, `tagged ${text}, after that tag`);
    }
  },
};
