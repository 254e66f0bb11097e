/**
 * Functions of PostgreSQL's own that read what no trigger watches: tables that their text or name arguments name, large
 * objects, sequences, catalogues, files, statistics. Of those that begin with `pg_`, all that are not known to be harmless.
 */
const READERS =
  /^((query|table|schema|database|cursor)_to_xml\w*|ts_stat|ts_rewrite|nextval|currval|lastval|setval|lo_\w+|lo(read|write)|to_reg\w+|regclass|has_\w+_privilege|(sh)?obj_description|col_description|format_type|txid_status|row_security_active|current_query|currtid2|_pg_\w+|brin_\w+|gin_\w+)$/;
const HARMLESS =
  /^pg_(typeof|column_size|backend_pid|sleep\w*|(try_)?advisory\w+|client_encoding|input_\w+|char_to_encoding|encoding_to_char)$/;

/** Whether a function of `pg_catalog` that is not immutable may read what is not among its arguments. */
export function readsElsewhere(name: string): boolean {
  return READERS.test(name) || (name.startsWith('pg_') && !HARMLESS.test(name));
}
