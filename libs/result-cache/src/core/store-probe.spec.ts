import { describe, expect, it, jest } from '@jest/globals';
import { StoreProbe, ProbeTimeoutError } from './store-probe.js';
import { type StoreStats } from './store.js';

const figures = (totalEntries: number): StoreStats => ({
  totalEntries,
  expiredEntries: 0,
  tableSizeBytes: 0,
  logSizeBytes: 0,
});

/** A clock that stands still until it is told otherwise. */
function ticker() {
  const clock = { now: 1_000, wall: () => clock.now, monotonic: () => clock.now };
  return clock;
}

describe('StoreProbe', () => {
  it('asks again only when the reading is too old', async () => {
    const clock = ticker();
    const stats = jest.fn(async () => figures(stats.mock.calls.length));
    const probe = new StoreProbe({ stats }, { maxAgeMs: 5_000, clock });
    expect(await probe.read()).toEqual({ ok: true, stats: figures(1) });
    clock.now += 4_999;
    expect(await probe.read()).toEqual({ ok: true, stats: figures(1) });
    clock.now += 1;
    expect(await probe.read()).toEqual({ ok: true, stats: figures(2) });
  });

  it('reports what the store throws, and remembers that too', async () => {
    const clock = ticker();
    const stats = jest.fn(async (): Promise<StoreStats> => Promise.reject(new Error('gone')));
    const probe = new StoreProbe({ stats }, { clock });
    expect(await probe.read()).toEqual({ ok: false, error: new Error('gone') });
    await probe.read();
    expect(stats).toHaveBeenCalledTimes(1);
  });

  it('gives up waiting for a slow store, does not ask it twice at once, and uses the answer when it comes', async () => {
    let answer!: (stats: StoreStats) => void;
    const stats = jest.fn(() => new Promise<StoreStats>((resolve) => (answer = resolve)));
    const probe = new StoreProbe({ stats }, { timeoutMs: 1, clock: ticker() });
    const [one, two] = await Promise.all([probe.read(), probe.read()]);
    expect([one, two]).toEqual([
      { ok: false, error: expect.any(ProbeTimeoutError) },
      { ok: false, error: expect.any(ProbeTimeoutError) },
    ]);
    await probe.read();
    expect(stats).toHaveBeenCalledTimes(1);
    answer(figures(7));
    expect(await probe.read()).toEqual({ ok: true, stats: figures(7) });
    expect(stats).toHaveBeenCalledTimes(1);
  });

  it('asks anew when a question was lost, and ignores its late answer', async () => {
    const clock = ticker();
    const answers: ((stats: StoreStats) => void)[] = [];
    const stats = jest.fn(() => new Promise<StoreStats>((resolve) => answers.push(resolve)));
    const probe = new StoreProbe({ stats }, { timeoutMs: 1, clock });
    await probe.read();
    clock.now += 30_001;
    const second = probe.read();
    answers[1]!(figures(2));
    expect(await second).toEqual({ ok: true, stats: figures(2) });
    clock.now += 1;
    answers[0]!(figures(1));
    await Promise.resolve();
    expect(await probe.read()).toEqual({ ok: true, stats: figures(2) });
  });
});
