// The types by name: a project without `esModuleInterop` cannot read a default import out of our declarations.
import pg, { type Pool } from 'pg';
import { Computation, type StatementObserver } from '../../core/computation.js';
import { CacheConfigurationError } from '../../core/errors.js';
import { type ObservedStatement } from '../../core/inference.js';
import { BEGINS, CONTROL, SNAPSHOT } from './control.js';
import { lockAudit, type Callback, type Query } from './lock-audit.js';
import { parseFacts, PROBE } from './session-facts.js';
import { type TextRows } from '../connection.js';

/** The parts of `pg`'s classes that are wrapped. */
interface ClientPrototype {
  query: Query;
}
interface PoolPrototype {
  connect(callback?: (...args: unknown[]) => unknown): unknown;
}

const OBSERVED = Symbol.for('nestjs-result-cache:observed');
const asText = { getTypeParser: () => (value: string) => value };
/** In which computation a client's open transaction was begun. */
const begun = new WeakMap<object, Computation>();
/** Those whose statements were sent on a client, which has still to be asked about its session. */
const unasked = new WeakMap<object, Set<{ observer: StatementObserver }>>();

/** The classes of one copy of `pg`. */
export interface PgClasses {
  Client: { prototype: object };
  Pool?: { prototype: object } | undefined;
}

/**
 * Observe what is sent through `pg`. Costs one look into the async context for each statement outside of computations that
 * infer. All clients of a copy of `pg` are meant, in pools or not: one that was overlooked would be a dependency overlooked.
 */
export function observeStatements({ Client, Pool }: PgClasses = pg): void {
  wrapClient(Client.prototype as ClientPrototype);
  if (Pool !== undefined) wrapPool(Pool.prototype as PoolPrototype);
}

/**
 * Observe a pool of another copy of `pg` than the one this package finds, for `domains: 'infer'`. Pools of the same copy,
 * and those of TypeORM `DataSource`s in the application, are observed anyway.
 *
 * @throws CacheConfigurationError for what is no pool of `pg`.
 * @example observeQueries(pool);
 */
export function observeQueries(pool: Pick<Pool, 'connect' | 'query'>): void {
  const { Client } = pool as { Client?: { prototype?: object } };
  if (typeof Client?.prototype !== 'object' || typeof pool.connect !== 'function')
    throw new CacheConfigurationError(
      'observeQueries: this is no pool of pg, whose statements alone can be observed; give new pg.Pool(…), or name the domains',
    );
  wrapClient(Client.prototype as ClientPrototype);
  wrapPool(pool);
}

function wrapClient(prototype: ClientPrototype): void {
  const query = prototype.query as Query & { [OBSERVED]?: true };
  if (query[OBSERVED] === true) return;
  const wrapped: Query & { [OBSERVED]?: true } = function (...sent) {
    const waiting = unasked.get(this);
    if (waiting !== undefined && waiting.size > 0 && couldChangeSession(sent[0]))
      for (const { observer: each } of waiting)
        each.refuse(
          'a statement that may change the session was sent while one of it was under way on the same client: await each',
        );
    const observer = Computation.observer();
    const auditing = lockAudit.current === null ? undefined : Computation.sending();
    const sendQuery = auditing === undefined ? query : lockAudit.current!.around(this, query, auditing);
    return observer === undefined
      ? sendQuery.apply(this, sent)
      : observed({ client: this, query: sendQuery, ask: query, observer }, sent);
  };
  wrapped[OBSERVED] = true;
  prototype.query = wrapped;
}

/**
 * A pool calls back whoever waits for a client from the context of whoever returned it: the waiter's own is put back. This is
 * also what `pool.query` is made of.
 */
function wrapPool(prototype: PoolPrototype): void {
  const connect = prototype.connect as PoolPrototype['connect'] & { [OBSERVED]?: true };
  if (connect[OBSERVED] === true) return;
  const wrapped: PoolPrototype['connect'] & { [OBSERVED]?: true } = function (this: PoolPrototype, callback) {
    return connect.call(this, typeof callback === 'function' ? Computation.bound(callback) : callback);
  };
  wrapped[OBSERVED] = true;
  prototype.connect = wrapped;
}

