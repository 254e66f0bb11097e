import { type Pool } from 'pg';
import { audit } from '../core/audit.js';
import { type Computation } from '../core/computation.js';
import { CacheConfigurationError, CacheError } from '../core/errors.js';
import { LockAudit, lockAudit, observeQueries, observeStatements } from '../postgres/inference/index.js';

/** A cached computation read a table of which it does not say that it depends on it. */
export class UndeclaredDependencyError extends CacheError {}

/** Options of {@link assertDependencies}. */
export interface AssertDependenciesOptions {
  /** Tables that may be read without being declared, as `schema.table`: `['public.migrations']`. */
  ignore?: readonly string[];
}

/** What to look at: an application (or testing module), or pools of a copy of `pg` of their own. */
export type AssertDependenciesTarget = { get: unknown } | { pools: readonly Pick<Pool, 'connect' | 'query'>[] };

/**
 * For tests: from now on every cached value that is computed in this process fails with an {@link UndeclaredDependencyError}
 * if its statements opened a table whose domain it does not name, be it in `domains`, in `rows`, by `'infer'` or through
 * what it reads from the cache. Which tables were opened is asked of PostgreSQL itself (`pg_locks`), so that tables behind
 * views, functions and partitions count. A hit computes
 * nothing and is not looked at: start with an empty cache.
 *
 * @returns how to stop.
 * @throws CacheConfigurationError if it is on already, or the target is none.
 * @example
 * const stop = assertDependencies(app);
 * afterAll(() => stop());
 */
export function assertDependencies(
  target: AssertDependenciesTarget,
  { ignore = [] }: AssertDependenciesOptions = {},
): () => void {
  const pools = (target as { pools?: unknown } | undefined)?.pools;
  if (!Array.isArray(pools) && typeof (target as { get?: unknown } | undefined)?.get !== 'function')
    throw new CacheConfigurationError(
      'assertDependencies: give the application, assertDependencies(app), or pools, assertDependencies({ pools: [pool] })',
    );
  if (lockAudit.current !== null)
    throw new CacheConfigurationError(
      'assertDependencies is on already; call what it returned before calling it again',
    );
  const locks = (lockAudit.current = new LockAudit());
  observeStatements();
  for (const pool of (pools ?? []) as Pick<Pool, 'connect' | 'query'>[]) observeQueries(pool);
  audit.check = (computation) => check(computation, locks, new Set(ignore));
  return () => {
    if (lockAudit.current !== locks) return;
    lockAudit.current = null;
    audit.check = null;
  };
}

function check(computation: Computation, locks: LockAudit, ignored: ReadonlySet<string>): void {
  // What is not kept cannot be stale.
  if (!computation.isStorable) return;
  const { view } = computation.policy;
  const declared = computation.domains;
  for (const { name, domains, suggestion } of locks.opened.get(computation)?.values() ?? []) {
    if (ignored.has(name)) continue;
    const missing = domains.find((domain) => !declared.has(domain));
    if (domains.length === 0)
      throw new UndeclaredDependencyError(
        `${view} read ${name}, which is not watched, so its writes make nothing void: add { table: '${name}', domain: '${suggestion}' } to watch and '${suggestion}' to domains`,
      );
    if (missing !== undefined)
      throw new UndeclaredDependencyError(
        `${view} read ${name}, which feeds the domain '${missing}', and does not declare it: write domains: [${[...declared, missing].map((domain) => `'${domain}'`).join(', ')}], or domains: 'infer'`,
      );
  }
}
