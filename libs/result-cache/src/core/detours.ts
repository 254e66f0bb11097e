import { Computation } from './computation.js';
import { copyValue } from './values/index.js';

/** A value being computed past the cache, from a known moment on. */
class Detour<T> {
  private joined = false;
  /** For those who join: a copy made before its first owner could change the value, or `null` if it is his alone. */
  readonly shared: Promise<{ copy: T } | null>;
  /** For who began it. */
  readonly own: Promise<T>;

  constructor(
    readonly began: number,
    compute: () => Promise<T>,
    isShareable: (value: T) => boolean,
  ) {
    let withheld = false;
    const value = Computation.apart(compute, () => (withheld = true));
    this.shared = value.then((result) => {
      try {
        return this.joined && !withheld && isShareable(result) ? { copy: copyValue(result) } : null;
      } catch {
        return null;
      }
    });
    // With nobody joining, a failure is the caller's alone and must not count as unhandled.
    this.shared.catch(() => undefined);
    this.own = this.shared.then(() => value);
  }

  /** Rejects as the computation does. */
  async share(): Promise<{ copy: T } | null> {
    this.joined = true;
    const shared = await this.shared;
    return shared && { copy: copyValue(shared.copy) };
  }
}

/**
 * What is computed because the store cannot be asked. Without it nobody can tell what was touched meanwhile, so a value is
 * good only for reads that began before its computation did. Those are many when a store stops to answer: everybody who
 * waited for it. Each computing by himself would keep a slow database slow.
 */
export class Detours {
  private moments = 0;
  private readonly running = new Map<string, Detour<unknown>>();

  /** Now, in an order of its own: two events have different moments, whatever a clock says. */
  moment(): number {
    return ++this.moments;
  }

  /** The value of a computation that began after `moment`: `undefined` where there is none, `null` where it cannot be shared. */
  join<T>(key: string, moment: number): Promise<{ copy: T } | null> | undefined {
    const detour = this.running.get(key);
    return detour !== undefined && moment < detour.began ? (detour as Detour<T>).share() : undefined;
  }

  /** Compute; who asked before this moment may join. */
  async compute<T>(key: string, compute: () => Promise<T>, isShareable: (value: T) => boolean): Promise<T> {
    const detour = new Detour(this.moment(), compute, isShareable);
    this.running.set(key, detour);
    try {
      return await detour.own;
    } finally {
      if (this.running.get(key) === (detour as Detour<unknown>)) this.running.delete(key);
    }
  }
}
