/**
 * What a reader takes *before* it computes: which transactions its snapshot could see.
 *
 * A transaction x is visible to it exactly if `x < hi` and x is not in `open`. `lo` is the oldest transaction that was
 * still running: everything below is visible for certain. Transaction ids are 64-bit in PostgreSQL; as numbers they are
 * exact up to 2^53, which a server doing a million transactions a second reaches after 285 years.
 */
export interface Fence {
  readonly lo: number;
  readonly hi: number;
  /** Transactions between `lo` and `hi` that were still running, ascending. */
  readonly open: readonly number[];
  /** Identity of the UNLOGGED tables' present life; fences of two incarnations cannot be compared. */
  readonly incarnation: string;
}

/** A fence listing more open transactions than this is stored as one that saw none of them. */
export const MAX_OPEN_STORED = 32;

/** Parse `pg_current_snapshot()`'s text, `xmin:xmax:xip,xip`. */
export function parseSnapshot(snapshot: string, incarnation: string): Fence {
  const [lo, hi, open] = snapshot.split(':');
  return { lo: Number(lo), hi: Number(hi), open: open ? open.split(',').map(Number) : [], incarnation };
}

/** The other way round. */
export function snapshotText({ lo, hi, open }: Fence): string {
  return `${lo}:${hi}:${open.join(',')}`;
}

/** Whether a transaction had ended when the fence was taken; what it did, if it committed, is part of what the fence saw. */
export function sees(fence: Fence, xid: number): boolean {
  return xid < fence.hi && !fence.open.includes(xid);
}

/**
 * Whether `a` was taken after `b`. Snapshots of one server are totally ordered: between two of them transactions only
 * start, which raises `hi`, or finish, which raises `lo` or shortens `open`.
 */
export function isLater(a: Fence, b: Fence): boolean {
  if (a.hi !== b.hi) return a.hi > b.hi;
  if (a.lo !== b.lo) return a.lo > b.lo;
  return a.open.length < b.open.length;
}

/** Bound the size of a stored fence. Seeing less than one did is sound: it can only void an entry that is still good. */
export function storable(fence: Fence): Fence {
  return fence.open.length > MAX_OPEN_STORED ? { ...fence, hi: fence.lo, open: [] } : fence;
}
