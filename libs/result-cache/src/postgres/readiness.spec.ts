import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { EVENT_CHANNEL, type CacheEvent } from '../core/events.js';
import { checkServerVersion, NotInstalledError, type Installation } from './installer.js';
import { Readiness, RETRY_MS, StoreUnavailableError } from './readiness.js';

const installed: Installation = { cacheId: 1, extensionVersion: null };
const refused = new Error('connect ECONNREFUSED');

let now: number;
let attempts: number;
let outcome: () => Promise<Installation>;
let readiness: Readiness;
let told: string[];
const listen = (event: unknown): void => {
  const { type, ...rest } = event as CacheEvent;
  if (type === 'availability') told.push((rest as { state: string }).state);
};

beforeEach(() => {
  now = 0;
  attempts = 0;
  told = [];
  outcome = async () => installed;
  subscribe(EVENT_CHANNEL, listen);
  const attempt = (): Promise<Installation> => (attempts++, outcome());
  readiness = new Readiness(attempt, { monotonic: () => now, wall: () => now });
});

afterEach(() => void unsubscribe(EVENT_CHANNEL, listen));

const turnedAway = (): Promise<void> => expect(readiness.ready()).rejects.toThrow(StoreUnavailableError);

describe('Readiness', () => {
  it('installs once for all who come first', async () => {
    expect(await Promise.all([readiness.ready(), readiness.ready(), readiness.install()])).toEqual(
      Array(3).fill(installed),
    );
    await readiness.ready();
    expect(attempts).toBe(1);
    expect(readiness.availability).toEqual({ state: 'ready' });
  });

  it('tries again after a second, not earlier, and then lets one caller wait for it', async () => {
    outcome = () => Promise.reject(refused);
    await turnedAway();
    now += RETRY_MS - 1;
    await turnedAway();
    expect(attempts).toBe(1);

    now += 1;
    let answer!: (installation: Installation) => void;
    outcome = () => new Promise((resolve) => (answer = resolve));
    const first = readiness.ready();
    await turnedAway();
    // However long it takes.
    now += RETRY_MS;
    await turnedAway();
    answer(installed);
    expect(await first).toBe(installed);
    expect(attempts).toBe(2);
    expect(told).toEqual(['unreachable', 'ready']);
  });

  it('says why, whoever asks', async () => {
    outcome = () => Promise.reject(refused);
    await expect(readiness.install()).rejects.toBe(refused);
    await expect(readiness.ready()).rejects.toMatchObject({ cause: refused });
    expect(readiness.availability).toEqual({ state: 'unreachable', reason: refused });
    const missing = new NotInstalledError('No rights.', ['GRANT …']);
    outcome = () => Promise.reject(missing);
    await expect(readiness.install()).rejects.toBe(missing);
    expect(readiness.availability).toEqual({ state: 'off', reason: missing });
  });

  it('lets one caller a second through to a database that was lost, and all when it answers', async () => {
    await readiness.ready();
    expect(readiness.failed(refused)).toBeInstanceOf(StoreUnavailableError);
    await turnedAway();
    now += RETRY_MS;
    expect(await readiness.ready()).toBe(installed);
    await turnedAway();
    readiness.succeeded();
    expect(await readiness.ready()).toBe(installed);
    expect(attempts).toBe(1);
    expect(told).toEqual(['ready', 'unreachable', 'ready']);
  });

  it('installs again what was dropped', async () => {
    await readiness.ready();
    readiness.forget();
    expect(readiness.availability).toEqual({ state: 'new' });
    await readiness.ready();
    expect(attempts).toBe(2);
  });

  it('refuses everybody once it is closed, and tells nothing more', async () => {
    await readiness.ready();
    readiness.close();
    await turnedAway();
    await expect(readiness.install()).rejects.toThrow('the cache is closed');
    readiness.failed(refused);
    expect(told).toEqual(['ready']);
  });

  it('tells the same trouble once', async () => {
    outcome = () => Promise.reject(new NotInstalledError('No rights.', ['GRANT …']));
    for (let attempt = 0; attempt < 3; attempt++, now += RETRY_MS) await turnedAway();
    outcome = () => Promise.reject(new NotInstalledError('No triggers.', ['SELECT …']));
    await turnedAway();
    expect(attempts).toBe(4);
    expect(told).toEqual(['off', 'off']);
  });
});

it('refuses a server that is too old, in one line', () => {
  expect(() => checkServerVersion(130_023)).toThrow(/^PostgreSQL 13 is too old for this cache; it needs 14 or newer$/);
  expect(() => checkServerVersion(140_000)).not.toThrow();
});
