import type pg from 'pg';

/** Everything that an installation leaves in a database, as text that two databases can be compared by. */
export async function catalogue(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<{ text: string }>(`
    SELECT pg_get_functiondef(p.oid) AS text FROM pg_proc p WHERE p.pronamespace = 'fraiseql_cache'::regnamespace
    UNION ALL
    SELECT format('%s %s %s (%s) %s', c.relkind, c.relpersistence, c.oid::regclass,
             (SELECT string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attcollation::regcollation), ', ' ORDER BY a.attnum)
                FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0),
             CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) WHEN 'i' THEN pg_get_indexdef(c.oid) END)
      FROM pg_class c WHERE c.relnamespace = 'fraiseql_cache'::regnamespace
    UNION ALL
    SELECT format('%s %s', c.conrelid::regclass, pg_get_constraintdef(c.oid)) FROM pg_constraint c WHERE c.connamespace = 'fraiseql_cache'::regnamespace
    UNION ALL
    SELECT format('%s %s', pg_get_triggerdef(t.oid), t.tgenabled) FROM pg_trigger t WHERE NOT t.tgisinternal
    UNION ALL SELECT 'migration ' || name FROM fraiseql_cache.migration
    UNION ALL SELECT 'cache ' || c::text FROM fraiseql_cache.caches c
    UNION ALL SELECT 'watched ' || w::text FROM fraiseql_cache.watched w
    ORDER BY 1`);
  return rows.map(({ text }) => text);
}

/** Which catalogue rows are whose: any DDL, were it only replacing a function by itself, writes some of them anew. */
export async function catalogueRows(pool: pg.Pool): Promise<unknown[]> {
  const { rows } = await pool.query(`
    SELECT 'function' AS kind, oid, xmin::text FROM pg_proc WHERE pronamespace = 'fraiseql_cache'::regnamespace
    UNION ALL SELECT 'relation', oid, NULL FROM pg_class WHERE relnamespace = 'fraiseql_cache'::regnamespace
    UNION ALL SELECT 'trigger', oid, xmin::text FROM pg_trigger
    UNION ALL SELECT 'watched', id, xmin::text FROM fraiseql_cache.watched
    UNION ALL SELECT 'cache', id, xmin::text FROM fraiseql_cache.caches
    ORDER BY 1, 2`);
  return rows as unknown[];
}
