import { collectOutcomes, type Outcome } from 'nestjs-result-cache';
import { deepStrictEqual } from 'node:assert';

/** One query, both ways. Each does the same work for the same tenant at its n-th call. */
export interface Contest {
  name: string;
  computed: (round: number) => Promise<unknown>;
  cached: (round: number) => Promise<unknown>;
  /** Resolves when what was computed so far is in the cache. */
  stored: () => Promise<void>;
}

/** Medians in milliseconds. */
export interface Comparison {
  name: string;
  computed: number;
  cached: number;
  /** How many times faster the cached one is. */
  ratio: number;
}

/**
 * Time both ways in turn, so that whatever else the machine does meets both, and the one that goes first changes.
 * Warm-up calls are not counted: both ways start with a warm database, a warm cache and compiled code.
 *
 * @throws Error when a "cached" read was no hit, a "computed" one touched the cache, or the two answers differ: then the
 * figures would compare something else.
 */
export async function compare(contest: Contest, rounds: number, warmUps = 6): Promise<Comparison> {
  const times = { computed: [] as number[], cached: [] as number[] };
  for (let round = -warmUps; round < rounds; round++) {
    const ways = round % 2 === 0 ? (['computed', 'cached'] as const) : (['cached', 'computed'] as const);
    const answers = new Map<string, unknown>();
    for (const way of ways) {
      const outcomes: Outcome[] = [];
      const start = performance.now();
      answers.set(way, await collectOutcomes(outcomes, () => contest[way](round + warmUps)));
      const time = performance.now() - start;
      if (round < 0) continue;
      times[way].push(time);
      check(contest.name, way, outcomes);
    }
    deepStrictEqual(
      answers.get('cached'),
      answers.get('computed'),
      `${contest.name}: the cached answer is another one`,
    );
    // Callers do not wait for it; those who come meanwhile share the computation, which is no hit.
    if (round < 0) await contest.stored();
  }
  return comparison(contest.name, times.computed, times.cached);
}

export function comparison(name: string, computedTimes: number[], cachedTimes: number[]): Comparison {
  const computed = median(computedTimes);
  const cached = median(cachedTimes);
  return { name, computed, cached, ratio: computed / cached };
}

/** Columns for a terminal. */
export function table(rows: Comparison[]): string {
  const width = Math.max(...rows.map(({ name }) => name.length));
  const line = (name: string, ...cells: string[]) =>
    name.padEnd(width) + cells.map((cell) => cell.padStart(12)).join('');
  return [
    line('', 'computed', 'cached', 'ratio'),
    ...rows.map((row) => line(row.name, ms(row.computed), ms(row.cached), `${digits(row.ratio)}×`)),
  ].join('\n');
}

function check(name: string, way: string, outcomes: Outcome[]): void {
  const isHonest =
    way === 'cached' ? outcomes.length > 0 && outcomes.every(({ status }) => status === 'hit') : outcomes.length === 0;
  if (!isHonest) throw new Error(`${name}: this is not ${way}: ${JSON.stringify(outcomes)}`);
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)]! + sorted[Math.ceil((sorted.length - 1) / 2)]!) / 2;
}

function ms(value: number): string {
  return `${value.toFixed(2)} ms`;
}

function digits(value: number): string {
  return value < 10 ? value.toFixed(1) : value.toFixed(0);
}
