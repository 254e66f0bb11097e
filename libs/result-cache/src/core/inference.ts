import { type DependedRows } from './dependencies.js';

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
