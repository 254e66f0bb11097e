import assert from 'node:assert/strict';
import { type Scenario } from './scenarios.js';

// Over as soon as it is stored.
const SHORT = { domains: ['reg_a'], ttl: '1ms' };

/** Orders of events around values that are kept past their time. */
export const staleScenarios: readonly Scenario[] = [
  {
    name: 'what is served while it is renewed was not touched',
    async run(stage) {
      const options = { ...SHORT, staleWhileRevalidate: '1h' };
      const one = await stage.open();
      const other = await stage.open({ memory: false });
      await other.cache.get('k');
      await one.cache.getOrSet('k', () => stage.read(40), options);
      await one.cache.drain();
      await stage.write(40, 1);
      for (const { cache } of [one, other]) assert.equal(await cache.getOrSet('k', () => stage.read(40), options), 1);
    },
  },
  {
    name: 'what is served although it is invalidated was not deleted',
    async run(stage) {
      const options = { ...SHORT, serveInvalidatedWhileRevalidate: '1h' };
      const one = await stage.open();
      await one.cache.getOrSet('k', () => stage.read(41), options);
      await one.cache.drain();
      await one.cache.deleteWithin('k', stage.pool);
      await stage.write(41, 1);
      for (const { cache } of [one, await stage.open()])
        assert.equal(await cache.getOrSet('k', () => stage.read(41), options), 1);
    },
  },
];
