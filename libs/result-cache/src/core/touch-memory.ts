import { isLater, type Fence } from './fence.js';
import { patternFromLike, type KeyPattern } from './pattern.js';
import { WATCHING_TAG, type ExchangeAnswer, type ExchangeRequest, type Proof, type Touch } from './store.js';

/** What is remembered about one tag. */
interface Touched {
  /** Transactions told, in the order they were told. */
  xids: number[];
  newest: number;
  /** Highest settled transaction, 0 if none. */
  settled: number;
  /** Number of the exchange that told it last. */
  by: number;
}

/** Tags that stand for keys rather than data: `!key`, and `~pattern` with a bare `~` beside it. */
const KEY = '!';
const PATTERN = '~';

/** The tag of a key itself, which deleting it touches. */
export function keyTag(key: string): string {
  return KEY + key;
}

/** Those of an entry's tags that stand for the values it was made of. */
export function keyTagsOf(tags: readonly string[]): string[] {
  return tags.filter((tag) => tag.startsWith(KEY));
}

/** Transactions remembered per tag, one by one. */
const MOST_XIDS = 32;

/** Verdict on a row: usable, void, or fenced before this process began to remember. */
export type Verdict = 'valid' | 'void' | 'unknown';

/**
 * What a process has been told about the invalidation log since its *floor*, and what follows from it for a row.
 *
 * Everything a fence did not see and that became visible since is either listed here or lies below the floor. So a row
 * whose fence the floor covers is void exactly if one of its tags was told with a transaction that its fence did not see.
 */
export class TouchMemory {
  private readonly touched = new Map<string, Touched>();
  private readonly patterns = new Map<string, KeyPattern>();
  /** Beginning of memory; `null` before the first answer. */
  private floor: Fence | null = null;
  private latest: { fence: Fence; horizon: number } | null = null;
  /** How many answers were applied. An exchange's number is the value it makes this. */
  private count = 0;
  /** What was told up to this exchange is forgotten: who was last seen to before it counts as touched. */
  private forgottenBy = 0;
  /** Fences of the past, each with the number of the last exchange before it: where the floor can be raised to. */
  private checkpoints: { number: number; fence: Fence }[] = [];
  /** The number of the last exchange that told anything. */
  private lastTold = 0;
  /** The highest transaction told since the last restart. */
  private newest = 0;
  private restarts = 0;
  private sizeAtCheckpoint = 0;
  private watchedAnew = 0;

  /** @param capacity How many tags to remember; beyond it the older ones are forgotten, which raises the floor. */
  constructor(private readonly capacity = 50_000) {}

  /** The fence of the newest answer: the next exchange asks what was touched since. */
  get base(): Fence | null {
    return this.latest?.fence ?? null;
  }

  get horizon(): number {
    return this.latest?.horizon ?? 0;
  }

  /** Number of the last exchange applied. */
  get now(): number {
    return this.count;
  }

  /** Changes whenever what is known about watched tables may hold no longer. */
  get watchChanges(): number {
    return this.watchedAnew;
  }

  /** Changes whenever what was remembered became worthless: another incarnation, or a sleep beyond the horizon. */
  get epoch(): number {
    return this.restarts;
  }

  /**
   * Take an answer in. Runs without interruption, so that touches, base and incarnation always fit together.
   *
   * @param epoch The value of {@link epoch} when the request was sent.
   * @returns `false` if memory was restarted while the exchange was under way: what the answer lists was asked relative
   * to a base that no longer means anything, so its callers must ask again.
   */
  apply(answer: ExchangeAnswer, request: ExchangeRequest, epoch: number): boolean {
    if (epoch !== this.restarts) return false;
    this.count++;
    const { since } = request;
    if (since === null || !this.continues(since, answer)) {
      this.restart(answer);
      return true;
    }
    if (answer.touched === 'everything') {
      this.advance(answer);
      this.forgetAll();
      if (answer.rewatched) this.watchedAnew++;
      return true;
    }
    for (const touch of answer.touched) this.remember(touch);
    this.advance(answer);
    if (this.touched.size > this.capacity) this.trim();
    else if (this.touched.size - this.sizeAtCheckpoint > this.capacity / 8) this.setCheckpoint();
    return true;
  }

  /**
   * Whether an answer goes on from the base it was asked from: the same incarnation, nothing forgotten since, and the
   * server not behind where it was then, as a machine is that was set back to a snapshot of itself.
   */
  private continues(since: Fence, { fence, horizon }: ExchangeAnswer): boolean {
    return since.incarnation === fence.incarnation && since.lo >= horizon && since.hi <= fence.hi;
  }

  /** Judge a stored row by what is known now. `serving` is the fence of the answer that brought it. */
  judge(key: string, proof: Proof, serving: Fence): Verdict {
    const { fence, tags } = proof;
    if (fence.incarnation !== serving.incarnation || fence.lo < this.horizon || fence.hi > serving.hi) return 'void';
    if (!this.remembersSince(fence)) return 'unknown';
    // It saw everything that was ever told.
    if (this.newest < fence.hi && fence.lo === fence.hi) return 'valid';
    for (const tag of tags) if (this.unseen(this.touched.get(tag), fence)) return 'void';
    if (this.unseen(this.touched.get(keyTag(key)), fence)) return 'void';
    for (const [tag, pattern] of this.patterns)
      if (this.unseen(this.touched.get(tag), fence) && matchesAny(pattern, key, tags)) return 'void';
    return 'valid';
  }

