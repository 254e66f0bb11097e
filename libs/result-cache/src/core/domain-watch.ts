import { systemClock, type Clock } from './clock.js';
import { type CacheStore, type DomainReport } from './store.js';

/** How long to believe that nothing feeds a domain before looking again. */
const LOOK_AGAIN_MS = 10_000;

/**
 * What the audit of triggers found. A domain whose triggers are missing or disabled is not cached: without them strict
 * would decay to "stale until the TTL" in silence.
 */
export class DomainWatch {
  private report: DomainReport | null = null;
  private lookedAt = -Infinity;
  private looking: Promise<void> | null = null;
  /** How often what was found was forgotten: a look from before that is worth nothing. */
  private forgotten = 0;
  /** The value of {@link changes} from which on it was looked. */
  private asOf = 0;

  constructor(
    private readonly store: CacheStore,
    private readonly onError: (operation: string, error: Error) => void,
    private readonly clock: Clock = systemClock,
    /** Changes whenever somebody has changed what is watched: then what was found holds no longer. */
    private readonly changes: () => number = () => 0,
  ) {}

  /** Whether all of these are known to be tracked, without looking. */
  areGood(domains: readonly string[]): boolean {
    if (this.asOf !== this.changes()) return false;
    for (const domain of domains) if (this.report?.get(domain) !== null) return false;
    return true;
  }

  /** Whether the triggers have been looked at yet; if not, the database cannot be asked. */
  get isKnown(): boolean {
    this.catchUp();
    return this.report !== null;
  }

  /** The first problem among these domains as a sentence, or `null` if all can be cached. */
  async firstProblem(domains: readonly string[]): Promise<string | null> {
    if (this.catchUp()) await this.refresh();
    for (const domain of domains) {
      if (this.report?.get(domain) === null) continue;
      const problem = await this.problem(domain);
      if (problem === undefined)
        return `no watched table feeds the domain '${domain}': add { table, domain: '${domain}' } to watch, or declare tags: ['${domain}'] if its data is not in the database`;
      if (problem !== null)
        return `the domain '${domain}' is not tracked (${problem}): run fraiseql_cache.watch(...) for the table again`;
    }
    return null;
  }

  /** What is wrong with a domain, `null` if nothing, `undefined` if nothing feeds it. */
  async problem(domain: string): Promise<string | null | undefined> {
    this.catchUp();
    if (
      this.report === null ||
      (this.report.get(domain) !== null && this.clock.monotonic() - this.lookedAt > LOOK_AGAIN_MS)
    )
      await this.refresh();
    return this.report === null ? 'the database could not be asked' : this.report.get(domain);
  }

  /** What was found holds no longer: nothing is known to be tracked until somebody has looked again. */
  forget(): void {
    this.report = null;
    this.looking = null;
    this.forgotten++;
  }

  /** Forget what somebody has made void since; returns whether somebody had. */
  private catchUp(): boolean {
    const changes = this.changes();
    if (this.asOf === changes) return false;
    this.forget();
    this.asOf = changes;
    return true;
  }

  /** Look again. An unreachable database changes nothing that is known: its answers decide anyway. */
  async refresh(): Promise<void> {
    const looking = (this.looking ??= this.look().finally(() => {
      if (this.looking === looking) this.looking = null;
    }));
    await looking;
  }

  private async look(): Promise<void> {
    const { forgotten } = this;
    try {
      const report = await this.store.audit();
      if (forgotten !== this.forgotten) return;
      this.report = report;
      this.lookedAt = this.clock.monotonic();
    } catch (error) {
      this.onError('audit', error as Error);
    }
  }
}
