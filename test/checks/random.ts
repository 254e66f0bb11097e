/** A small seeded generator (mulberry32): the same seed, the same choices. */
export class Random {
  constructor(private state: number) {}

  /** From 0 up to, not including, 1. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/** Picks from 0 to n−1, the smaller the more often: weight 1/(rank+1). */
export class Zipf {
  private readonly cumulated: number[] = [];

  constructor(n: number) {
    let sum = 0;
    for (let rank = 0; rank < n; rank++) this.cumulated.push((sum += 1 / (rank + 1)));
  }

  pick(random: Random): number {
    const at = random.next() * this.cumulated.at(-1)!;
    let low = 0;
    let high = this.cumulated.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.cumulated[middle]! < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
