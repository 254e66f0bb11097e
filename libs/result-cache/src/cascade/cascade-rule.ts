/** A value that a condition compares a column with; a list means any of them. */
export type ConditionValue = string | number | bigint | boolean | null;

/**
 * A write to rows of one domain counts as a write to others.
 *
 * @example
 * // The posts of an author show the author's name.
 * { source: 'user', cascadeTo: ['post:author:{id}'], columns: ['name'] }
 */
export interface CascadeRule {
  /** The domain whose writes cascade. */
  source: string;
  /**
   * What they count as writes to:
   * - `'post:author:{id}'`: the posts whose `author` (or `author_id`) is the `id` of the written row
   * - `'user:{author_id}'`: the user whose primary key is the `author_id` of the written row
   * - `'post'` or `'post:*'`: any post
   * - `'user:{id}:followers'` or `'@any text {id}'`: the free tag of that text, with the written row's values
   */
  cascadeTo: readonly string[];
  /**
   * Only rows with these values cascade, as they were or as they are: `{ published: true }`. A list means any of them,
   * `null` means that there is no value. Columns may be boolean, integer, uuid, text or enum.
   */
  condition?: Readonly<Record<string, ConditionValue | readonly ConditionValue[]>>;
  /** An UPDATE cascades only where one of these columns changed. INSERT, DELETE and TRUNCATE always do. */
  columns?: readonly string[];
  /** How many levels it may go, this rule being the first. Default: as far as rules lead. */
  maxDepth?: number;
  /** Whose rule it is: rules of other names are left alone. Default `''`. */
  name?: string;
}
