import type pg from 'pg';
import { PostgresCache, transactions, type ExchangeRequest, type StoredRow } from 'nestjs-result-cache';
import { Computation } from '../../libs/result-cache/src/core/computation.js';
import { FillQueue } from '../../libs/result-cache/src/core/fill-queue.js';
import { MemoryTier } from '../../libs/result-cache/src/core/memory-tier.js';
import { Session } from '../../libs/result-cache/src/core/session.js';
import { StaleReads } from '../../libs/result-cache/src/core/stale.js';
import { TouchMemory } from '../../libs/result-cache/src/core/touch-memory.js';

import { onRequest } from './gated-store.js';

/** A known mistake in the place of one rule: the checks must notice each. */
export interface Mutant {
  name: string;
  /** What it does wrong. */
  mistake: string;
  /** Change the process's side. */
  apply?(): void;
  /** Change the database's side, after the installation. */
  prepare?(pool: pg.Pool): Promise<void>;
}

/** The private parts that mutants reach for. */
interface Inside {
  fence: unknown;
  since: number;
  count: number;
  floor: unknown;
  touched: Map<string, { by: number }>;
  checkpoints: { number: number }[];
  entries: { set(key: string, entry: unknown, options: { size: number }): void };
  touches: { now: number };
  statements: { exchange: string };
  waitsForCaller(): boolean;
}

const inside = (object: unknown): Inside => object as Inside;

/** The session of the process under test: the last one made. */
let session: Session;
function watchSessions(): void {
  const of = Session.of.bind(Session);
  Session.of = (...args: Parameters<typeof Session.of>) => (session = of(...args));
}

async function replaceFunction(pool: pg.Pool, name: string, change: (source: string) => string): Promise<void> {
  const { rows } = await pool.query<{ definition: string }>(
    `SELECT pg_get_functiondef(p.oid) AS definition FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
      WHERE n.nspname = 'fraiseql_cache' AND p.proname LIKE $1`,
    [name],
  );
  for (const { definition } of rows) {
    const changed = change(definition);
    if (changed === definition) throw new Error(`the mutant found nothing to change in ${name}`);
    await pool.query(changed);
  }
}

