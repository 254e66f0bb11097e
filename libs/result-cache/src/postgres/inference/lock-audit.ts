import { type Computation } from '../../core/computation.js';
import { BEGINS, CONTROL } from './control.js';

export type Callback = (error: Error | null | undefined, result?: unknown) => void;
/** `query` of a `pg` client, in all its forms. */
export type Query = (this: object, ...sent: unknown[]) => unknown;

/** A table that a computation opened. */
export interface OpenedTable {
  readonly name: string;
  readonly domains: readonly string[];
  readonly suggestion: string;
}

const OPENED = 'SELECT name, domains, suggestion FROM fraiseql_cache.opened_relations()';

/**
 * For tests: has each statement of a computation run in a transaction, and asks that which tables it has opened. Statements
 * on one client wait for each other.
 */
export class LockAudit {
  readonly opened = new WeakMap<Computation, Map<string, OpenedTable>>();
  private readonly tails = new WeakMap<object, Promise<unknown>>();
  private readonly begun = new WeakMap<object, Computation | null>();

  /** `query`, with the audit around it. */
  around(client: object, query: Query, computation: Computation): Query {
    return (...sent) => {
      const [config] = sent;
      const given = config as { text?: unknown; submit?: unknown; callback?: unknown } | null;
      // A query object answers to nobody else.
      if (typeof given?.submit === 'function' || typeof given?.callback === 'function')
        return query.apply(client, sent);
      const text = typeof config === 'string' ? config : given?.text;
      const place = sent.findIndex((one, index) => index > 0 && typeof one === 'function');
      const plain = place > 0 ? sent.toSpliced(place, 1) : sent;
      const send = (...words: unknown[]): Promise<unknown> => query.apply(client, words) as Promise<unknown>;
      const before = this.tails.get(client) ?? Promise.resolve();
      const result = before.then(() => this.send(client, send, plain, String(text), computation));
      this.tails.set(
        client,
        result.catch(() => undefined),
      );
      if (place < 0) return result;
      const callback = sent[place] as Callback;
      result.then(
        (answer) => callback.call(client, null, answer),
        (error: Error) => callback.call(client, error),
      );
      return undefined;
    };
  }

  private async send(
    client: object,
    send: (...words: unknown[]) => Promise<unknown>,
    sent: unknown[],
    text: string,
    computation: Computation,
  ): Promise<unknown> {
    if (CONTROL.test(text)) {
      if (BEGINS.test(text)) this.begun.set(client, computation);
      return send(...sent);
    }
    if ((client as { _txStatus?: unknown })._txStatus === 'T') {
      const result = await send(...sent);
      // Of a transaction that was open before, nobody can tell which tables this statement opened.
      if (this.begun.get(client) === computation) this.note(computation, await send(OPENED));
      return result;
    }
    await send('BEGIN');
    try {
      const result = await send(...sent);
      this.note(computation, await send(OPENED));
      await send('COMMIT');
      return result;
    } catch (error) {
      await send('ROLLBACK');
      throw error;
    }
  }

  private note(computation: Computation, result: unknown): void {
    const tables = this.opened.get(computation) ?? new Map<string, OpenedTable>();
    this.opened.set(computation, tables);
    for (const table of (result as { rows: OpenedTable[] }).rows) tables.set(table.name, table);
  }
}

/** The audit that is on in this process. */
export const lockAudit: { current: LockAudit | null } = { current: null };
