/** A contender: something that can be run for a while and says how many operations a second it did. */
export interface Contender {
  name: string;
  run(ms: number): Promise<number>;
}

export interface Measured {
  name: string;
  /** Operations a second, by round, ascending. */
  rates: number[];
  median: number;
}

/**
 * Run contenders in turn, round by round, so that a machine that speeds up or slows down does so for all of them.
 * One round before is not counted.
 */
export async function measure(
  contenders: readonly Contender[],
  rounds: number,
  ms: number,
): Promise<Map<string, Measured>> {
  const rates = new Map<string, number[]>(contenders.map(({ name }) => [name, []]));
  for (let round = -1; round < rounds; round++) {
    for (const { name, run } of contenders) {
      const rate = await run(ms);
      if (round >= 0) rates.get(name)!.push(rate);
    }
  }
  return new Map(
    [...rates].map(([name, all]) => {
      const sorted = [...all].sort((a, b) => a - b);
      return [name, { name, rates: sorted, median: sorted[Math.floor(sorted.length / 2)]! }];
    }),
  );
}

/** Run `operation` in `callers` endless loops for a while. */
export async function hammer(
  callers: number,
  ms: number,
  operation: (caller: number) => Promise<unknown>,
): Promise<number> {
  let done = 0;
  const end = performance.now() + ms;
  const started = performance.now();
  await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      while (performance.now() < end) {
        await operation(caller);
        done++;
      }
    }),
  );
  return (done * 1_000) / (performance.now() - started);
}
