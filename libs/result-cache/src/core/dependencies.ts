/** Column values that name rows of a domain: `{ id: 42 }`, `{ tenant_id: 'acme' }`. */
export type RowValues = Readonly<Record<string, string | number | bigint>>;

/**
 * Rows of a domain with these column values. `true`: nothing else is read with them, so that cascade rules to the domain do
 * not matter. A list: the domains named together with them, where several declarations were put together.
 */
export type DependedRows = readonly [domain: string, values: RowValues, told?: true | readonly string[]];

/** What a value depends on, in the user's words; the database turns them into tags. */
export interface Dependencies {
  /** Kinds of data: anything in them. */
  readonly domains: readonly string[];
  /** Free tags, for data that is not in the database. */
  readonly free: readonly string[];
  /** Rows of a domain with these column values. */
  readonly rows: readonly DependedRows[];
}

/** It depends on nothing. */
export const NO_DEPENDENCIES: Dependencies = { domains: [], free: [], rows: [] };
