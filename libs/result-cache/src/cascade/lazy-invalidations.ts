import { CacheConfigurationError } from '../core/errors.js';
import { jsonText } from '../core/json.js';
import { type ReadTarget } from './target.js';

const MOST_SECONDS = 86_400;

/** Invalidations put off: of one target the earliest counts, and all that are due go in one statement. */
export class LazyInvalidations {
  private readonly waiting = new Map<string, { target: ReadTarget; due: number }>();
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> = Promise.resolve();

  constructor(private readonly run: (targets: ReadTarget[]) => Promise<void>) {}

  /** @throws CacheConfigurationError for a delay that is none. */
  add(target: ReadTarget, delaySeconds: number): void {
    if (typeof delaySeconds !== 'number' || !(delaySeconds >= 0 && delaySeconds <= MOST_SECONDS))
      throw new CacheConfigurationError(
        `cascade: invalidateLazy waits for a number of seconds from 0 to ${MOST_SECONDS}, not ${String(delaySeconds)}; write invalidateLazy('user:123', 5)`,
      );
    const due = performance.now() + delaySeconds * 1000;
    const key = jsonText([target.domain, target.values]);
    const before = this.waiting.get(key);
    if (before !== undefined && before.due <= due) return;
    this.waiting.set(key, { target, due });
    this.schedule();
  }

  get size(): number {
    return this.waiting.size;
  }

  /** Run everything now, whether due or not. */
  async flush(): Promise<void> {
    this.send(Infinity);
    await this.running;
  }

  private schedule(): void {
    clearTimeout(this.timer);
    if (this.waiting.size === 0) return;
    const next = Math.min(...[...this.waiting.values()].map(({ due }) => due));
    this.timer = setTimeout(() => this.send(performance.now()), Math.max(0, next - performance.now())).unref();
  }

  private send(until: number): void {
    const due = [...this.waiting].filter(([, entry]) => entry.due <= until);
    for (const [key] of due) this.waiting.delete(key);
    if (due.length > 0) {
      const targets = due.map(([, { target }]) => target);
      // A failure is the engine's to repeat; the chain goes on.
      this.running = this.running.then(() => this.run(targets)).catch(() => undefined);
    }
    this.schedule();
  }
}
