import { CacheConfigurationError } from '../core/errors.js';
import { type WatchedTable, type WatchRequest } from './watched-table.js';

/**
 * One request for each table. Two would undo each other's triggers with every start.
 * @param firsts Of each request, the first one for the same table; none for a table that does not exist.
 * @throws CacheConfigurationError where two requests for one table contradict each other.
 */
export function oneRequestEach(
  requests: readonly WatchRequest[],
  firsts: ReadonlyMap<number, number>,
): readonly WatchedTable[] {
  const merged = new Map<number, WatchRequest>();
  for (const [index, request] of requests.entries()) {
    const first = firsts.get(index) ?? index;
    const known = merged.get(first);
    merged.set(first, known === undefined ? request : merge(known, request));
  }
  return [...merged.values()];
}

function merge(a: WatchRequest, b: WatchRequest): WatchRequest {
  if (a.domain !== b.domain && !a.isDefaultDomain && !b.isDefaultDomain)
    throw new CacheConfigurationError(
      `watch: the table ${b.table} is asked for as the domain '${a.domain}' and as '${b.domain}'; a table feeds one domain, give it the same everywhere`,
    );
  if (a.tenantColumn !== undefined && b.tenantColumn !== undefined && a.tenantColumn !== b.tenantColumn)
    throw new CacheConfigurationError(
      `watch: the table ${b.table} is asked for with the tenant column '${a.tenantColumn}' and with '${b.tenantColumn}'; give it the same everywhere`,
    );
  const groups = [...(a.tagColumns ?? []), ...(b.tagColumns ?? [])];
  const tagColumns = [...new Map(groups.map((group) => [JSON.stringify(group), group])).values()];
  return {
    ...(a.isDefaultDomain ? b : a),
    table: a.table,
    tenantColumn: a.tenantColumn ?? b.tenantColumn,
    tagColumns: tagColumns.length > 0 ? tagColumns : undefined,
  };
}
