import assert from 'node:assert/strict';
import { type Dependencies } from '../../core/dependencies.js';
import { type Cases, type World } from './world.js';

type RowOf = Dependencies['rows'][number][1];

/** Each write must void an entry that depends on these rows, or leave it alone. */
async function assertEffect(world: World, values: RowOf, voids: boolean, writes: readonly string[]): Promise<void> {
  for (const write of writes) {
    const { key } = await world.keep({ rows: [['item', values]] });
    await world.sql(write);
    const when = `that depends on ${JSON.stringify(values)}, after ${write}`;
    await (voids ? world.assertVoid(key, when) : world.assertValid(key, when));
  }
}

export const dependencyCases: Cases = {
  'a domain is voided by any write to its tables, and by none to others': async (world) => {
    const writes = [
      `INSERT INTO contract_item VALUES (3, 'acme', 30, 'three')`,
      `UPDATE contract_item SET label = 'x' WHERE id = 3`,
      `DELETE FROM contract_item WHERE id = 3`,
      `INSERT INTO contract_item VALUES (1, 'acme', 10, 'one') ON CONFLICT (id) DO UPDATE SET label = EXCLUDED.label`,
      `MERGE INTO contract_item i USING (VALUES (2)) v (id) ON i.id = v.id WHEN MATCHED THEN UPDATE SET label = 'two'`,
    ];
    for (const write of writes) {
      const [item, other] = [await world.keep({ domains: ['item'] }), await world.keep({ domains: ['other'] })];
      await world.sql(write);
      await world.assertVoid(item.key, `after ${write}`);
      await world.assertValid(other.key, `of another domain, after ${write}`);
    }
    const { key } = await world.keep({ domains: ['other', 'item'] });
    await world.sql('INSERT INTO contract_other VALUES (1)');
    await world.assertVoid(key, 'that depends on two domains, after a write to one of them');
    const unchanged = await world.keep({ domains: ['item'] });
    await world.sql('DELETE FROM contract_item WHERE false');
    await world.assertValid(unchanged.key, 'after a statement that changed no row');
  },

  'a free tag is not the domain of the same name': async (world) => {
    const [free, domain] = [await world.keep({ free: ['item'] }), await world.keep({ domains: ['item'] })];
    await world.store.invalidate({ domains: [], free: ['item'], rows: [] });
    await world.assertVoid(free.key, 'after its free tag');
    await world.assertValid(domain.key, 'after a free tag of the same name');
    const again = await world.keep({ free: ['item'] });
    await world.sql('UPDATE contract_item SET label = label WHERE id = 1');
    await world.assertValid(again.key, 'after a write to the domain of the same name');
  },

  'rows are voided by writes to such rows, before or after the change': async (world) => {
    await world.sql(`INSERT INTO contract_item VALUES (3, 'globex', 30, 'three')`);
    await assertEffect(world, { id: 1 }, true, [`UPDATE contract_item SET label = 'x' WHERE id = 1`]);
    await assertEffect(world, { id: 1 }, false, [`UPDATE contract_item SET label = 'x' WHERE id = 2`]);
    await assertEffect(world, { tenant: 'acme' }, true, [
      `INSERT INTO contract_item VALUES (4, 'acme', 40, 'four')`,
      `UPDATE contract_item SET tenant = 'globex' WHERE id = 4`,
      `UPDATE contract_item SET tenant = 'acme' WHERE id = 4`,
      `DELETE FROM contract_item WHERE id = 4`,
    ]);
    await assertEffect(world, { tenant: 'acme' }, false, [
      `INSERT INTO contract_item VALUES (4, 'globex', 40, 'four')`,
      `DELETE FROM contract_item WHERE id = 4`,
    ]);
    await assertEffect(world, { owner: 30 }, true, ['UPDATE contract_item SET owner = 31 WHERE id = 3']);
    await assertEffect(world, { owner: 30 }, false, ['DELETE FROM contract_item WHERE id = 3']);
    // A row that is not there yet.
    await assertEffect(world, { id: 99 }, true, [`INSERT INTO contract_item VALUES (99, 'acme', 1, 'x')`]);
  },

  'rows are voided by writes too large to tell which, and by TRUNCATE': async (world) => {
    await assertEffect(world, { id: 1 }, true, [
      `INSERT INTO contract_item SELECT n, 'other', n, 'x' FROM generate_series(1000, 1500) n`,
      'DELETE FROM contract_item WHERE id >= 1000',
      'TRUNCATE contract_item',
      `INSERT INTO contract_item VALUES (1, 'acme', 10, 'one'), (2, 'globex', 20, 'two')`,
    ]);
  },

  'a row’s value means the same however it is written': async (world) => {
    const written = await Promise.all(
      ([1, '1', 1n, ' 1', '+1', '01'] as const).map((id) => world.keep({ rows: [['item', { id }]] })),
    );
    for (const { proof } of written) assert.deepEqual([...proof.tags].sort(), [...written[0]!.proof.tags].sort());
  },

  'a row that cannot be told apart falls back to its domain': async (world) => {
    const domain = await world.keep({ domains: ['item'] });
    const unusable: RowOf[] = [{ id: 'x' }, { id: 1.5 }, { label: 'one' }, { nothing: 1 }, { id: 1, owner: 10 }];
    for (const values of unusable) {
      const { proof } = await world.keep({ rows: [['item', values]] });
      assert.deepEqual(proof.tags, domain.proof.tags, `${JSON.stringify(values)} is the whole domain`);
    }
    const nobodys = await world.keep({ rows: [['no such domain', { id: 1 }]] });
    const named = await world.keep({ domains: ['no such domain'] });
    assert.deepEqual(nobodys.proof.tags, named.proof.tags);
  },

  'tags written before count beside what is still to be written': async (world) => {
    const { proof: other } = await world.keep({ domains: ['other'] });
    for (const write of ['UPDATE contract_item SET label = label', 'UPDATE contract_other SET id = id']) {
      const { key, proof } = await world.keep({ domains: ['item'] }, { tags: other.tags });
      for (const tag of other.tags) assert.ok(proof.tags.includes(tag));
      await world.assertValid(key, 'before any write');
      await world.sql(write);
      await world.assertVoid(key, `after ${write}`);
    }
  },

  'a tenant may have any name, and is told apart from every other': async (world) => {
    const names = [
      '*',
      'a',
      'a.b',
      'a=b',
      '@x',
      '!x',
      '~',
      '%2A',
      'a,b',
      `'; drop table`,
      '😀',
      'A',
      ' a',
      'x'.repeat(6_000),
      '',
    ];
    for (const [n, name] of names.entries()) {
      const mine = await world.keep({ rows: [['item', { tenant: name }]] });
      const theirs = await world.keep({ rows: [['item', { tenant: names[(n + 1) % names.length]! }]] });
      await world.sql('INSERT INTO contract_item VALUES ($1, $2, 0, $3)', [2_000 + n, name, 'x']);
      await world.assertVoid(mine.key, `of the tenant ${name.slice(0, 20)}, after a write of theirs`);
      await world.assertValid(theirs.key, `of another tenant than ${name.slice(0, 20)}`);
    }
    await world.sql('DELETE FROM contract_item WHERE id >= 2000');
  },
};
