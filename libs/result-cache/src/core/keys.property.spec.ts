import { inspect, isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { CacheKeyBuilder, MAX_KEY_LENGTH, type MethodKeyParts, type QueryKeyParts } from './keys.js';
import { parsePattern } from './pattern.js';
import { fuzz } from '../../../../test/support/fuzz.js';

/**
 * Injectivity, tested against an equality that shares nothing with the encoding: `isDeepStrictEqual` over inputs reduced
 * by the documented equivalences. Each run looks up every key in all keys seen before, so N inputs check N²/2 pairs.
 */
const keys = new CacheKeyBuilder();
const RUNS = 25_000;

const PIECES = [
  ...[
    ':',
    ',',
    '*',
    '%',
    '\\',
    '~',
    "'",
    '@',
    '/',
    '-',
    '_',
    '.',
    ' ',
    '"',
    '|',
    ';',
    '=',
    '{',
    '}',
    '[',
    ']',
    '(',
    ')',
  ],
  ...[
    '0',
    '1',
    '1',
    '10',
    '-1',
    'a',
    'a',
    'b',
    'n',
    'u',
    '%3A',
    '%2C',
    '%',
    '%u',
    'e+21',
    'true',
    'null',
    'NaN',
    'hole',
  ],
  ...[
    'order',
    'limit',
    'offset',
    'all',
    'db_query',
    'users',
    'ASC',
    '__in',
    '2025-01-01T00',
    ':00:00.000Z',
    'undefined',
  ],
  ...[
    '\0',
    '\n',
    '\ud83d',
    '\ude00',
    '😀',
    'é',
    'e\u0301',
    '\ufffd',
    'x'.repeat(201),
    'x'.repeat(200),
    'new "Map"#map()',
  ],
];
const textOf = (pieces: readonly string[]): fc.Arbitrary<string> =>
  fc.array(fc.constantFrom(...pieces), { maxLength: 3 }).map((chosen) => chosen.join(''));
/** Few pieces meet often, many pieces meet everything. */
const text = fc.oneof(textOf([':', ',', "'", '1', 'a', 'order', 'limit']), textOf(PIECES));
const scalar: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 5, arbitrary: text },
  fc.constantFrom(0, 1, -1, 1.5, 1e21, 10, NaN, Infinity, 0n, 1n, true, false, null, undefined),
  fc.constantFrom<unknown>(new Date(0), new Date(1), new Date(NaN), new Date('2025-01-01T00:00:00Z'), /a/, /a/g),
  fc.constantFrom<unknown>(Buffer.from('a'), Buffer.alloc(0), new Uint8Array([97]), new URL('https://a.example/?a=1')),
);
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    { weight: 4, arbitrary: scalar },
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(text, tie('value'), { maxKeys: 3 }),
    fc.array(tie('value'), { maxLength: 2 }).map((items) => new Set(items)),
    fc.array(fc.tuple(text, tie('value')), { maxLength: 2 }).map((entries) => new Map(entries)),
  ),
}));
const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined });
const name = fc.oneof(fc.constantFrom('users', 'user', 'order', 't1', 'db_query', ''), text);
const query: fc.Arbitrary<QueryKeyParts> = fc.record({
  queryName: name,
  tenantId: optional(name),
  filters: optional(
    fc.dictionary(
      fc.oneof(
        text,
        text.map((column) => `${column}__in`),
      ),
      value,
      { maxKeys: 3 },
    ),
  ),
  orderBy: optional(fc.array(fc.tuple(text, fc.constantFrom('ASC', 'DESC')), { maxLength: 2 })),
  limit: optional(fc.nat(2)),
  offset: optional(fc.nat(2)),
});
const call: fc.Arbitrary<MethodKeyParts> = fc.record({
  name,
  tenantId: optional(name),
  args: fc.array(value, { maxLength: 3 }),
  varyBy: optional(fc.dictionary(text, value, { maxKeys: 2 })),
});

