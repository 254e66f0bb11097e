/**
 * Tags of an entry that depends on one field only, to be declared with it; `CascadeService.invalidateField` makes it void.
 * No write does by itself, unless a rule says so: `{ source: 'post', cascadeTo: ['post:{id}:title'], columns: ['title'] }`.
 *
 * @param id `'*'`: the field of any row.
 * @example
 * cache.getOrSet('title', load, { tags: fieldTags('post', 123, 'title'), ttl: '1h' })
 */
export function fieldTags(domain: string, id: string | number | bigint, field: string): string[] {
  const all = `${domain}:*:${field}`;
  return String(id) === '*' ? [all, `${domain}::${field}`] : [`${domain}:${id}:${field}`, all];
}

/** What to touch when a field changed, of one row or (`'*'`) of any. */
export function touchedFieldTags(domain: string, id: string, field: string): string[] {
  return [`${domain}:${id}:${field}`, `${domain}::${field}`];
}
