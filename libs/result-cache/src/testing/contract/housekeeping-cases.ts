import assert from 'node:assert/strict';
import { type CacheStore, type PurgeResult } from '../../core/store.js';
import { type Cases } from './world.js';

/** Purge until it was this store's turn. */
async function purge(store: CacheStore): Promise<{ entries: number; logRows: number }> {
  for (;;) {
    const { entries, logRows }: PurgeResult = await store.purge();
    if (entries !== null && logRows !== null) return { entries, logRows };
  }
}

export const housekeepingCases: Cases = {
  'audit names the domains that are tracked, and no others': async (world) => {
    const report = await world.store.audit();
    assert.equal(report.get('item'), null);
    assert.equal(report.get('other'), null);
    assert.equal(report.has('nobody'), false);
  },

  'audit says what is wrong with a domain, and what was missed meanwhile stays void': async (world) => {
    const { key } = await world.keep({ domains: ['item'] });
    const triggers = await world.sql(
      `SELECT quote_ident(tgname) AS name FROM pg_trigger WHERE tgrelid = 'contract_item'::regclass AND NOT tgisinternal`,
    );
    await world.sql('ALTER TABLE contract_item DISABLE TRIGGER USER');
    const report = await world.store.audit();
    assert.equal(typeof report.get('item'), 'string');
    assert.equal(report.get('other'), null);
    await world.sql(`UPDATE contract_item SET label = 'missed'`);
    for (const { name } of triggers as { name: string }[])
      await world.sql(`ALTER TABLE contract_item ENABLE ALWAYS TRIGGER ${name}`);
    assert.equal((await world.peer.audit()).get('item'), null);
    await world.assertVoid(key, 'from before its domain went untracked for a while');
  },

  'purge deletes what has expired, and only that': async (world) => {
    await purge(world.store);
    const live = (await world.keep()).key;
    const expired = await Promise.all([1, 2, 3].map(() => world.keep({}, { ttlMs: 1 })));
    const before = await world.store.stats();
    for (const { key } of expired) while ((await world.row(key)) !== undefined);
    const stats = await world.store.stats();
    assert.equal(stats.expiredEntries, 3);
    assert.equal(stats.totalEntries, before.totalEntries);
    assert.equal((await purge(world.peer)).entries, 3);
    const after = await world.store.stats();
    assert.equal(after.expiredEntries, 0);
    assert.equal(after.totalEntries, before.totalEntries - 3);
    assert.ok(after.tableSizeBytes > 0 && after.logSizeBytes > 0);
    await world.assertValid(live, 'after a purge');
  },

  'purge by several at once counts an entry once': async (world) => {
    await purge(world.store);
    const expired = await Promise.all(Array.from({ length: 20 }, () => world.keep({}, { ttlMs: 1 })));
    for (const { key } of expired) while ((await world.row(key)) !== undefined);
    const results = await Promise.all([world.store.purge(), world.peer.purge(), world.store.purge()]);
    const { entries } = await purge(world.store);
    assert.equal(
      results.reduce((sum, result) => sum + (result.entries ?? 0), entries),
      20,
    );
  },

  'purge trims the log without making anything valid that was void': async (world) => {
    const slow = await world.begin();
    const quick = await world.begin();
    await quick.query('UPDATE contract_item SET label = label WHERE id = 1');
    await quick.query('COMMIT');
    const void1 = await world.keep({ domains: ['item'] });
    const void2 = await world.keep({ rows: [['item', { id: 1 }]] });
    const since = void1.proof.fence;
    assert.ok(since.open.includes(slow.xid) && since.hi > quick.xid);
    await slow.query('UPDATE contract_item SET label = label WHERE id = 1');
    await slow.query('COMMIT');
    // Otherwise its fence may reach down to the mark, which is sound, and void.
    await world.quiesce();
    const valid = await world.keep({ domains: ['item'] });
    assert.ok((await purge(world.store)).logRows > 0);

    // The slow transaction is the older one: its row is gone, and another's stands for it.
    const told = await world.touchedSince(since);
    assert.equal(
      told.some(({ xid }) => xid === slow.xid),
      false,
    );
    assert.ok(told.some(({ tag, settled }) => settled && void1.proof.tags.includes(tag)));
    await world.assertVoid(void1.key, 'whose reason was trimmed from the log');
    await world.assertVoid(void2.key, 'whose reason was trimmed from the log');
    await world.assertValid(valid.key, 'after a purge');
  },

  'stats count every entry': async (world) => {
    const before = await world.store.stats();
    for (let n = 0; n < 5; n++) await world.keep();
    assert.equal((await world.peer.stats()).totalEntries, before.totalEntries + 5);
  },
};
