import { describe, expect, it } from '@jest/globals';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { tmpdir } from 'node:os';
import { join, posix, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { succeed } from './command.js';
import { manifest } from './project.js';
import { copies, quickStart } from './sources.js';

const repository = fileURLToPath(new URL('../../', import.meta.url));
const source = join(repository, 'libs/result-cache');

const folder = await mkdtemp(join(tmpdir(), 'result-cache-contents-'));
await succeed('tar', ['-xzf', process.env.PACKAGE_TARBALL!], folder);
const root = join(folder, 'package');
const files = list(root);
const texts = new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]));
await rm(folder, { recursive: true, force: true });

/** Paths of all files below a folder, `/` on every system. */
function list(below: string): string[] {
  return readdirSync(below, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(below, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
    .sort();
}

const compiled = files.filter((file) => /\.(js|d\.ts)$/.test(file));

/** What a compiled file imports, statically or not. */
function imports(file: string): string[] {
  return ts.preProcessFile(texts.get(file)!).importedFiles.map(({ fileName }) => fileName);
}

/** What a compiled file imports at its top, and therefore always. */
function staticImports(file: string): string[] {
  return ts
    .createSourceFile(file, texts.get(file)!, ts.ScriptTarget.ESNext)
    .statements.filter((statement) => ts.isImportDeclaration(statement) || ts.isExportDeclaration(statement))
    .flatMap(({ moduleSpecifier }) =>
      moduleSpecifier === undefined ? [] : (moduleSpecifier as ts.StringLiteral).text,
    );
}

const packageOf = (specifier: string) => specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
const isOutside = (specifier: string) => !specifier.startsWith('.') && !isBuiltin(specifier);

/** The packages and files that are loaded, without being asked for, by whoever imports a file. */
function loadedBy(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  for (const specifier of staticImports(file)) {
    if (isOutside(specifier)) seen.add(packageOf(specifier));
    else if (specifier.startsWith('.')) loadedBy(posix.join(posix.dirname(file), specifier), seen);
  }
  return seen;
}

describe('the packed package', () => {
  it('holds what the sources compile to, the SQL, the extension and the documents, and nothing else', () => {
    const sources = list(join(source, 'src')).filter((file) => !file.endsWith('.spec.ts'));
    const expected = sources.flatMap((file) =>
      file.endsWith('.ts') ? [`dist/${file.slice(0, -3)}.js`, `dist/${file.slice(0, -3)}.d.ts`] : [`dist/${file}`],
    );
    const others = files.filter((file) => !file.startsWith('dist/') && !file.startsWith('extension/'));
    expect(files.filter((file) => file.startsWith('dist/'))).toEqual(expected.sort());
    expect(files.filter((file) => file.endsWith('.sql') && file.startsWith('dist/'))).not.toEqual([]);
    expect(others).toEqual(['LICENSE', 'README.md', 'package.json']);
  });

  it('holds the extension: its control file, and the script of the version that this names', () => {
    const control = texts.get('extension/pg_fraiseql_cache.control');
    const version = /^default_version\s*=\s*'([^']+)'/m.exec(control ?? '')?.[1];
    const scripts = files.filter((file) => file.startsWith('extension/') && !file.endsWith('.control'));
    expect(scripts).toContainEqual(expect.stringMatching(`^extension/pg_fraiseql_cache--(.*--)?${version}\\.sql$`));
    expect(scripts.filter((file) => !/^extension\/pg_fraiseql_cache--[\d.-]+\.sql$/.test(file))).toEqual([]);
  });

  it('has every entry point it declares, also for compilers that know no exports', () => {
    const { exports, typesVersions, main, types } = JSON.parse(texts.get('package.json')!) as typeof manifest & {
      typesVersions: { '*': Record<string, string[]> };
      main: string;
      types: string;
    };
    for (const [path, target] of Object.entries(exports)) {
      if (typeof target === 'string') continue;
      // TypeScript takes the first condition that fits.
      expect(Object.keys(target)).toEqual(['types', 'default']);
      for (const file of Object.values(target)) expect(files).toContain(file.slice(2));
      if (path === '.') expect({ types, default: main }).toEqual(target);
      else expect(typesVersions['*'][path.slice(2)]).toEqual([target.types]);
    }
  });

  it('imports only what it depends on', () => {
    const { dependencies, peerDependencies } = manifest;
    const declared = new Set([...Object.keys(dependencies), ...Object.keys(peerDependencies)]);
    const undeclared = compiled.flatMap((file) =>
      imports(file)
        .filter((specifier) => isOutside(specifier) && !declared.has(packageOf(specifier)))
        .map((specifier) => `${file} imports ${specifier}`),
    );
    expect(compiled.some((file) => imports(file).includes('@nestjs/common'))).toBe(true);
    expect(undeclared).toEqual([]);
  });

  it('loads no optional peer with its main entry point', () => {
    const loaded = loadedBy('dist/index.js');
    expect(loaded).toContain('@nestjs/common');
    expect(Object.keys(manifest.peerDependenciesMeta).filter((name) => loaded.has(name))).toEqual([]);
  });

  it('names nothing of the machine it was built on', () => {
    expect(files.filter((file) => texts.get(file)!.includes(repository))).toEqual([]);
    expect(files.filter((file) => texts.get(file)!.includes('sourceMappingURL'))).toEqual([]);
  });
});

describe('the quick start', () => {
  const block = quickStart();

  it('is at most 15 lines beside imports and blank lines', () => {
    const lines = block.split('\n').filter((line) => line !== '' && !line.startsWith('import '));
    expect(lines.length).toBeLessThanOrEqual(15);
  });

  it.each(copies)('is the same in %s', (path) => {
    expect(quickStart(path)).toBe(block);
  });
});
