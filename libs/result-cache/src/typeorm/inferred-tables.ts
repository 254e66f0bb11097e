/**
 * The tables behind any SQL text, as `"schema"."table"`; `null` where nobody can tell. Dependency inference is plugged in
 * here; until then what the metadata do not account for is not cached.
 */
export async function tablesOf(sql: string): Promise<readonly string[] | null> {
  void sql;
  return null;
}
