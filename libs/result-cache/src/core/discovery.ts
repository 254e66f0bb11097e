import { type Computation, type StatementObserver } from './computation.js';
import { type ObservedStatement, type StatementDependencies, type StatementInference } from './inference.js';

/** What to do with what was found. */
export interface Finder {
  readonly inference: StatementInference;
  /** A value depends on these too; keeps it out of the cache if one of their domains is not tracked. */
  found(computation: Computation, what: Pick<StatementDependencies, 'domains' | 'rows'>): Promise<void>;
  /** A value cannot be kept. `why` is for its author, if there is anything to do about it. */
  refused(computation: Computation, why?: string): void;
}

/** Gathers the statements that run while one value is computed, and turns them into its dependencies when it has ended. */
export class Discovery implements StatementObserver {
  private readonly statements: Promise<ObservedStatement>[] = [];
  private ended = false;

  /** @param version The definitions' version known before the first statement ran; `null` if it could not be asked for. */
  constructor(
    readonly computation: Computation,
    private readonly finder: Finder,
    private readonly version: string | null,
  ) {
    computation.pend(() => this.settle());
  }

  observe(statement: Promise<ObservedStatement>): void {
    statement.catch(() => undefined);
    // What is sent after the value was complete is not part of it.
    if (!this.ended) this.statements.push(statement);
  }

  refuse(why?: string): void {
    if (!this.ended) this.finder.refused(this.computation, why);
  }

  private async settle(): Promise<void> {
    this.ended = true;
    const { computation, finder, version, statements } = this;
    if (statements.length === 0 || !computation.isStorable) return;
    if (version === null) return finder.refused(computation);
    try {
      const found = await Promise.all(
        statements.map(async (statement) => finder.inference.dependenciesOf(await statement, version)),
      );
      // Whether the definitions that were looked at now are those that the statements met.
      if ((await finder.inference.version()) !== version) return finder.refused(computation);
      for (const { problem } of found) if (problem !== null) finder.refused(computation, problem);
      const domains = [...new Set(found.flatMap((one) => one.domains))];
      const rows = found.flatMap((one) => one.rows).filter(([domain]) => !domains.includes(domain));
      if (domains.length + rows.length > 0) await finder.found(computation, { domains, rows });
    } catch {
      // It failed, or its session could not be asked, or the database of the cache.
      finder.refused(computation);
    }
  }
}