/** Zeros and prototypes do not count. */
function reduced(input: unknown): unknown {
  if (input === 0) return 0;
  if (Array.isArray(input)) return input.map(reduced);
  if (input instanceof Map) return new Map([...input].map(([key, item]) => [reduced(key), reduced(item)]));
  if (input instanceof Set) return new Set([...input].map(reduced));
  if (typeof input !== 'object' || input === null) return input;
  const prototype: unknown = Object.getPrototypeOf(input);
  if (prototype !== null && prototype !== Object.prototype) return input instanceof URL ? ['a URL', input.href] : input;
  return Object.fromEntries(Object.entries(input).map(([key, item]) => [key, reduced(item)]));
}
function reducedQuery(parts: QueryKeyParts): unknown {
  const filters = Object.entries(parts.filters ?? {}).map(([column, item]): [string, unknown] => {
    const sorts = column.endsWith('__in') && Array.isArray(item);
    return [column, sorts ? new Bag(item.map(reduced)) : reduced(item)];
  });
  return { ...parts, filters: new Map(filters), orderBy: parts.orderBy ?? [] };
}
function reducedCall({ args, varyBy, ...rest }: MethodKeyParts): unknown {
  const last = args.findLastIndex((argument) => argument !== undefined);
  return { ...rest, args: args.slice(0, last + 1).map(reduced), varyBy: reduced(varyBy ?? {}) };
}
/** A list whose order does not count but whose repetitions do. */
class Bag {
  constructor(readonly items: readonly unknown[]) {}
}
function sameInput(a: unknown, b: unknown): boolean {
  const [bagsA, bagsB]: [Bag[], Bag[]] = [[], []];
  const withoutBags = (input: unknown, bags: Bag[]): unknown => {
    const { filters, ...rest } = input as { filters?: Map<string, unknown> };
    if (filters === undefined) return rest;
    const sorted = [...filters].sort(([x], [y]) => (x < y ? -1 : 1));
    const shown = sorted.map(([column, item]) =>
      item instanceof Bag ? (bags.push(item), [column, Bag]) : [column, item],
    );
    return { ...rest, shown };
  };
  if (!isDeepStrictEqual(withoutBags(a, bagsA), withoutBags(b, bagsB))) return false;
  return bagsA.every((bag, i) => {
    const others = [...(bagsB[i]?.items ?? [])];
    return (
      bag.items.length === others.length &&
      bag.items.every((item) => {
        const at = others.findIndex((other) => isDeepStrictEqual(item, other));
        return at >= 0 && others.splice(at, 1).length === 1;
      })
    );
  });
}

