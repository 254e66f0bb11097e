import { type Clock } from './clock.js';
import { Computation } from './computation.js';
import { CacheConfigurationError, ComputationTimeoutError, MissingTenantError, TenantMismatchError } from './errors.js';
import { type Reply } from './exchange.js';
import { type MemoryTier } from './memory-tier.js';
import { type Tier } from './outcome.js';
import { type Policy } from './policy.js';
import { type StaleReason } from './events.js';
import { type Recorder } from './recorder.js';
import { type StaleWindow } from './renewal-options.js';
import { type Proof, type StoredRow } from './store.js';
import { keyTagsOf, type TouchMemory } from './touch-memory.js';

/** For what and for whom a value is read. */
export interface StaleReading {
  readonly key: string;
  readonly policy: Policy;
  readonly view: string;
  readonly tenantId: string | undefined;
  readonly started: number;
}

/** A value that is not good any more, and what is known about that. */
export interface OldValue {
  readonly proof: Proof;
  readonly tier: Tier;
  /** When its TTL ends or ended, in monotonic milliseconds. */
  readonly endsAt: number;
  /** What was told after this exchange may concern it too. */
  readonly since: number;
  readonly isInvalidated: boolean;
  /** A copy for the caller; `undefined` where the value cannot be read here. */
  read(): { value: unknown } | undefined;
}

interface Surroundings {
  touches: TouchMemory;
  memory: MemoryTier | null;
  recorder: Recorder;
  clock: Clock;
  decode(row: StoredRow, policy: Policy): { value: unknown } | undefined;
}

/**
 * Values that are served although they are not good any more, where a policy allows it: while a new one is computed in the
 * background, or in place of one that cannot be had. What was deleted is never served.
 */
export class StaleReads {
  constructor(private readonly around: Surroundings) {}

  /** What may be served at once, while it is renewed. */
  whileRevalidating<T>(reading: StaleReading, reply: Reply): { value: T } | undefined {
    // Nothing older than its fence may enter a value being computed.
    if (Computation.current() !== undefined) return undefined;
    return this.serve<T>(reading, reply, reading.policy.renewal!.whileRevalidating, 'revalidating');
  }

  /**
   * The value of a computation; or an older one, if it fails or takes too long. Then the computation goes on, and what
   * becomes of it is told as an event.
   * @param reply What the store knew before it began; `null` where it could not be asked.
   */
  guard<T>(reading: StaleReading, reply: Reply | null, work: Promise<T>): Promise<T> {
    const { softTimeoutMs, hardTimeoutMs, inGrace } = reading.policy.renewal!;
    const { recorder } = this.around;
    const outer = Computation.current();
    return new Promise((resolve, reject) => {
      let isOver = false;
      const timers: NodeJS.Timeout[] = [];
      const end = (): void => {
        isOver = true;
        for (const timer of timers) clearTimeout(timer);
      };
      /** Serve an older value, if there is one. */
      const fallBack = (reason: StaleReason): boolean => {
        const old = this.serve<T>(reading, reply, inGrace, reason);
        if (old === undefined) return false;
        end();
        outer?.spoil();
        resolve(old.value);
        return true;
      };
      const after = (ms: number, then: () => void): void => {
        // Once more around the event loop: after a stall the value may be here already.
        if (ms < Infinity) timers.push(setTimeout(() => setImmediate(() => isOver || then()), ms));
      };
      after(softTimeoutMs, () => void fallBack('slow'));
      after(hardTimeoutMs, () => {
        if (fallBack('slow')) return;
        end();
        outer?.spoil();
        reject(new ComputationTimeoutError(reading.view, hardTimeoutMs));
      });
      work.then(
        (value) => {
          end();
          resolve(value);
        },
        (error: unknown) => {
          if (isOver) return recorder.computationFailed(reading, error, true);
          if (isFailure(error) && fallBack('failed')) return recorder.computationFailed(reading, error, false);
          end();
          reject(error);
        },
      );
    });
  }

  private serve<T>(
    reading: StaleReading,
    reply: Reply | null,
    window: StaleWindow,
    reason: StaleReason,
  ): { value: T } | undefined {
    const { clock, touches, recorder } = this.around;
    const old = this.fromStore(reading, reply) ?? this.around.memory?.old(reading.key);
    if (old === undefined) return undefined;
    const { proof, since, endsAt, tier } = old;
    // What was deleted, or made of it, is gone for good.
    if (touches.touchedAfter(since, reading.key, keyTagsOf(proof.tags))) return undefined;
    const isInvalidated = old.isInvalidated || touches.touchedAfter(since, reading.key, proof.tags);
    const leftMs = endsAt - clock.monotonic();
    const ageMs = proof.expiresAt - proof.cachedAt - leftMs;
    const isAllowed = isInvalidated
      ? window.invalidatedMs > 0 && ageMs <= window.invalidatedMs
      : window.expiredMs > 0 && -leftMs <= window.expiredMs;
    const found = isAllowed ? old.read() : undefined;
    if (found !== undefined)
      recorder.stale(reading, { tier, leftMs, isInvalidated, reason, computeMs: proof.computeMs });
    return found as { value: T } | undefined;
  }

  private fromStore({ policy }: StaleReading, reply: Reply | null): OldValue | undefined {
    if (reply?.stale === undefined) return undefined;
    const { row, isInvalidated } = reply.stale;
    return {
      proof: row.proof,
      tier: 'postgres',
      endsAt: reply.asked + row.proof.expiresAt - reply.now,
      since: reply.number,
      isInvalidated,
      read: () => this.around.decode(row, policy),
    };
  }
}

/** What shows that computing does not work at present, and not that the caller asked for what it may not have. */
function isFailure(error: unknown): boolean {
  if (
    error instanceof MissingTenantError ||
    error instanceof TenantMismatchError ||
    error instanceof CacheConfigurationError
  )
    return false;
  const status = statusOf(error);
  return !(typeof status === 'number' && status >= 400 && status < 500);
}

/** The HTTP status that an error stands for, as Nest's exceptions and those of most HTTP clients show it. */
function statusOf(error: unknown): unknown {
  if (typeof error !== 'object' || error === null) return undefined;
  const { getStatus, status, statusCode } = error as { getStatus?: unknown; status?: unknown; statusCode?: unknown };
  return typeof getStatus === 'function' ? (getStatus as () => unknown).call(error) : (status ?? statusCode);
}
