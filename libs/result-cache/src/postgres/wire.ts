import { type Dependencies } from '../core/dependencies.js';
import { parseSnapshot } from '../core/fence.js';
import { jsonText } from '../core/json.js';
import { WATCHING_TAG, type ExchangeAnswer, type Proof, type StoredRow, type Touch } from '../core/store.js';
import { type TextRows } from './connection.js';

/** An exchange that would list more touches than this says "everything" instead. */
export const MOST_TOUCHES = 1_000;

/** What `exchange.sql` and `prove.sql` return: a row without a key that holds the header, then the rows asked for. */
export function parseAnswer(rows: TextRows): ExchangeAnswer | null {
  let header: string | null = null;
  const found: StoredRow[] = [];
  for (const [key, proof, types, json, isInvalidated] of rows)
    if (key === null) header = proof!;
    else addRow(found, key!, proof!, types ?? null, json!, isInvalidated === 't');
  if (header === null) return null;
  const lines = header.split('\n');
  const [snapshot, incarnation, horizon, now] = lines[0]!.split(' ');
  const touched = lines.slice(1).map(parseTouch);
  return {
    fence: parseSnapshot(snapshot!, incarnation!),
    horizon: Number(horizon),
    now: Number(now),
    rewatched: touched.some(({ tag }) => tag === WATCHING_TAG),
    touched: touched.length > MOST_TOUCHES ? 'everything' : touched,
    rows: found,
  };
}

/** `123 tag`, or `123+tag` for a settled one. */
function parseTouch(line: string): Touch {
  const end = /[ +]/.exec(line)!.index;
  return { xid: Number(line.slice(0, end)), settled: line[end] === '+', tag: line.slice(end + 1) };
}

/** Rows that other versions or other hands wrote are not there, as far as this one is concerned. */
function addRow(
  rows: StoredRow[],
  key: string,
  proofText: string,
  types: string | null,
  json: string,
  isInvalidated: boolean,
): void {
  try {
    const row = { key, proof: parseProof(proofText), proofText, json, types };
    rows.push(isInvalidated ? { ...row, isInvalidated } : row);
  } catch {
    // Not there.
  }
}

/** The one column that holds fence, times and tags of an entry. @throws TypeError or SyntaxError for anything else */
export function parseProof(text: string): Proof {
  const [lo, hi, open, incarnation, expiresAt, cachedAt, computeMs, tags] = JSON.parse(text) as [
    number,
    number,
    number[],
    string,
    number,
    number,
    number | null,
    string[],
  ];
  const isOne =
    Number.isSafeInteger(lo) &&
    Number.isSafeInteger(hi) &&
    Array.isArray(open) &&
    open.every(Number.isSafeInteger) &&
    typeof incarnation === 'string' &&
    Number.isFinite(expiresAt) &&
    Number.isFinite(cachedAt) &&
    (computeMs === null || Number.isFinite(computeMs)) &&
    Array.isArray(tags) &&
    tags.every(isText);
  if (!isOne) throw new TypeError('not a proof');
  return { fence: { lo, hi, open, incarnation }, expiresAt, cachedAt, computeMs, tags };
}

const isText = (value: unknown): boolean => typeof value === 'string';

/** Dependencies as `fraiseql_cache.dependency_tags` and `invalidate` read them; `null` where there are none. */
export function specText({ domains, free, rows }: Dependencies): string | null {
  if (domains.length === 0 && free.length === 0 && rows.length === 0) return null;
  const json = jsonText({ domains, free, rows });
  // PostgreSQL rejects NUL and halves of surrogate pairs, and an invalidation that fails is tried again for ever. With one
  // substitute on both sides a tag stands for a few more texts: too much may become void, never too little.
  return json.replace(/\\(?:u(?:0000|d[89a-f][\da-f]{2})|.)/g, (escape) => (escape.length === 6 ? '\\ufffd' : escape));
}

/** A `text[]` as text. */
export function arrayLiteral(values: readonly string[]): string {
  return `{${values.map((value) => `"${value.replace(/["\\]/g, '\\$&')}"`).join(',')}}`;
}
