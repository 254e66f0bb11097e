import { Computation } from './computation.js';
import { outsideOperations } from './operation.js';
import { collectOutcomes } from './outcome.js';

/** Renewals in the background, one at a time for a key of this process. */
export class Renewals {
  private readonly underWay = new Map<string, Promise<void>>();

  /**
   * Renew a key, unless that is under way. It is nobody's read: neither part of a computation that runs around it, nor bound to
   * an operation's fence, nor told of in a response's header. Everything else that the caller carries in its async context is
   * there, and so the tenant is.
   * @param onError Told of what `renew` throws.
   */
  start(key: string, renew: () => Promise<void>, onError: (error: unknown) => void): void {
    if (this.underWay.has(key)) return;
    const apart = (): Promise<void> => outsideOperations(() => collectOutcomes([], renew));
    const renewal = Computation.outside(apart)
      .catch(onError)
      .finally(() => this.underWay.delete(key));
    this.underWay.set(key, renewal);
  }

  /** Wait for those under way. */
  async drain(): Promise<void> {
    await Promise.all(this.underWay.values());
  }
}
