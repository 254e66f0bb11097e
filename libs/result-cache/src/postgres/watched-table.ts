/** A table whose writes invalidate a domain. */
export interface WatchedTable {
  /** Name as SQL would write it: `users`, `"Users"`, `blog.users`. */
  table: string;
  /** The kind of data it holds: `user`. */
  domain: string;
  /** The column that says whose row it is, if there is one: gives tenant precision. */
  tenantColumn?: string;
  /** Further columns (or groups of them) to tag by, foreign keys say: `[['author_id']]`. The primary key always is one. */
  tagColumns?: string[][];
}

/** A table that somebody wants watched, perhaps not the only one who does. */
export interface WatchRequest extends WatchedTable {
  /** Nobody chose the domain's name: where somebody else did, that one counts. */
  isDefaultDomain?: boolean;
}

/** What the triggers of one table were made for. */
export interface WatchedRelation {
  domain: string;
  tenantColumn: string | null;
  /** The groups of columns whose values are tags, the primary key first. */
  tagColumns: readonly (readonly string[])[];
  /**
   * What row-level security adds to what is read of it: conditions on its own rows, or such that read, or could read, other
   * tables. Absent where it has none.
   */
  guarded?: 'here' | 'elsewhere';
}
