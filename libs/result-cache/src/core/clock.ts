import { performance } from 'node:perf_hooks';

/** The two clocks the cache reads. Tests inject their own; a suspended machine stops the monotonic one, so both are asked. */
export interface Clock {
  /** Milliseconds since the epoch. May jump. */
  wall(): number;
  /** Milliseconds since an arbitrary start. Never goes back. */
  monotonic(): number;
}

/** The clocks of the machine. */
export const systemClock: Clock = {
  wall: () => Date.now(),
  monotonic: () => performance.now(),
};
