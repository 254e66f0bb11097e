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
