import { type Computation } from './computation.js';
import { type DependedRows } from './store.js';

/** A statement that ran while a value was computed, and what of its session decides what its text means. */
export interface ObservedStatement {
  readonly text: string;
  /** Those of its parameters `$1`, `$2`, …; none where it is not certain with which it was sent. */
  readonly values: readonly unknown[];
  /** What the store's own inference makes of it. */
  readonly session: unknown;
}

/** What a statement depends on, or why nobody can tell. */
export interface StatementDependencies {
  /** Those of which any row may matter. */
  readonly domains: readonly string[];
  /** Rows of others, where the statement's own conditions tell. */
  readonly rows: readonly DependedRows[];
  /** A sentence that names the culprit; `null` where everything is known. */
  readonly problem: string | null;
}

/** Finds out what statements read. Part of a store, since it takes the database that holds the data. */
export interface StatementInference {
  /** A text that changes with every change of the database's definitions. As of a moment after the call. */
  version(): Promise<string>;
  /** The newest version known without asking. */
  readonly knownVersion: string | null;
  /** Start to observe this process's statements. Called once for each cache that infers; more often does no harm. */
  observe(): void;
  /** What a statement depends on while the definitions are of this version. Rejects if the database cannot be asked. */
  dependenciesOf(statement: ObservedStatement, version: string): Promise<StatementDependencies>;
}

/** What to do with what was found. */
export interface Finder {
  readonly inference: StatementInference;
  /** A value depends on these too; keeps it out of the cache if one of their domains is not tracked. */
  found(computation: Computation, what: Pick<StatementDependencies, 'domains' | 'rows'>): Promise<void>;
  /** A value cannot be kept. `why` is for its author, if there is anything to do about it. */
  refused(computation: Computation, why?: string): void;
}

/** Gathers the statements that run while one value is computed, and turns them into its dependencies when it has ended. */
export class Discovery {
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

  /** A statement was sent; `statement` resolves when it has been answered. */
  observe(statement: Promise<ObservedStatement>): void {
    statement.catch(() => undefined);
    // What is sent after the value was complete is not part of it.
    if (!this.ended) this.statements.push(statement);
  }

  /** Something was read of which nobody can tell what it depends on. */
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