const CONFUSABLE: ((input: any) => unknown)[] = [
  (input) => spelled(input),
  (input) => [input],
  (input) => ({ 0: input }),
  (input) => (typeof input === 'string' ? `'${input}` : null),
  (input) => (typeof input === 'string' ? Number(input) : undefined),
  (input) => (typeof input === 'string' ? input.split(',') : `${spelled(input)}n`),
  (input) => (typeof input === 'string' ? input.normalize('NFC') : `~${spelled(input)}`),
  (input) =>
    typeof input === 'string' ? input.replace(/\W/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`) : '',
  (input) => (Array.isArray(input) ? [...input].reverse() : input),
  (input) => (Array.isArray(input) ? input.map(spelled).join(',') : input),
  (input) => (Array.isArray(input) ? new Set(input) : input),
  (input) => (Array.isArray(input) ? { ...input } : input),
  (input) => (isRecord(input) ? Object.fromEntries(Object.entries(input).reverse()) : input),
  (input) => (isRecord(input) ? Object.assign(Object.create(null) as object, input) : input),
  (input) => (isRecord(input) ? { ...input, a: undefined } : input),
  (input) => (isRecord(input) ? new Map(Object.entries(input)) : input),
  (input) =>
    isRecord(input) || Array.isArray(input) ? JSON.stringify(input, (_, item: unknown) => spelled(item)) : input,
  (input) => (input instanceof Date && !Number.isNaN(input.getTime()) ? input.toISOString() : input),
];
function isRecord(input: unknown): input is Record<string, unknown> {
  return typeof input === 'object' && input !== null && [Object.prototype, null].includes(Object.getPrototypeOf(input));
}
/** Objects of the arbitraries may have no toString, or one of their own. */
function spelled(input: unknown): string {
  return typeof input === 'string' ? input : inspect(input);
}
/** Changes the input in one place, chosen by `seed`, into something that looks much the same. */
function confused(input: unknown, seed: number): unknown {
  const next = Math.floor(seed / 7);
  if (seed % 7 > 1 && Array.isArray(input) && input.length > 0) {
    return input.with(next % input.length, confused(input[next % input.length], next));
  }
  if (seed % 7 > 1 && isRecord(input) && Object.keys(input).length > 0) {
    const entries = Object.entries(input);
    const at = entries[next % entries.length] as [string, unknown];
    return { ...input, [at[0]]: confused(at[1], next) };
  }
  return CONFUSABLE[next % CONFUSABLE.length]?.(input);
}
const seed = fc.nat();

function neverShares<T>(
  inputs: fc.Arbitrary<[T, T]>,
  keyOf: (input: T) => string,
  reduce: (input: T) => unknown,
): number {
  const seen = new Map<string, unknown>();
  let differing = 0;
  fuzz(
    fc.property(inputs, ([one, two]) => {
      const [keyOne, keyTwo] = [keyOf(one), keyOf(two)];
      const [reducedOne, reducedTwo] = [reduce(one), reduce(two)];
      const same = sameInput(reducedOne, reducedTwo);
      if ((keyOne === keyTwo) !== same)
        throw new Error(`${same ? 'two keys for' : 'one key for'} two inputs: ${keyOne} ${keyTwo}`);
      if (!same) differing++;
      for (const [key, input] of [
        [keyOne, reducedOne],
        [keyTwo, reducedTwo],
      ] as const) {
        // prettier-ignore
        if (key.length > MAX_KEY_LENGTH || !/^[!-~][ -~]*$/.test(key)) throw new Error(`not a valid key: ${key}`);
        if (!seen.has(key)) seen.set(key, input);
        else if (!sameInput(seen.get(key), input)) throw new Error(`one key for two inputs of different runs: ${key}`);
      }
    }),
    RUNS,
  );
  return differing;
}

describe('keys are injective', () => {
  it('for queries, in near misses', () => {
    const pairs = fc.tuple(query, seed, fc.boolean()).map(([parts, s, value]): [QueryKeyParts, QueryKeyParts] => {
      if (value) return [parts, { ...parts, filters: confused(parts.filters ?? {}, s) as Record<string, unknown> }];
      return [parts, nearQuery(parts, s)];
    });
    const valid = pairs.map(([a, b]): [QueryKeyParts, QueryKeyParts] => [
      a,
      b.filters === undefined || isRecord(b.filters) ? b : a,
    ]);
    expect(neverShares(valid, (parts) => keys.buildKey(parts), reducedQuery)).toBeGreaterThan(RUNS / 2);
  });

  it('for queries, in unrelated pairs', () => {
    expect(neverShares(fc.tuple(query, query), (parts) => keys.buildKey(parts), reducedQuery)).toBeGreaterThan(
      RUNS / 2,
    );
  });

  it('for method calls, in near misses', () => {
    const pairs = fc.tuple(call, seed).map(([parts, s]): [MethodKeyParts, MethodKeyParts] => {
      const args = confused(parts.args, s);
      return [parts, { ...parts, args: Array.isArray(args) ? args : [args] }];
    });
    expect(neverShares(pairs, (parts) => keys.buildMethodKey(parts), reducedCall)).toBeGreaterThan(RUNS / 2);
  });

  it('for method calls, in unrelated pairs', () => {
    expect(neverShares(fc.tuple(call, call), (parts) => keys.buildMethodKey(parts), reducedCall)).toBeGreaterThan(
      RUNS / 2,
    );
  });
});

/** Moves text across the borders of a query's parts. */
function nearQuery(parts: QueryKeyParts, s: number): QueryKeyParts {
  const { queryName, tenantId, filters = {}, orderBy = [] } = parts;
  const moved: QueryKeyParts[] = [
    { ...parts, tenantId: queryName, queryName: tenantId ?? '' },
    { ...parts, tenantId: undefined, queryName: `${tenantId ?? ''}:${queryName}` },
    { ...parts, tenantId: queryName, queryName: 'order', filters: Object.fromEntries(orderBy), orderBy: undefined },
    { ...parts, filters: { ...filters, limit: parts.limit }, limit: undefined },
    { ...parts, filters: { ...filters, order: orderBy.flat().join(':') }, orderBy: undefined },
    { ...parts, orderBy: [...orderBy, ['limit', 'ASC']] },
    { ...parts, limit: parts.offset, offset: parts.limit },
    { ...parts, filters: Object.fromEntries(Object.entries(filters).reverse()) },
    { ...parts, filters: { [Object.entries(filters).flat().map(spelled).join(':')]: '' } },
  ];
  return moved[s % moved.length] ?? parts;
}

describe('keys are contained', () => {
  it('in the prefix of their own tenant and of no other', () => {
    const differing = fc.tuple(query, call, name, name);
    fuzz(
      fc.property(differing, ([parts, method, tenantA, tenantB]) => {
        for (const tenantId of [tenantA, undefined]) {
          for (const key of [
            keys.buildKey({ ...parts, tenantId }),
            keys.buildMethodKey({ ...method, tenantId }),
            keys.buildMutationPattern(parts.queryName, { tenantId }),
          ]) {
            if (key.startsWith(keys.tenantPrefix(tenantB)) !== (tenantId === tenantB))
              throw new Error(`${key} ${tenantB}`);
          }
        }
      }),
      5_000,
    );
  });

  it('in the pattern of their own view and of no other', () => {
    fuzz(
      fc.property(query, name, optional(name), (parts, view, tenantId) => {
        const own = parsePattern(keys.buildMutationPattern(parts.queryName, { tenantId: parts.tenantId }));
        const other = parsePattern(keys.buildMutationPattern(view, { tenantId }));
        const key = keys.buildKey(parts);
        if (!own.matches(key)) throw new Error(`${key} escapes ${own.like}`);
        const same = view === parts.queryName && tenantId === parts.tenantId;
        if (other.matches(key) !== same) throw new Error(`${key} ${other.like}`);
      }),
      5_000,
    );
  });
});

describe('patterns', () => {
  it('match in memory what LIKE matches', () => {
    const piece = fc.array(fc.constantFrom('a', 'b', '%', '_', '\\', '*', '\\*', '\\\\', '\n', '😀'), { maxLength: 6 });
    fuzz(
      fc.property(piece, piece, (pattern, key) => {
        const { like, matches, prefix } = parsePattern(pattern.join(''));
        const candidates = [key.join(''), prefix, prefix + key.join(''), like.replaceAll('%', ''), pattern.join('')];
        for (const candidate of candidates)
          expect([candidate, matches(candidate)]).toEqual([candidate, likeOf(like).test(candidate)]);
      }),
      5_000,
    );
  });
});

/** LIKE as PostgreSQL's manual defines it. */
function likeOf(like: string): RegExp {
  const source = like.replace(/\\([^])|%|_|[^]/gu, (token: string, escaped: string | undefined) => {
    if (token === '%') return '[^]*';
    if (token === '_') return '[^]';
    return (escaped ?? token).replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
  });
  return new RegExp(`^${source}$`, 'u');
}
