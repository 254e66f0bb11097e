import { RefusedValueError } from './errors.js';
import { type CacheStore, type Fill, type Proof } from './store.js';

const MOST_IN_BATCH = 500;

interface Queued {
  fill: Fill;
  done: (proof: Proof | null) => void;
}

/** Joins the values that are computed in one event-loop turn into one INSERT. A failed store loses a copy, not an answer. */
export class FillQueue {
  private queued = new Map<string, Queued>();
  private running: Promise<void> | null = null;

  constructor(
    private readonly store: CacheStore,
    private readonly onError: (operation: string, error: Error) => void,
  ) {}

  /** Store a value soon. Resolves with its proof, or `null` if it was not stored; never rejects. */
  add(fill: Fill): Promise<Proof | null> {
    return new Promise((done) => {
      // One statement cannot write a key twice; of two values the one with the newer fence stays.
      const other = this.queued.get(fill.key);
      if (other !== undefined) {
        const older = other.fill.fence.hi <= fill.fence.hi ? other : { fill, done };
        older.done(null);
        if (older !== other) return;
      }
      this.queued.set(fill.key, { fill, done });
      this.running ??= this.run();
    });
  }

  /** Wait until everything added so far is stored. */
  async drain(): Promise<void> {
    while (this.running !== null) await this.running;
  }

  private async run(): Promise<void> {
    // After the turn's callbacks: what they computed shares the statement.
    await new Promise(setImmediate);
    while (this.queued.size > 0) {
      const batch = [...this.queued.values()].slice(0, MOST_IN_BATCH);
      for (const { fill } of batch) this.queued.delete(fill.key);
      const proofs = await this.write(batch);
      for (const { fill, done } of batch) done(proofs.get(fill.key) ?? null);
    }
    this.running = null;
  }

  private async write(batch: readonly Queued[]): Promise<ReadonlyMap<string, Proof>> {
    try {
      return await this.store.fill(batch.map(({ fill }) => fill));
    } catch (error) {
      // A store that is down would refuse each half again, and each may take its time.
      if (batch.length === 1 || !(error instanceof RefusedValueError)) {
        this.onError('fill', error as Error);
        return new Map();
      }
      // One value that the server rejects must not take its neighbours down.
      const proofs = new Map<string, Proof>();
      for (const half of [batch.slice(0, batch.length / 2), batch.slice(batch.length / 2)])
        for (const [key, proof] of await this.write(half)) proofs.set(key, proof);
      return proofs;
    }
  }
}
