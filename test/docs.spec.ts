import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { type ComputeOptions, type TenancyOptions, type ValueOptions } from 'nestjs-result-cache';
import {
  type CacheMetricsExtras,
  type CacheMetricsOptions,
} from '../libs/result-cache/src/metrics/cache-metrics.module-definition.js';
import { RULE_KEYS } from '../libs/result-cache/src/cascade/compile-rules.js';
import { AUTO_CASCADE_KEYS } from '../libs/result-cache/src/cascade/setup-auto-cascade-rules.js';
import { BREAKER_KEYS } from '../libs/result-cache/src/core/circuit-breaker.js';
import { CACHE_RESULT_KEYS } from '../libs/result-cache/src/decorators/cache-result-options.js';
import { ENTITY_WATCH_KEYS } from '../libs/result-cache/src/entities/watch-options.js';
import { HEALTH_DEFAULTS } from '../libs/result-cache/src/health/health-options.js';
import { LEASE_KEYS } from '../libs/result-cache/src/core/lease-options.js';
import { RENEWAL_KEYS, type RenewalOptions } from '../libs/result-cache/src/core/renewal-options.js';
import { APPLICATION_KEYS, CACHE_KEYS, MEMORY_KEYS, WATCH_KEYS } from '../libs/result-cache/src/module/options.js';
import { ASYNC_KEYS } from '../libs/result-cache/src/module/registration.js';
import { FIND_KEYS, SOURCE_KEYS } from '../libs/result-cache/src/repository/cached-repository.js';
import { READ_KEYS } from '../libs/result-cache/src/typeorm/read-options.js';
import { REPOSITORY_KEYS } from '../libs/result-cache/src/typeorm/typeorm-cache.module.js';
import { coverage, declarationOf, examplesOf, pages, readFromRoot, withExamples } from '../scripts/examples.mjs';

describe('pages made of tests', () => {
  const made = pages().filter(({ text }) => text.includes('<!-- examples from: '));

  it.each(made.map(({ name, text }) => [name, text]))('%s shows the code that runs', async (_, text) => {
    // `npm run docs` brings it up to date.
    expect(await withExamples(text, readFromRoot)).toBe(text);
  });

  it.each(made.map(({ name, text }) => [name, text]))('%s leaves out no example of its spec', (_, text) => {
    const { shown, tested } = coverage(text, readFromRoot);
    expect([...shown].sort()).toEqual([...tested].sort());
  });

  it('name tests that exist', async () => {
    const page = '<!-- examples from: a.spec.ts -->\n<!-- example: one / gone -->\n\n```ts\n```\n';
    await expect(withExamples(page, () => "describe('one', () => { it('two', () => {}); });")).rejects.toThrow(
      "no test 'one / gone'",
    );
  });

  it('get classes, some of their members, and constants', () => {
    const spec = '@Injectable()\nclass A {\n  /** One. */\n  one() {}\n  two = 2;\n}\nconst b = 1;';
    expect(declarationOf(spec, 'A')).toBe(spec.split('\nconst')[0]);
    expect(declarationOf(spec, 'A.one')).toBe('@Injectable()\nclass A {\n/** One. */\n  one() {}\n}');
    expect(declarationOf(spec, 'b')).toBe('const b = 1;');
    expect(() => declarationOf(spec, 'A.three')).toThrow("the class 'A' has no 'three'");
    expect(() => declarationOf(spec, 'C')).toThrow("there is no 'C'");
  });

  it('get the body of a test without its indentation', () => {
    const spec =
      "describe('one', () => {\n  it('two', async () => {\n    if (a) {\n      b();\n    }\n\n    c();\n  });\n});";
    expect(examplesOf(spec)).toEqual(new Map([['one / two', 'if (a) {\n  b();\n}\n\nc();']]));
  });
});

/** Where nothing checks the keys at run time, the type does here. */
const GET_OR_SET: Record<Exclude<keyof (ValueOptions & ComputeOptions), keyof RenewalOptions>, 0> = {
  ...{ ttl: 0, domains: 0, tags: 0, rows: 0, untracked: 0, discovers: 0, freshness: 0, lease: 0 },
  ...{ view: 0, classes: 0, tenant: 0, within: 0 },
};
const TENANCY: Record<keyof Extract<TenancyOptions, object>, 0> = { mode: 0, resolver: 0, setting: 0, knownTenant: 0 };
const METRICS: Record<keyof (CacheMetricsOptions & CacheMetricsExtras), 0> = {
  ...{ registry: 0, prefix: 0, tenantLabel: 0, maxLabelValues: 0, maxAge: 0, timeout: 0, defaultMetrics: 0, path: 0 },
};

