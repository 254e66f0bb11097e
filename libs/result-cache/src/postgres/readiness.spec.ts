import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { EVENT_CHANNEL, type CacheEvent } from '../core/events.js';
import { checkServerVersion, NotInstalledError, type Installation } from './installer.js';
import { Readiness, StoreUnavailableError } from './readiness.js';

const RETRY_MS = 1_000;
const installed: Installation = { cacheId: 1, extensionVersion: null, isLocked: false };
const refused = new Error('connect ECONNREFUSED');

let now: number;
let attempts: number;
let pings: number;
let outcome: () => Promise<Installation>;
let pong: () => Promise<unknown>;
let readiness: Readiness;
let told: string[];
const listen = (event: unknown): void => {
  const { type, ...rest } = event as CacheEvent;
  if (type === 'availability') told.push((rest as { state: string }).state);
};

beforeEach(() => {
  now = 0;
  attempts = 0;
  pings = 0;
  told = [];
  outcome = async () => installed;
  pong = async () => [];
  subscribe(EVENT_CHANNEL, listen);
  const access = {
    install: (): Promise<Installation> => (attempts++, outcome()),
    ping: (): Promise<unknown> => (pings++, pong()),
  };
  // No pause is shortened.
  readiness = new Readiness(access, { monotonic: () => now, wall: () => now }, {}, () => 0);
});

afterEach(() => {
  jest.useRealTimers();
  unsubscribe(EVENT_CHANNEL, listen);
});

const turnedAway = (): Promise<void> => expect(readiness.ready()).rejects.toThrow(StoreUnavailableError);
const probed = (): Promise<void> => new Promise(setImmediate);

describe('Readiness', () => {
  it('installs once for all who come first', async () => {
    expect(await Promise.all([readiness.ready(), readiness.ready(), readiness.install()])).toEqual(
      Array(3).fill(installed),
    );
    await readiness.ready();
    expect(attempts).toBe(1);
    expect(readiness.availability).toEqual({ state: 'ready' });
  });

  it('tries again after a second, not earlier, and lets nobody wait for it', async () => {
    outcome = () => Promise.reject(refused);
    await turnedAway();
    now += RETRY_MS - 1;
    await turnedAway();
    expect(attempts).toBe(1);

    now += 1;
    let answer!: (installation: Installation) => void;
    outcome = () => new Promise((resolve) => (answer = resolve));
    await turnedAway();
    expect(readiness.status.state).toBe('half-open');
    // However long it takes.
    now += RETRY_MS;
    await turnedAway();
    answer(installed);
    await probed();
    expect(await readiness.ready()).toBe(installed);
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

  it('asks a database that was lost by probes only, and lets all through when it answers', async () => {
    await readiness.ready();
    expect(readiness.failed(refused)).toBeInstanceOf(StoreUnavailableError);
    await turnedAway();
    now += RETRY_MS;
    pong = () => Promise.reject(refused);
    await turnedAway();
    await probed();
    await turnedAway();
    expect(pings).toBe(1);
    pong = async () => [];
    now += 2 * RETRY_MS;
    await turnedAway();
    await probed();
    expect(await readiness.ready()).toBe(installed);
    expect([attempts, pings]).toEqual([1, 2]);
    expect(readiness.status).toEqual({ state: 'closed', openings: 1 });
    expect(told).toEqual(['ready', 'unreachable', 'ready']);
  });

  it('takes any answer for a sign of life', async () => {
    await readiness.ready();
    readiness.failed(refused);
    readiness.succeeded();
    expect(await readiness.ready()).toBe(installed);
    expect(pings).toBe(0);
  });

  it('gives a probe up that hangs, sends another one, and never more than three at a time', async () => {
    jest.useFakeTimers({ doNotFake: ['setImmediate'] });
    await readiness.ready();
    readiness.failed(refused);
    const answers: (() => void)[] = [];
    pong = () => new Promise<void>((resolve) => answers.push(resolve));
    for (let probe = 0; probe < 6; probe++) {
      now += 10 * RETRY_MS;
      await turnedAway();
      jest.advanceTimersByTime(2_000);
      expect(readiness.status.state).toBe('open');
    }
    expect(pings).toBe(3);
    // Late is better than never.
    answers[0]!();
    await probed();
    expect(await readiness.ready()).toBe(installed);
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
    const tried = async (): Promise<void> => {
      now += 10 * RETRY_MS;
      await turnedAway();
      await probed();
    };
    for (let attempt = 0; attempt < 3; attempt++) await tried();
    outcome = () => Promise.reject(new NotInstalledError('No triggers.', ['SELECT …']));
    await tried();
    expect(attempts).toBe(4);
    expect(told).toEqual(['off', 'off']);
  });
});

it('refuses a server that is too old, in one line', () => {
  expect(() => checkServerVersion(130_023)).toThrow(/^PostgreSQL 13 is too old for this cache; it needs 14 or newer$/);
  expect(() => checkServerVersion(140_000)).not.toThrow();
});
