import { Presets, SingleBar } from 'cli-progress';
import { type SeedProgress } from './database/seed.js';

/** Shows how far the seeding is: a bar on a terminal, a line for every tenth elsewhere (logs, CI). */
export class SeedProgressView {
  private bar: SingleBar | undefined;
  private tenths = 0;

  constructor(private readonly output: NodeJS.WriteStream) {}

  show({ tenant, done, total }: SeedProgress): void {
    if (this.output.isTTY) {
      this.bar ??= this.startBar(total);
      this.bar.update(done, { tenant });
      return;
    }
    const tenths = Math.floor((done / total) * 10);
    if (tenths > this.tenths) this.output.write(`seeding: ${count(done)} of ${count(total)} rows\n`);
    this.tenths = tenths;
  }

  /** Give the terminal back; harmless when nothing was shown. */
  finish(): void {
    this.bar?.stop();
  }

  private startBar(total: number): SingleBar {
    const format = 'seeding {bar} {percentage}% | {value} of {total} rows | {tenant}';
    const bar = new SingleBar({ format, stream: this.output, hideCursor: true }, Presets.shades_classic);
    bar.start(total, 0, { tenant: '' });
    return bar;
  }
}

function count(rows: number): string {
  return rows.toLocaleString('en-US');
}