/** These stand in a table of their own, for all places that take them. */
const withoutRenewal = (keys: readonly string[]): string[] =>
  keys.filter((key) => !(RENEWAL_KEYS as readonly string[]).includes(key));

describe('every option stands in its table', () => {
  it.each<[page: string, heading: string, keys: readonly string[]]>([
    ['options.md', 'For the application', APPLICATION_KEYS],
    ['options.md', 'For each cache', withoutRenewal(CACHE_KEYS)],
    ['options.md', 'memory', MEMORY_KEYS],
    ['options.md', 'lease', LEASE_KEYS],
    ['options.md', 'breaker', BREAKER_KEYS],
    ['options.md', 'Renewal', RENEWAL_KEYS],
    ['options.md', 'watch', WATCH_KEYS],
    ['options.md', 'tenancy', Object.keys(TENANCY)],
    ['options.md', 'CacheModule.forRootAsync', ASYNC_KEYS],
    ['options.md', 'CacheModule.forFeature', ['name', ...ENTITY_WATCH_KEYS]],
    ['options.md', '@CacheResult', withoutRenewal(CACHE_RESULT_KEYS)],
    ['options.md', 'CacheService.getOrSet', Object.keys(GET_OR_SET)],
    ['options.md', 'TypeOrmCacheModule.forFeature', REPOSITORY_KEYS],
    ['options.md', 'CachedEntityRepository', READ_KEYS],
    ['options.md', 'CachedRepository', SOURCE_KEYS],
    ['options.md', 'find', FIND_KEYS],
    ['options.md', 'CacheHealthModule', Object.keys(HEALTH_DEFAULTS)],
    ['options.md', 'CacheMetricsModule', Object.keys(METRICS)],
    ['cascade.md', 'What a rule says', RULE_KEYS],
    ['cascade.md', 'Rules that are found', AUTO_CASCADE_KEYS],
  ])('%s, under "%s"', (page, heading, keys) => {
    const section = readFromRoot(`docs/${page}`)
      .split(/^#+ /m)
      .find((text) => text.startsWith(`${heading}\n`))!;
    // The first table of the section whose head is "option".
    const [, table = ''] = /^\| option .*\n\|[ -|]*\n((?:\|.*\n)*)/m.exec(section) ?? [];
    const listed = [...table.matchAll(/^\| (.*?) +\|/gm)].flatMap(([, cell]) =>
      [...cell!.matchAll(/`(\w+)`/g)].map(([, name]) => name),
    );
    expect(listed.sort()).toEqual([...keys].sort());
  });
});

const docs = new URL('../docs/', import.meta.url);
const slug = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, '')
    .replaceAll(' ', '-');

it.each([{ name: '../README.md', text: readFromRoot('README.md') }, ...pages()])(
  'every link of $name leads somewhere',
  ({ name, text }) => {
    const broken = [...text.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)/g)].filter(([, path, anchor]) => {
      const file = new URL(path === '' ? name : path!, new URL(name, docs));
      if (!existsSync(file)) return true;
      const headings = () =>
        [...readFileSync(file, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, heading]) => slug(heading!));
      return anchor !== undefined && !headings().includes(anchor);
    });
    expect(broken.map(([link]) => link)).toEqual([]);
  },
);

describe('every row of the failure modes', () => {
  const rows = readFromRoot('docs/failure-modes.md')
    .split('\n')
    .filter((line) => line.startsWith('| ') && !/^\| (-|when )/.test(line));

  it.each(rows.map((row) => [row.split('|')[1]!.trim(), row]))('(%s) leads to tests that exist', (_, row) => {
    const links = [...row.matchAll(/\[([^\]]+)\]\(\.\.\/([^)]+)\)/g)];
    expect(links).not.toEqual([]);
    for (const [, name, file] of links) expect(testsIn(readFromRoot(file!))).toContain(name);
  });
});

/** Names of tests in a spec, and of the cases in a list of them. */
function testsIn(source: string): string[] {
  const names = /(?:\b(?:it|test)(?:\.each\([^]*?\))?\(\s*|\bname: )(['"`])(.*?)\1/g;
  return [...source.matchAll(names)].map(([, , name]) => name!);
}

it('every page stands among the guides of the README', () => {
  const [, guides = ''] = readFromRoot('README.md').split('## Guides');
  const missing = pages().filter(({ name }) => !guides.includes(`(docs/${name})`));
  expect(missing.map(({ name }) => name)).toEqual([]);
});
