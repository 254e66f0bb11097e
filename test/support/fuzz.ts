import { appendFileSync } from 'node:fs';
import fc from 'fast-check';

/**
 * Hold a property in so many random cases. What fails is shown with the seed that finds it again: by
 * `npm run check:fuzz -- --seed`, which runs all properties with a seed of its choice and counts the cases.
 */
export function fuzz<T>(property: fc.IProperty<T>, runs: number): void;
export function fuzz<T>(property: fc.IAsyncProperty<T>, runs: number): Promise<void>;
export function fuzz(property: fc.IRawProperty<unknown>, runs: number): unknown {
  const { FUZZ_SEED: seed, FUZZ_COUNTS: counts } = process.env;
  const count = (): void => {
    if (counts !== undefined) appendFileSync(counts, `${runs}\n`);
  };
  const held: unknown = fc.assert(property, { numRuns: runs, ...(seed === undefined ? {} : { seed: Number(seed) }) });
  return held instanceof Promise ? held.then(count) : count();
}

/** Values that options, arguments and stored data ought not to be, beside any that fast-check makes up. */
export const hostile: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    undefined,
    null,
    true,
    false,
    0,
    -0,
    -1,
    1,
    0.5,
    NaN,
    Infinity,
    2 ** 31,
    2 ** 53,
    1e300,
    0n,
    10n ** 30n,
    '',
    '0',
    '5m',
    '1e9y',
    'strict',
    'ttl',
    'off',
    'required',
    'infer',
    '__proto__',
    'constructor',
    'a\0b',
    '\ud800',
    '"; DROP TABLE users; --',
    'x'.repeat(5_000),
    Symbol('symbol'),
    [],
    [null],
    [[]],
    [['user', { id: 1 }]],
    ['user', 'user'],
    {},
    { named: 'none' },
    { toString: null },
    Object.create(null),
    new Date(NaN),
    new Map([['a', 1]]),
    () => undefined,
    class {},
  ),
  fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true, maxDepth: 2, maxKeys: 3 }),
);

/** An object with some of these keys, or others, each with a value it may have or with anything. */
export function mangled(good: Readonly<Record<string, readonly unknown[]>>): fc.Arbitrary<Record<string, any>> {
  const known = fc
    .constantFrom(...Object.keys(good))
    .chain((key) =>
      fc.tuple(
        fc.constant(key),
        fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...good[key]!) }, { weight: 1, arbitrary: hostile }),
      ),
    );
  const unknown = fc.tuple(fc.constantFrom('__proto__', 'constructor', 'toString', 'tll', 'x'), hostile);
  return fc
    .array(fc.oneof({ weight: 12, arbitrary: known }, { weight: 1, arbitrary: unknown }), { maxLength: 4 })
    .map((entries) => Object.fromEntries(entries));
}
