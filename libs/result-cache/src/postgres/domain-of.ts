/**
 * The domain that a table's name suggests: `users` and `tb_user` feed `user`. The same as `fraiseql_cache.domain_of` in the
 * database, for those who have none at hand.
 */
export function domainOf(table: string): string {
  const name = table.replace(/^t[bv]_(?=[^])/, '');
  if (/[^aeiou]ies$/.test(name)) return `${name.slice(0, -3)}y`;
  if (/(?:s|x|z|ch|sh)es$/.test(name)) return name.slice(0, -2);
  return /[^s]s$/.test(name) ? name.slice(0, -1) : name;
}
