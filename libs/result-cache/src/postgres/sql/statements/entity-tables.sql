-- What the names $1 stand for on this connection, and which database it is: the server's run and the database in it.
SELECT t.place::int AS place, n.nspname AS schema, c.relname AS table, c.relkind::text AS kind,
       -- As text, which every driver reads alike.
       (SELECT json_agg(a.attname ORDER BY a.attnum)::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
         WHERE i.indrelid = c.oid AND i.indisprimary) AS key,
       (SELECT d.oid || ' ' || pg_postmaster_start_time() FROM pg_database d WHERE d.datname = current_database()) AS database
  FROM unnest($1::text[]) WITH ORDINALITY AS t (name, place)
  LEFT JOIN pg_class c ON c.oid = to_regclass(t.name)
  LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
 ORDER BY t.place
