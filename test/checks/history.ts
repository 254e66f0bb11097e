/** Milliseconds since the machine started: the one clock that all processes of the check share. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** One attempt to write a register. */
export interface Write {
  register: number;
  value: number;
  issued: number;
  /** When the commit was acknowledged; `null` if it was rolled back; `undefined` while nobody knows. */
  acknowledged?: number | null;
}

/** What a read returned for one register. */
export interface Read {
  session: number;
  /** What was asked for: reads of one key must not go back in time. */
  key: number;
  register: number;
  /** The register in either table. */
  a: number;
  b: number;
  began: number;
  ended: number;
}

/**
 * A stretch of the database's life in which nothing that was acknowledged is lost. A restore ends it: then what was
 * written later counts as never written, and the next one begins with what was restored, as writes from long ago.
 */
export interface Timeline {
  /** Reads count that lie within; those that straddle its ends may be answered from either side. */
  from: number;
  until: number;
  writes: readonly Write[];
}

export interface Violation {
  rule: 'stale' | 'from the future' | 'never committed' | 'torn' | 'back in time';
  read: Read;
  /** What was written to the register around then. */
  writes: Write[];
  detail: string;
}

const FIELDS = 7;

/** Millions of reads, compactly. */
export class ReadLog {
  private chunks: Float64Array[] = [];
  private used = Infinity;
  length = 0;

  add({ session, key, register, a, b, began, ended }: Read): void {
    if (this.used + FIELDS > 70_000) {
      this.chunks.push(new Float64Array(70_000));
      this.used = 0;
    }
    const chunk = this.chunks.at(-1)!;
    chunk.set([session, key, register, a, b, began, ended], this.used);
    this.used += FIELDS;
    this.length++;
  }

  *[Symbol.iterator](): Generator<Read> {
    let left = this.length;
    for (const chunk of this.chunks)
      for (let at = 0; at + FIELDS <= chunk.length && left > 0; at += FIELDS, left--) {
        const [session, key, register, a, b, began, ended] = chunk.subarray(at, at + FIELDS) as unknown as [
          number,
          number,
          number,
          number,
          number,
          number,
          number,
        ];
        yield { session, key, register, a, b, began, ended };
      }
  }
}

/** The reads within a timeline. */
export function* during(reads: Iterable<Read>, { from, until }: Timeline): Generator<Read> {
  for (const read of reads) if (read.began >= from && read.ended <= until) yield read;
}

/**
 * Hold reads against writes. Values of a register only grow, and one writer writes it, so what a read may return is an
 * interval: from the newest value acknowledged before it began (less the bound) to the newest issued before it ended.
 */
export function verify(reads: Iterable<Read>, writes: readonly Write[], boundMs: number, most = 20): Violation[] {
  const byRegister = new Map<number, Write[]>();
  for (const write of writes) byRegister.set(write.register, [...(byRegister.get(write.register) ?? []), write]);
  const committed = new Map(
    [...byRegister].map(([register, all]) => [register, all.filter(({ acknowledged }) => acknowledged != null)]),
  );
  const seen = new Map<string, number>();
  const violations: Violation[] = [];

  for (const read of reads) {
    if (violations.length >= most) break;
    const all = byRegister.get(read.register) ?? [];
    const report = (rule: Violation['rule'], detail: string): void => {
      violations.push({ rule, read, detail, writes: all.filter(({ value }) => Math.abs(value - read.a) <= 3) });
    };
    if (read.a !== read.b) report('torn', `table a had ${read.a}, table b ${read.b}`);
    const value = Math.min(read.a, read.b);
    const oldest = newestBefore(committed.get(read.register) ?? [], read.began - boundMs);
    if (value < oldest)
      report(
        'stale',
        `read ${value}, but ${oldest} was acknowledged ${boundMs ? `${boundMs} ms ` : ''}before the read began`,
      );
    const write = value === 0 ? undefined : find(all, value);
    if (value !== 0 && write === undefined) report('from the future', `nobody had written ${value}`);
    if (write && write.issued > read.ended) report('from the future', `${value} was issued after the read ended`);
    if (write?.acknowledged === null) report('never committed', `${value} was rolled back`);
    const key = `${read.session} ${read.key} ${read.register}`;
    const last = seen.get(key) ?? 0;
    if (value < last) report('back in time', `the same session had read ${last} of the same key`);
    seen.set(key, Math.max(last, value));
  }
  return violations;
}

/** The newest value acknowledged before a moment; writes are in the order of their values, and of their commits. */
function newestBefore(committed: readonly Write[], moment: number): number {
  let low = 0;
  let high = committed.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (committed[middle]!.acknowledged! < moment) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? 0 : committed[low - 1]!.value;
}

function find(writes: readonly Write[], value: number): Write | undefined {
  let low = 0;
  let high = writes.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (writes[middle]!.value < value) low = middle + 1;
    else high = middle;
  }
  return writes[low]?.value === value ? writes[low] : undefined;
}
