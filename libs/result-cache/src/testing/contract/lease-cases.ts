import assert from 'node:assert/strict';
import { type CacheStore, type LeaseAnswer, type LeaseClaim } from '../../core/store.js';
import { NO_DEPENDENCIES } from '../../core/dependencies.js';
import { type Cases, type World } from './world.js';

const HOUR_MS = 3_600_000;

/** A claim with a fence taken now. */
async function claimFor(world: World, given: Partial<LeaseClaim> = {}): Promise<LeaseClaim> {
  const fence = await world.fence();
  return { key: world.key(), fence, tags: [], dependencies: NO_DEPENDENCIES, ttlMs: HOUR_MS, ...given };
}

async function claim(store: CacheStore, wanted: LeaseClaim): Promise<LeaseAnswer> {
  const answer = (await store.leases!.claim([wanted])).get(wanted.key);
  assert.ok(answer, 'every claim is answered');
  return answer;
}

/** After something happened since the holder's fence the lease is free for who asks now, and the number is higher. */
async function assertVoidAfter(
  world: World,
  given: Partial<LeaseClaim>,
  happens: (held: LeaseClaim) => Promise<unknown>,
): Promise<void> {
  const held = await claimFor(world, given);
  const first = await claim(world.store, held);
  assert.equal(first.isGranted, true);
  await happens(held);
  const second = await claim(world.peer, { ...held, fence: await world.fence() });
  assert.equal(second.isGranted, true);
  assert.ok(second.number > first.number, 'a later holder has a higher number');
}

/** For stores that have leases; the others keep them by having none. */
export const leaseCases: Cases = Object.fromEntries(
  Object.entries<Cases[string]>({
    'a lease has one holder, until it releases it': async (world) => {
      const wanted = await claimFor(world);
      const held = await claim(world.store, wanted);
      assert.equal(held.isGranted, true);
      assert.ok(held.leftMs > 0 && held.leftMs <= HOUR_MS);
      for (const store of [world.peer, world.store]) {
        const refused = await claim(store, wanted);
        assert.equal(refused.isGranted, false);
        assert.equal(refused.number, held.number);
        assert.ok(refused.leftMs > 0);
      }
      const token = { key: wanted.key, number: held.number, incarnation: wanted.fence.incarnation };
      assert.equal(await world.store.leases!.release([token]), 1);
      assert.equal((await claim(world.peer, wanted)).isGranted, true);
    },

    'of many who claim a lease at once one gets it': async (world) => {
      const wanted = await claimFor(world);
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, n) => claim(n % 2 === 0 ? world.store : world.peer, wanted)),
      );
      assert.equal(answers.filter(({ isGranted }) => isGranted).length, 1);
    },

    'a lease ends with its time, and its late holder cannot release what another has by then': async (world) => {
      const wanted = await claimFor(world, { ttlMs: 1 });
      const late = await claim(world.store, wanted);
      let next: LeaseAnswer;
      do next = await claim(world.peer, { ...wanted, ttlMs: HOUR_MS });
      while (!next.isGranted);
      assert.ok(next.number > late.number);
      const { key, fence } = wanted;
      const token = { key, number: late.number, incarnation: fence.incarnation };
      assert.equal(await world.store.leases!.release([token]), 0);
      assert.equal((await claim(world.store, wanted)).number, next.number);
    },

    'a lease is void once something that its holder named was touched': async (world) => {
      const rows = [['item', { id: 1 }]] as const;
      const dependencies = { ...NO_DEPENDENCIES, rows };
      await assertVoidAfter(world, { dependencies }, () =>
        world.sql(`UPDATE contract_item SET label = 'x' WHERE id = 1`),
      );
      const tags = await world.store.tagsOf({ ...NO_DEPENDENCIES, free: ['lease'] });
      await assertVoidAfter(world, { tags }, () => world.store.invalidate({ ...NO_DEPENDENCIES, free: ['lease'] }));
      const held = await claimFor(world, { dependencies });
      await claim(world.store, held);
      await world.sql(`UPDATE contract_item SET label = 'x' WHERE id = 2`);
      assert.equal((await claim(world.peer, held)).isGranted, false);
    },

    'a lease is void once its key was deleted': async (world) => {
      await assertVoidAfter(world, {}, ({ key }) => world.store.delete([key]));
    },

    'a lease of another incarnation binds nobody, and nobody can release by it': async (world) => {
      const wanted = await claimFor(world);
      const old = { ...wanted, fence: { ...wanted.fence, incarnation: '00000000-0000-4000-8000-000000000000' } };
      const held = await claim(world.store, old);
      const next = await claim(world.peer, wanted);
      assert.equal(next.isGranted, true);
      const token = { key: wanted.key, number: next.number, incarnation: old.fence.incarnation };
      assert.equal(await world.store.leases!.release([{ ...token, number: held.number }, token]), 0);
    },

    'claims and releases that share keys, at once and in opposite order, do not deadlock': async (world) => {
      const { fence } = await claimFor(world);
      const wanted = await Promise.all(Array.from({ length: 100 }, () => claimFor(world, { fence })));
      const back = [...wanted].reverse();
      const claimAndRelease = async (store: CacheStore, claims: readonly LeaseClaim[]): Promise<void> => {
        const answers = await store.leases!.claim(claims);
        const granted = claims.filter(({ key }) => answers.get(key)!.isGranted);
        const { incarnation } = fence;
        await store.leases!.release(granted.map(({ key }) => ({ key, number: answers.get(key)!.number, incarnation })));
      };
      for (let round = 0; round < 5; round++)
        await Promise.all([
          claimAndRelease(world.store, wanted),
          claimAndRelease(world.peer, back),
          claimAndRelease(world.store, back),
          claimAndRelease(world.peer, wanted),
        ]);
    },
  }).map(([name, run]) => [
    name,
    async (world) => {
      if (world.store.leases !== undefined) await run(world);
    },
  ]),
);
