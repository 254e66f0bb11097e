import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
// Instead of `import.meta`, which would be the one thing here that jest cannot turn into CommonJS, as most tests of Nest 11 are.
import folder from './sql/folder.cjs';

export interface Migration {
  name: string;
  sql: string;
}

/** The schema's migrations, oldest first. A released file is never edited: a change is a new file. */
export function migrations(): Migration[] {
  return readdirSync(join(folder, 'migrations'))
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((file) => ({
      name: file.replace(/\.sql$/, ''),
      sql: readFileSync(join(folder, 'migrations', file), 'utf8'),
    }));
}

/** A statement from `sql/statements`, with `:name` placeholders for identifiers filled in (values stay `$1`). */
export function statement(name: string, identifiers: Readonly<Record<string, string>> = {}): string {
  const text = readFileSync(join(folder, 'statements', `${name}.sql`), 'utf8').replace(/^--.*\n/gm, '');
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

/** Quote a text for SQL, with `standard_conforming_strings` on. */
export function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
