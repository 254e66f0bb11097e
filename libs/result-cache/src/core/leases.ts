import { setTimeout as pause } from 'node:timers/promises';
import { type Clock } from './clock.js';
import { Computation } from './computation.js';
import { NO_DEPENDENCIES } from './dependencies.js';
import { type Reply } from './exchange.js';
import { type Fence } from './fence.js';
import { type Policy } from './policy.js';
import { type LeaseAnswer, type LeaseClaim, type LeaseStore, type LeaseToken } from './store.js';
import { TurnBatch } from './turn-batch.js';

/** Milliseconds between two looks at a key that another process computes: doubled up to the longest, and never in step. */
const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 50;

/** For how many holders a caller waits, one after the other: for the first, and for who takes over from it. */
const MOST_HOLDERS = 2;

/** What a process has of the store and of its own side of it. */
interface Surroundings {
  store: LeaseStore;
  clock: Clock;
  /** Join the exchange. */
  ask(key: string): Promise<Reply>;
  /** Wait no longer than a read may wait for the store. */
  inTime<T>(work: Promise<T>): Promise<T>;
  onError(operation: string, error: Error): void;
}

/**
 * Which process computes a missing value while the others wait for it. A caller that lacks a value enters the {@link Room} of
 * its key, one per process and key, which claims the lease and looks again and again while another process has it. Whatever
 * ends the wait, the caller asks the exchange anew: what it is served is proved as always, and a lease proves nothing.
 *
 * A caller inside a computation never waits for another process: somebody else may wait for that computation, here or, if it
 * holds a lease, elsewhere, and two that wait for each other would do so until a lease ends. It takes a lease that is free.
 */
export class Leases {
  private readonly rooms = new Map<string, Room>();
  private readonly held = new Set<Lease>();
  private readonly claims: TurnBatch<LeaseClaim, LeaseAnswer>;
  private readonly releases: TurnBatch<LeaseToken, void>;

  constructor(private readonly around: Surroundings) {
    const { store } = around;
    this.claims = new TurnBatch(async (claims) => {
      const answers = await store.claim(claims);
      return claims.map(({ key }) => answers.get(key)!);
    });
    this.releases = new TurnBatch(async (tokens) => {
      await store.release(tokens);
      return tokens.map(() => undefined);
    });
  }

  /**
   * What somebody does who was just told that a key has no value: compute under a lease that is to be released; wait,
   * then look again; or compute without a lease.
   * @param visit The one it was given before, if it has waited already.
   */
  turn(key: string, policy: Policy, { fence, asked }: Reply, visit?: Visit): Lease | Visit | undefined {
    const room = this.rooms.get(key);
    // Who asked before the lease was granted may have missed what its last holder stored.
    if (room?.lease != null && asked >= room.grantedAt) return this.take(room, room.lease);
    if (visit?.isOver) return undefined;
    const entering = visit ?? new Visit(this.deadline(policy), Computation.current() !== undefined);
    (room ?? this.open(key, policy, fence)).admit(entering, this.around.clock.monotonic());
    return entering;
  }

  /** Wait until every lease of this process is released, as it is when its computation has ended. */
  async drain(): Promise<void> {
    while (this.held.size > 0) await Promise.all([...this.held].map((lease) => lease.released));
  }

  private deadline({ lease }: Policy): number {
    return this.around.clock.monotonic() + (lease?.waitMs ?? 0);
  }

  private take(room: Room, lease: Lease): Lease {
    room.lease = null;
    this.rooms.delete(room.key);
    return lease;
  }

  private open(key: string, policy: Policy, fence: Fence): Room {
    const room = new Room(key, fence, () => {
      // Granted, and nobody needed it any more.
      if (room.lease !== null) this.take(room, room.lease).release();
    });
    this.rooms.set(key, room);
    void this.attend(room, policy);
    return room;
  }

  /** Claim the lease, or wait with all who are in the room until there is a value or the lease. Never rejects. */
  private async attend(room: Room, policy: Policy): Promise<void> {
    const { ask, clock, onError } = this.around;
    const { key } = room;
    let pauseMs = FIRST_PAUSE_MS;
    try {
      for (;;) {
        const answer = await this.claim(room, policy);
        if (answer.isGranted) return room.grant(this.hold(key, room.fence, answer.number), clock.monotonic());
        room.meet(answer.number, clock.monotonic());
        if (room.isEmpty) break;
        await pause(Math.max(1, Math.min(pauseMs * (0.75 + Math.random() / 2), answer.leftMs)));
        pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
        const { row, fence } = await ask(key);
        // The lease is void once something was touched since: an old fence would be void from the start.
        room.fence = fence;
        if (row === null) continue;
        room.tellOfValue();
        break;
      }
    } catch (error) {
      onError('lease', error as Error);
      room.sendAllAway();
    }
    this.rooms.delete(key);
  }

