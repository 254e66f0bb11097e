import { type TextRows } from '../connection.js';
import { statement } from '../sql.js';

/** What of a session decides what a statement's text means in it, and whether its answers may be kept. */
export interface SessionFacts {
  /** Schemas in which names are looked for, in this order. */
  readonly schemas: readonly string[];
  readonly inTransaction: boolean;
  /** It was open before the computation that reads in it. */
  readonly isStrangersTransaction: boolean;
  readonly onReplica: boolean;
  /** Which database, of which run of which server. */
  readonly database: string;
  readonly hasTemporaryTables: boolean;
  readonly hasStandardStrings: boolean;
  /** `pg` sends UTF-8 whatever the session takes it for: in another encoding the server reads another text, and other values. */
  readonly isUtf8: boolean;
}

/** The statement that asks for them. */
export const PROBE = statement('probe');

/** Parse the answer of {@link PROBE}, of values as text. */
export function parseFacts([row]: TextRows): SessionFacts {
  const [schemas, inTransaction, onReplica, database, temporary, strings, encoding] = row as string[];
  return {
    schemas: (JSON.parse(schemas!) as string[]).filter((name) => !name.startsWith('pg_temp_')),
    inTransaction: inTransaction === 'true',
    isStrangersTransaction: false,
    onReplica: onReplica === 'true',
    database: database!,
    hasTemporaryTables: temporary === 'true',
    hasStandardStrings: strings === 'on',
    isUtf8: encoding === 'UTF8',
  };
}
