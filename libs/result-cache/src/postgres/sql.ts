import { readdirSync, readFileSync } from 'node:fs';

const folder = new URL('./sql/', import.meta.url);

export interface Migration {
  name: string;
  sql: string;
}

/** The schema's migrations, oldest first. A released file is never edited: a change is a new file. */
export function migrations(): Migration[] {
  return readdirSync(new URL('migrations/', folder))
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((file) => ({
      name: file.replace(/\.sql$/, ''),
      sql: readFileSync(new URL(`migrations/${file}`, folder), 'utf8'),
    }));
}

/** A statement from `sql/statements`, with `:name` placeholders for identifiers filled in (values stay `$1`). */
export function statement(name: string, identifiers: Readonly<Record<string, string>> = {}): string {
  const text = readFileSync(new URL(`statements/${name}.sql`, folder), 'utf8').replace(/^--.*\n/gm, '');
  return text.replace(/(?<![:\w]):(\w+)/g, (_, placeholder: string) => {
    const identifier = identifiers[placeholder];
    if (identifier === undefined) throw new Error(`${name}.sql names :${placeholder}, which was not given`);
    return identifier;
  });
}

/** Quote an identifier for SQL. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
