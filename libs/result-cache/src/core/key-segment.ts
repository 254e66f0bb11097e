import { hash } from 'node:crypto';
import { canonicalText, isPlainObject } from './canonical.js';
import { CacheConfigurationError } from './errors.js';

/** A longer segment keeps its first characters, to be recognised by, and ends in a hash. */
const MAX_SEGMENT = 200;
const SEGMENT_HEAD = 40;

/** 22 characters of base64url: 132 bits. */
const DIGEST_LENGTH = 22;

/** Separators, list commas, pattern stars, our own marks, and all that is not printable ASCII. */
const UNSAFE = /[:,*~%\\]|[^ -~]/;
const UNSAFE_ALL = new RegExp(UNSAFE, 'g');

/** Text in the place of a name that would read as the head of a section, or as another mark. */
const RESERVED_NAME = /^(?:'|$|(?:order|limit|offset)$)/;

/** Text in the place of a value that would read as a number, bigint, date, boolean, null or undefined. */
const RESERVED_VALUE =
  /^(?:'|$|(?:-?(?:\d[\d.]*(?:e[+-]?\d+)?n?|Infinity)|NaN|true|false|null|undefined|Invalid Date|[+-]?\d+-\d\d-\d\dT\d\d)$)/;

/** What a digest is taken over; texts of two domains never meet in one digest. */
type DigestDomain = 'segment' | 'data' | 'tail' | 'arguments' | 'label';

/** 132 bits of SHA-256 in base64url. */
export function digest(domain: DigestDomain, text: string): string {
  return hash('sha256', `${domain}\n${text}`, 'base64url').slice(0, DIGEST_LENGTH);
}

/** A name (of a view, tenant, filter, column, method) as one segment: printable ASCII without `:`, at most 200 bytes. */
export function nameSegment(name: string): string {
  return shorten(RESERVED_NAME.test(name) ? `'${escape(name)}` : escape(name));
}

/**
 * A filter's value. Readable for strings, numbers, booleans, null, dates and lists of these; anything else, and a text
 * over 200 characters, ends in `~` and a hash. One element and none are told from the scalar by a comma, as in `x,`.
 *
 * @throws UnkeyableValueError as {@link canonicalText} does.
 */
export function valueSegment(value: unknown, sortList = false): string {
  if (!Array.isArray(value)) return atom(value);
  if (!isPlainList(value)) return opaque(value);
  const atoms = value.map(atom);
  if (sortList) atoms.sort();
  return shorten(atoms.length > 1 ? atoms.join(',') : `${atoms.join('')},`);
}

/** The filters sorted by name, in code units: the order of a locale would differ between machines. */
export function filterEntries(filters: unknown): [name: string, value: unknown][] {
  if (typeof filters !== 'object' || filters === null || Array.isArray(filters) || !isPlainObject(filters)) {
    throw new CacheConfigurationError(
      'buildKey: `filters` must be a plain object of name and value. Spread an instance: filters: { ...filter }.',
    );
  }
  if (Object.getOwnPropertySymbols(filters).length > 0) {
    throw new CacheConfigurationError(
      'buildKey: `filters` has a property named by a symbol, which a key cannot show. Name it by a string.',
    );
  }
  return Object.entries(filters).sort(([a], [b]) => (a < b ? -1 : 1));
}

function atom(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return shorten(RESERVED_VALUE.test(value) ? `'${escape(value)}` : escape(value));
    case 'bigint':
      return shorten(`${value}n`);
    case 'number':
    case 'boolean':
    case 'undefined':
      return String(value);
    default:
      if (value === null) return 'null';
      return isPlainDate(value) ? dateText(value) : opaque(value);
  }
}

function opaque(value: unknown): string {
  return `~${digest('data', canonicalText(value))}`;
}

function isPlainDate(value: unknown): value is Date {
  return value instanceof Date && Object.getPrototypeOf(value) === Date.prototype && Object.keys(value).length === 0;
}

function dateText(date: Date): string {
  return Number.isNaN(date.getTime()) ? 'Invalid Date' : date.toISOString();
}

/** Only what `atoms` would show in full: no holes, no extra properties, no subclass. */
function isPlainList(list: unknown[]): boolean {
  if (Object.getPrototypeOf(list) !== Array.prototype) return false;
  const keys = Object.keys(list);
  return keys.length === list.length && (list.length === 0 || keys.at(-1) === String(list.length - 1));
}

function shorten(text: string): string {
  return text.length <= MAX_SEGMENT ? text : `${text.slice(0, SEGMENT_HEAD)}~${digest('segment', text)}`;
}

function escape(text: string): string {
  return UNSAFE.test(text) ? text.replace(UNSAFE_ALL, escapeUnit) : text;
}

/** By UTF-16 code unit, so that a lone surrogate survives: `%3A`, `%u20AC`. */
function escapeUnit(unit: string): string {
  const code = unit.charCodeAt(0);
  const hex = code.toString(16).toUpperCase();
  return code < 0x100 ? `%${hex.padStart(2, '0')}` : `%u${hex.padStart(4, '0')}`;
}