export const mutants: readonly Mutant[] = [
  {
    name: 'fence-after-compute',
    mistake: 'the fence is taken when the computation has ended',
    apply() {
      watchSessions();
      const run = Computation.prototype.run;
      Computation.prototype.run = async function <T>(
        this: Computation,
        work: () => Promise<T>,
        isShareable: (value: T) => boolean,
      ): Promise<T> {
        const value = await run.call(this, work, isShareable as (value: unknown) => boolean);
        inside(this).fence = (await session.ask()).fence;
        inside(this).since = session.touches.now;
        return value as T;
      };
    },
  },
  {
    name: 'fence-at-store',
    mistake: 'the fence is taken when the value is stored',
    apply() {
      watchSessions();
      const add = FillQueue.prototype.add;
      FillQueue.prototype.add = async function (fill) {
        const late = await session.ask().catch(() => null);
        return late === null ? null : add.call(this, { ...fill, fence: late.fence });
      };
    },
  },
  {
    name: 'no-check-at-insert',
    mistake: 'a value enters memory although it was touched while it was computed',
    apply() {
      MemoryTier.prototype.keep = function (key, value, proof, leftMs, bytes) {
        const entry = { value, proof, since: inside(this).touches.now, expiresAt: performance.now() + leftMs };
        inside(this).entries.set(key, entry, { size: bytes });
      };
    },
  },
  {
    name: 'join-without-check',
    mistake: 'a caller joins a computation whatever was touched since it began',
    apply() {
      Computation.prototype.isJoinable = function () {
        return !inside(this).waitsForCaller();
      };
    },
  },
  {
    name: 'max-only-compaction',
    mistake: 'compaction keeps the newest row of a tag without marking it settled',
    prepare: (pool) =>
      replaceFunction(pool, 'compact_log', (source) => source.replace('SET settled = true', 'SET settled = false')),
  },
  {
    name: 'own-transaction',
    mistake: 'what a transaction sees of its own is stored for all',
    apply() {
      transactions.open = () => undefined;
    },
  },
  {
    name: 'no-incarnation-check',
    mistake: 'a reset of the UNLOGGED tables goes unnoticed',
    apply() {
      let actual = '';
      const exchange = PostgresCache.prototype.exchange;
      PostgresCache.prototype.exchange = async function (request) {
        const answer = await exchange.call(this, request);
        if (answer === null) return null;
        actual = answer.fence.incarnation;
        const same = { incarnation: 'same' };
        const rows = answer.rows.map((row) => ({
          ...row,
          proof: { ...row.proof, fence: { ...row.proof.fence, ...same } },
        }));
        return { ...answer, fence: { ...answer.fence, ...same }, horizon: 0, rows };
      };
      const fill = PostgresCache.prototype.fill;
      PostgresCache.prototype.fill = async function (fills) {
        return fill.call(
          this,
          fills.map((one) => ({ ...one, fence: { ...one.fence, incarnation: actual } })),
        );
      };
    },
  },
  {
    name: 'counter-by-sequence',
    mistake: 'writers number their touches from a sequence instead of by transaction',
    async prepare(pool) {
      await pool.query(
        `CREATE SEQUENCE fraiseql_cache.counter; SELECT setval('fraiseql_cache.counter', pg_snapshot_xmax(pg_current_snapshot())::text::bigint)`,
      );
      await replaceFunction(pool, 'touch\\_%\\_%', (source) =>
        source.replace('pg_current_xact_id()::text::bigint', `nextval('fraiseql_cache.counter')`),
      );
      await replaceFunction(pool, 'header', (source) =>
        source.replace(
          'pg_current_snapshot()',
          `(SELECT concat(s.last_value + 1, ':', s.last_value + 1, ':') FROM fraiseql_cache.counter s)`,
        ),
      );
    },
  },
  {
    name: 'numbered-at-dispatch',
    mistake: 'exchanges are numbered when they are sent, not when their answers are applied',
    apply() {
      let sent = 0;
      const numbers = new WeakMap<ExchangeRequest, number>();
      const number = (request: ExchangeRequest): void => {
        if (!numbers.has(request)) numbers.set(request, ++sent);
      };
      onRequest.push(number);
      const exchange = PostgresCache.prototype.exchange;
      PostgresCache.prototype.exchange = function (request) {
        number(request);
        return exchange.call(this, request);
      };
      const apply = TouchMemory.prototype.apply;
      TouchMemory.prototype.apply = function (answer, request, epoch) {
        const before = inside(this).count;
        inside(this).count = (numbers.get(request) ?? before + 1) - 1;
        const applied = apply.call(this, answer, request, epoch);
        inside(this).count = Math.max(before, inside(this).count);
        return applied;
      };
    },
  },
  {
    name: 'value-before-proof',
    mistake: 'the value comes from one statement and its proof from a later one',
    apply() {
      const seen = new Map<string, StoredRow>();
      const exchange = PostgresCache.prototype.exchange;
      PostgresCache.prototype.exchange = async function (request) {
        const answer = await exchange.call(this, request);
        if (answer === null) return null;
        if (!request.prove) for (const row of answer.rows) seen.set(row.key, row);
        else
          return { ...answer, rows: answer.rows.map((row) => ({ ...row, json: seen.get(row.key)?.json ?? row.json })) };
        return answer;
      };
    },
  },
  {
    name: 'same-snapshot',
    mistake: 'an exchange takes every snapshot for the one before, and does not look into the log',
    apply() {
      const exchange = PostgresCache.prototype.exchange;
      PostgresCache.prototype.exchange = function (this: PostgresCache, request: ExchangeRequest) {
        const { statements } = inside(this);
        statements.exchange = statements.exchange.replace(
          'pg_current_snapshot()::text = $1::text',
          '$1::text IS NOT NULL',
        );
        return exchange.call(this, request);
      };
    },
  },
  {
    name: 'floor-not-raised',
    mistake: 'what was told is forgotten without raising the floor',
    apply() {
      const prototype = TouchMemory.prototype as unknown as { trim(): void };
      prototype.trim = function () {
        inside(this).touched.clear();
        inside(this).checkpoints = [];
      };
    },
  },
  {
    name: 'no-horizon',
    mistake: 'a new incarnation trusts transactions that began before it',
    prepare: (pool) =>
      replaceFunction(pool, 'ensure_incarnation', (source) =>
        source.replace('pg_snapshot_xmax(pg_current_snapshot())::text::bigint', '0::bigint'),
      ),
  },
  {
    name: 'unfenced-release',
    mistake: 'a lease is released whoever has it by now',
    prepare: (pool) =>
      replaceFunction(pool, 'release_leases', (source) => source.replace('AND l.number = u.number', '')),
  },
  {
    name: 'lease-outlives-write',
    mistake: 'a lease holds although what its value depends on was touched',
    prepare: (pool) =>
      replaceFunction(pool, 'lease_stands', (source) => source.replace(/AND fraiseql_cache\.untouched\(.*\)/, '')),
  },
  {
    name: 'stale-though-touched',
    mistake: 'what was touched passes for what is only past its TTL',
    apply() {
      const { whileRevalidating } = StaleReads.prototype;
      StaleReads.prototype.whileRevalidating = function <T>(
        this: StaleReads,
        ...[reading, reply]: Parameters<typeof whileRevalidating>
      ): { value: T } | undefined {
        const stale = reply.stale && { ...reply.stale, isInvalidated: false };
        return whileRevalidating.call(this, reading, { ...reply, stale }) as { value: T } | undefined;
      };
    },
  },
  {
    name: 'deleted-is-outdated',
    mistake: 'what was deleted passes for what is only invalidated',
    apply() {
      TouchMemory.prototype.isOutdatedOnly = () => true;
    },
  },
];

export function mutantNamed(name: string | undefined): Mutant | undefined {
  const mutant = mutants.find((candidate) => candidate.name === name);
  if (name !== undefined && mutant === undefined)
    throw new Error(`there is no mutant '${name}'; known are ${mutants.map((one) => one.name).join(', ')}`);
  return mutant;
}