  /** Whether a row that is void is so by its data alone: neither it nor a value it was made of was deleted since its fence. */
  isOutdatedOnly(key: string, proof: Proof, serving: Fence): boolean {
    return this.judge(key, { ...proof, tags: keyTagsOf(proof.tags) }, serving) === 'valid';
  }

  /** Whether any of the tags, or the key itself, was told by an exchange after number `since`. */
  touchedAfter(since: number, key: string, tags: readonly string[]): boolean {
    if (!this.anythingAfter(since)) return false;
    if (this.forgottenBy > since) return true;
    for (const tag of tags) if ((this.touched.get(tag)?.by ?? 0) > since) return true;
    if ((this.touched.get(keyTag(key))?.by ?? 0) > since) return true;
    for (const [tag, pattern] of this.patterns)
      if (this.touched.get(tag)!.by > since && matchesAny(pattern, key, tags)) return true;
    return false;
  }

  /** Whether anything at all was told after number `since`. */
  anythingAfter(since: number): boolean {
    return this.lastTold > since;
  }

  private remember({ tag, xid, settled }: Touch): void {
    this.lastTold = this.count;
    this.newest = Math.max(this.newest, xid);
    let known = this.touched.get(tag);
    if (known === undefined) {
      known = { xids: [], newest: 0, settled: 0, by: 0 };
      this.touched.set(tag, known);
      if (tag.startsWith(PATTERN) && tag.length > 1) this.patterns.set(tag, patternFromLike(tag.slice(1)));
    }
    // The same row is told again while an old transaction keeps the base back; only news voids what was computed since.
    if (known.xids.includes(xid) && (!settled || known.settled >= xid)) return;
    if (!known.xids.includes(xid)) known.xids.push(xid);
    known.newest = Math.max(known.newest, xid);
    if (settled) known.settled = Math.max(known.settled, xid);
    known.by = this.count;
    if (tag === WATCHING_TAG) this.watchedAnew++;
    // The same bargain the compactor makes in the log: a settled mark in place of the older transactions.
    if (known.xids.length > MOST_XIDS) {
      known.xids.sort((a, b) => a - b);
      known.settled = Math.max(known.settled, ...known.xids.splice(0, MOST_XIDS / 2));
    }
  }

  /** A fence did not see a told transaction: it lies beyond, was open then, or is settled in place of one that was open. */
  private unseen(told: Touched | undefined, fence: Fence): boolean {
    if (told === undefined) return false;
    if (told.newest >= fence.hi) return true;
    if (fence.lo === fence.hi) return false;
    return told.settled >= fence.lo || told.xids.some((xid) => fence.open.includes(xid));
  }

  /**
   * Whether all that this fence did not see has been, or will be, told since the floor. Comparing as fences, not by
   * `lo` alone, keeps rows judgeable in memory behind one long-running writer.
   */
  private remembersSince(fence: Fence): boolean {
    const floor = this.floor;
    if (floor === null || fence.incarnation !== floor.incarnation || fence.hi < floor.hi) return false;
    return (
      fence.lo >= floor.hi ||
      (fence.lo >= floor.lo && fence.open.every((xid) => xid >= floor.hi || floor.open.includes(xid)))
    );
  }

  private advance({ fence, horizon }: ExchangeAnswer): void {
    // Answers may arrive out of order: the base never moves back.
    if (this.latest === null || isLater(fence, this.latest.fence))
      this.latest = { fence, horizon: Math.max(horizon, this.latest?.horizon ?? 0) };
  }

  /** Forgetting is only sound up to a fence whose successors will all be told: the newest base, or a base of the past. */
  private forgetAll(): void {
    this.touched.clear();
    this.patterns.clear();
    this.checkpoints = [];
    this.sizeAtCheckpoint = 0;
    this.floor = this.latest!.fence;
    this.forgottenBy = this.lastTold = this.count;
  }

  /** Forget what was told longest ago, about half. */
  private trim(): void {
    const middle = this.checkpoints[Math.floor(this.checkpoints.length / 2)];
    if (middle === undefined) return this.forgetAll();
    // Every touch told by then was visible to that fence, so no fence that the new floor covers lacks it.
    for (const [tag, { by }] of this.touched) {
      if (by > middle.number) continue;
      this.touched.delete(tag);
      this.patterns.delete(tag);
    }
    this.floor = middle.fence;
    this.forgottenBy = middle.number;
    this.checkpoints = this.checkpoints.filter(({ number }) => number > middle.number);
    this.sizeAtCheckpoint = this.touched.size;
    if (this.touched.size > this.capacity) this.forgetAll();
  }

  private setCheckpoint(): void {
    this.checkpoints.push({ number: this.count, fence: this.latest!.fence });
    this.sizeAtCheckpoint = this.touched.size;
  }

  private restart({ fence, horizon }: ExchangeAnswer): void {
    this.restarts++;
    this.watchedAnew++;
    this.newest = 0;
    this.latest = { fence, horizon };
    this.forgetAll();
  }
}

/** Whether a pattern of keys means this one, or one that its value was made of. */
function matchesAny(pattern: KeyPattern, key: string, tags: readonly string[]): boolean {
  return pattern.matches(key) || tags.some((tag) => tag.startsWith(KEY) && pattern.matches(tag.slice(KEY.length)));
}
