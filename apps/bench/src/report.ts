import { cpus } from 'node:os';
import { type Measured } from './rounds.js';
import { met, type Target } from './targets.js';

export interface Row {
  name: string;
  /** Operations a second; `null` where it was not measured. */
  median: number | null;
  low?: number;
  high?: number;
  why?: string;
  /** What else was counted, by the name of its column. */
  columns?: Readonly<Record<string, number>>;
}

export interface Table {
  title: string;
  unit: string;
  rows: Row[];
}

/** What `bench-results.json` holds. */
export interface Results {
  machine: { cores: number; node: string };
  quick: boolean;
  targets: (Target & { met: boolean | null })[];
  tables: Table[];
}

/** Everything that was measured, printed as it comes and kept for `bench-results.json`. */
export class Report {
  private readonly tables: Table[] = [];
  private readonly targets: Target[] = [];

  /** A table of contenders, fastest first; the ratio is to the fastest. `columns`: what else was counted, by contender. */
  rates(
    title: string,
    measured: ReadonlyMap<string, Measured>,
    columns: ReadonlyMap<string, Readonly<Record<string, number>>> = new Map(),
  ): void {
    const rows = [...measured.values()]
      .map(({ name, median, rates }): Row => {
        const row: Row = { name, median, low: rates[0]!, high: rates.at(-1)! };
        const further = columns.get(name);
        return further === undefined ? row : { ...row, columns: further };
      })
      .sort((a, b) => b.median! - a.median!);
    this.table(title, 'operations/s').push(...rows);
    console.log(`\n${title}`);
    const best = rows[0]?.median ?? 1;
    for (const { name, median, low, high, columns: further = {} } of rows) {
      const counted = Object.entries(further).map(([column, value]) => `; ${column}: ${thousands(value)}`);
      console.log(
        `  ${(median! / best).toFixed(3)}  ${name.padEnd(44)} ${thousands(median!).padStart(10)}/s  (${thousands(low!)}–${thousands(high!)})${counted.join('')}`,
      );
    }
  }

  /** Any other figure. */
  figure(title: string, unit: string, name: string, value: number): void {
    this.table(title, unit).push({ name, median: value });
    console.log(`  ${name.padEnd(60)} ${value.toPrecision(4)} ${unit}`);
  }

  notMeasured(title: string, name: string, why: string): void {
    this.table(title, 'operations/s').push({ name, median: null, why });
    console.log(`  not measured: ${name} (${why})`);
  }

  add(targets: readonly Target[]): void {
    this.targets.push(...targets);
  }

  get isMet(): boolean {
    return this.targets.every((target) => met(target) !== false);
  }

  /** Every figure and every target. */
  results(quick: boolean): Results {
    const { targets, tables } = this;
    const machine = { cores: cpus().length, node: process.version };
    return { machine, quick, targets: targets.map((target) => ({ ...target, met: met(target) })), tables };
  }

  printTargets(): void {
    console.log('');
    for (const target of this.targets) {
      const { what, goal, measured, atLeast } = target;
      const verdict = { true: 'met   ', false: 'MISSED', null: 'no row' }[
        String(met(target)) as 'true' | 'false' | 'null'
      ];
      const value = measured === null ? 'not measured' : measured.toFixed(2);
      console.log(`${verdict}  ${value.padStart(12)}  ${atLeast ? '≥' : '≤'} ${String(goal).padEnd(6)} ${what}`);
    }
  }

  private table(title: string, unit: string): Row[] {
    let table = this.tables.find((known) => known.title === title);
    if (table === undefined) this.tables.push((table = { title, unit, rows: [] }));
    return table.rows;
  }
}

function thousands(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}
