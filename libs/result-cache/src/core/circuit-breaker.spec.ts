import { beforeEach, describe, expect, it } from '@jest/globals';
import { CircuitBreaker, type BreakerOptions } from './circuit-breaker.js';
import { CacheConfigurationError } from './errors.js';

describe('CircuitBreaker', () => {
  let now: number;
  let chance: number;
  const clock = { monotonic: () => now, wall: () => 0 };
  const make = (options: BreakerOptions = {}): CircuitBreaker => new CircuitBreaker(options, clock, () => chance);

  beforeEach(() => {
    now = 0;
    chance = 0;
  });

  /** How long until it lets a probe through. */
  function pause(breaker: CircuitBreaker): number {
    const since = now;
    while (!breaker.mayProbe()) now++;
    return now - since;
  }

  it('opens after so many failures in a row', () => {
    const breaker = make({ failures: 3 });
    breaker.failed();
    breaker.failed();
    breaker.succeeded();
    breaker.failed();
    breaker.failed();
    expect(breaker.isClosed).toBe(true);
    breaker.failed();
    expect(breaker.status).toEqual({ state: 'open', openings: 1 });
  });

  it('lets one probe through, later each time that it fails, to a limit', () => {
    const breaker = make({ retryAfter: '100ms', maxRetryAfter: '500ms' });
    breaker.failed();
    const pauses = [];
    for (let probe = 0; probe < 5; probe++) {
      pauses.push(pause(breaker));
      expect(breaker.status.state).toBe('half-open');
      expect(breaker.mayProbe()).toBe(false);
      breaker.trip();
    }
    expect(pauses).toEqual([100, 200, 400, 500, 500]);
    expect(breaker.status.openings).toBe(1);
  });

  it('begins with the shortest pause again when it was closed', () => {
    const breaker = make({ retryAfter: '100ms' });
    breaker.failed();
    pause(breaker);
    breaker.trip();
    pause(breaker);
    breaker.succeeded();
    breaker.failed();
    expect(pause(breaker)).toBe(100);
    expect(breaker.status.openings).toBe(2);
  });

  it('shortens each pause at random, by half at most', () => {
    chance = 0.5;
    const breaker = make({ retryAfter: '100ms' });
    breaker.failed();
    expect(pause(breaker)).toBe(75);
    chance = 1;
    breaker.trip();
    expect(pause(breaker)).toBe(100);
  });

  it('learns nothing from the failure of what was asked before it opened', () => {
    const breaker = make({ retryAfter: '100ms' });
    breaker.failed();
    now += 50;
    breaker.failed();
    expect(pause(breaker)).toBe(50);
    breaker.failed();
    expect(breaker.status.state).toBe('half-open');
  });

  it.each<BreakerOptions>([
    { failures: 0 },
    { failures: 1.5 },
    { retryAfter: 0 },
    { retryAfter: 'soon' },
    { retryAfter: '5s' },
    { maxRetryAfter: '500ms' },
  ])('refuses %j', (options) => {
    expect(() => make(options)).toThrow(CacheConfigurationError);
  });
});