interface Sending {
  client: object;
  /** Sends what the application sends. */
  query: Query;
  /** Sends our own. */
  ask: Query;
  observer: StatementObserver;
}

function observed(sending: Sending, sent: unknown[]): unknown {
  const { client, query, observer } = sending;
  const [config] = sent;
  const given = config as { text?: unknown; submit?: unknown; callback?: unknown } | null;
  const text = typeof config === 'string' ? config : given?.text;
  if (typeof given?.submit === 'function' || typeof given?.callback === 'function') {
    observer.refuse(
      'it reads by a cursor, a stream or a query object, which nobody can follow: use client.query(text, values)',
    );
    return query.apply(client, sent);
  }
  if (typeof text === 'string' && CONTROL.test(text)) {
    if (BEGINS.test(text) && !isOpen(client)) begun.set(client, observer.computation);
    if (SNAPSHOT.test(text))
      observer.refuse('it reads what an imported snapshot shows, which may be older than any fence');
    return query.apply(client, sent);
  }
  const list: unknown = Array.isArray(sent[1]) ? sent[1] : (given as { values?: unknown } | null)?.values;
  const parameters: readonly unknown[] = Array.isArray(list) ? list : [];
  const values = [...parameters];
  let answered!: (statement: ObservedStatement | Promise<ObservedStatement>) => void;
  observer.observe(new Promise((resolve) => (answered = resolve)));
  const waiting = unasked.get(client) ?? new Set();
  const sentHere = { observer };
  unasked.set(client, waiting.add(sentHere));
  const ended = (error?: unknown): void => {
    waiting.delete(sentHere);
    answered(
      error || typeof text !== 'string'
        ? Promise.reject(new Error('the statement failed'))
        : probe(sending, text, values.every((value, index) => Object.is(value, parameters[index])) ? values : []),
    );
  };
  const place = sent.findIndex((one, index) => index > 0 && typeof one === 'function');
  try {
    if (place > 0) {
      const callback = sent[place] as Callback;
      const back = Computation.bound((error: Parameters<Callback>[0], result?: unknown) => {
        // First, so that it runs before anything else that changes the session.
        ended(error);
        callback.call(client, error, result);
      });
      return query.apply(client, sent.with(place, back));
    }
    const result = query.apply(client, sent) as Promise<unknown>;
    result.then(() => ended(), ended);
    return result;
  } catch (error) {
    ended(error);
    throw error;
  }
}

/** Whether a transaction is open on a client. One that cannot tell has none: BEGIN would then say so itself, in a notice. */
function isOpen(client: object): boolean {
  const status = (client as { getTransactionStatus?(): string | null }).getTransactionStatus?.();
  return status === 'T' || status === 'E';
}

/** Whether a statement may change what the next one's text means, or whose transaction it runs in. */
function couldChangeSession(config: unknown): boolean {
  const text = typeof config === 'string' ? config : (config as { text?: unknown } | null)?.text;
  return typeof text !== 'string' || !/^\s*(SELECT|WITH|VALUES|TABLE)\b/i.test(text) || /set_config/i.test(text);
}

/** Ask the session itself in what way it read the statement, right behind it. */
async function probe(
  { client, ask, observer: { computation } }: Sending,
  text: string,
  values: readonly unknown[],
): Promise<ObservedStatement> {
  const asking = ask.call(client, { text: PROBE, rowMode: 'array', types: asText }) as Promise<{ rows: TextRows }>;
  const { rows } = await asking;
  const session = parseFacts(rows);
  // To be judged with the rest: by now the value may be complete.
  return {
    text,
    values,
    session: { ...session, isStrangersTransaction: session.inTransaction && begun.get(client) !== computation },
  };
}