  private async claim({ key, fence }: Room, { tags, dependencies, lease }: Policy): Promise<LeaseAnswer> {
    const answer = this.claims.add({
      key,
      fence,
      tags: tags ?? [],
      dependencies: tags === null ? dependencies : NO_DEPENDENCIES,
      ttlMs: lease!.ttlMs,
    });
    try {
      return await this.around.inTime(answer);
    } catch (error) {
      // Nobody is there any more whom an answer that comes too late could be given to.
      answer.then(
        ({ isGranted, number }) => isGranted && this.hold(key, fence, number).release(),
        () => undefined,
      );
      throw error;
    }
  }

  private hold(key: string, { incarnation }: Fence, number: number): Lease {
    const lease: Lease = new Lease(() =>
      this.releases
        .add({ key, number, incarnation })
        // It ends by itself.
        .catch((error: Error) => this.around.onError('release', error))
        .finally(() => this.held.delete(lease)),
    );
    this.held.add(lease);
    return lease;
  }
}

/** The right to compute a key's value: until its time is over no other process does, unless the value would be void already. */
export class Lease {
  private end!: (released: Promise<void>) => void;
  /** Resolves when it was released; never rejects. */
  readonly released = new Promise<void>((resolve) => (this.end = resolve));

  constructor(private readonly giveBack: () => Promise<void>) {}

  /** To be called once, when the value is stored or will not be. */
  release(): void {
    this.end(this.giveBack());
  }
}

/** One caller's waiting for a key, over all rooms that it enters on the way. */
export class Visit {
  private holdersLeft = MOST_HOLDERS;
  private room!: Room;
  private changed!: Promise<void>;
  private wake!: () => void;

  constructor(
    /** In monotonic milliseconds. */
    private readonly deadline: number,
    private readonly isInsideComputation: boolean,
  ) {}

  /** Do not wait any longer: compute. */
  get isOver(): boolean {
    return this.holdersLeft <= 0;
  }

  /** Wait until something has changed, then look again. */
  async afterwards<T>(look: () => Promise<T>): Promise<T> {
    const { room } = this;
    await this.changed;
    try {
      return await look();
    } finally {
      room.leave();
    }
  }

  /** @internal */
  enter(room: Room): void {
    this.room = room;
    this.changed = new Promise((resolve) => (this.wake = resolve));
  }

  /** Look again. @internal */
  call(): void {
    this.wake();
  }

  /** A holder waited for has brought nothing: not this one's value, at any rate. @internal */
  countHolder(): void {
    this.holdersLeft--;
  }

  /** Wait no longer. @internal */
  end(): void {
    this.holdersLeft = 0;
    this.wake();
  }

  /** Whether it would be wrong to wait for another process from now on. @internal */
  mustNotWait(now: number): boolean {
    return this.isOver || this.isInsideComputation || now >= this.deadline;
  }
}

/** All callers of a process who lack a key's value and wait for another process, or for the answer to a claim. */
class Room {
  /** Granted, and not taken by anybody yet. */
  lease: Lease | null = null;
  /** When it was granted, in monotonic milliseconds. */
  grantedAt = Infinity;
  private readonly waiting = new Set<Visit>();
  /** Those in it, and those who have been called and look again. */
  private present = 0;
  /** A claim was answered, and refused. */
  private isRefused = false;
  /** The number of the holder that was met last; 0 before the first. */
  private holder = 0;

  constructor(
    readonly key: string,
    /** The newest fence known, for the next claim. */
    public fence: Fence,
    private readonly onEmpty: () => void,
  ) {}

  get isEmpty(): boolean {
    return this.waiting.size === 0;
  }

  admit(visit: Visit, now: number): void {
    visit.enter(this);
    this.present++;
    if (this.lease !== null) visit.call();
    else if (this.isRefused && visit.mustNotWait(now)) visit.end();
    else this.waiting.add(visit);
  }

  leave(): void {
    if (--this.present === 0) this.onEmpty();
  }

  /** The lease is this process's: the first who looks again and still finds nothing takes it. */
  grant(lease: Lease, now: number): void {
    this.lease = lease;
    this.grantedAt = now;
    this.callAll();
    if (this.present === 0) this.onEmpty();
  }

  /** Another computation has the lease, or had it just now, where the number is 0. */
  meet(number: number, now: number): void {
    const isNew = this.holder > 0 && number > 0 && this.holder !== number;
    this.isRefused = true;
    this.holder = number || this.holder;
    for (const visit of this.waiting) {
      if (isNew) visit.countHolder();
      if (!visit.mustNotWait(now)) continue;
      this.waiting.delete(visit);
      visit.end();
    }
  }

  /** There is a value. Who finds it void again, or cannot read it, has waited for a holder in vain. */
  tellOfValue(): void {
    for (const visit of this.waiting) visit.countHolder();
    this.callAll();
  }

  sendAllAway(): void {
    for (const visit of this.waiting) visit.end();
    this.waiting.clear();
  }

  private callAll(): void {
    for (const visit of this.waiting) visit.call();
    this.waiting.clear();
  }
}
