import { describe, expect, it } from '@jest/globals';
import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const repository = fileURLToPath(new URL('../', import.meta.url));
const source = `${repository}libs/result-cache/src/`;
const files = readdirSync(source, { recursive: true, encoding: 'utf8' })
  .map((file) => file.replaceAll('\\', '/'))
  .filter((file) => file.endsWith('.ts') && !file.endsWith('.spec.ts'));

interface Import {
  from: string;
  /** A file of ours, or a package. */
  to: string;
  isType: boolean;
}

const isTypeOnly = (clause: ts.ImportClause): boolean =>
  clause.phaseModifier === ts.SyntaxKind.TypeKeyword ||
  (clause.name === undefined &&
    clause.namedBindings?.kind === ts.SyntaxKind.NamedImports &&
    clause.namedBindings.elements.every((element) => element.isTypeOnly));

function importsOf(file: string): Import[] {
  const found: Import[] = [];
  const add = (specifier: string, isType: boolean): void => {
    const to = specifier.startsWith('.')
      ? posix.join(posix.dirname(file), specifier).replace(/\.js$/, '.ts')
      : specifier;
    found.push({ from: file, to, isType });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier))
      add(node.moduleSpecifier.text, node.importClause !== undefined && isTypeOnly(node.importClause));
    else if (ts.isExportDeclaration(node) && node.moduleSpecifier && ts.isStringLiteral(node.moduleSpecifier))
      add(node.moduleSpecifier.text, node.isTypeOnly);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      for (const specifier of node.arguments) if (ts.isStringLiteral(specifier)) add(specifier.text, false);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, readFileSync(source + file, 'utf8'), ts.ScriptTarget.ESNext));
  return found;
}

const imports = files.flatMap(importsOf);
const roomOf = (file: string): string => (file.includes('/') ? file.slice(0, file.indexOf('/')) : '');

const architecture = readFileSync(`${repository}docs/architecture.md`, 'utf8');

/** The rooms of the architecture page, in its order, and what it says each knows of. */
const [, table = ''] = architecture.split('\n| folder of ');
const listed = [...table.split('\n\n')[0]!.matchAll(/^\| `([^`/]+)\/`.*\|(.*)\|$/gm)].map(([, room, knows]) => ({
  room: room!,
  knows: knows!,
}));
const rooms = listed.map(({ room }) => room);

describe('the rooms of the sources', () => {
  it('are all on the architecture page, and no others', () => {
    expect([...rooms].sort()).toEqual([...new Set(files.map(roomOf))].filter((room) => room !== '').sort());
  });

  it('import from rooms above them only', () => {
    const wrong = imports.filter(
      ({ from, to }) =>
        roomOf(from) !== '' && files.includes(to) && rooms.indexOf(roomOf(to)) > rooms.indexOf(roomOf(from)),
    );
    expect(wrong.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });

  it.each(listed)('know of what the page says: $room', ({ room, knows }) => {
    const known = imports.filter(({ from, to }) => roomOf(from) === room && files.includes(to));
    const found = new Set(known.map(({ to }) => roomOf(to)).filter((other) => other !== room));
    expect(rooms.filter((other) => new RegExp(`\\b${other}\\b`).test(knows))).toEqual(
      rooms.filter((other) => found.has(other)),
    );
  });

  it('leave Nest, TypeORM and GraphQL out of the engine', () => {
    const outside = imports.filter(
      ({ from, to }) =>
        /^(core|postgres)\//.test(from) && /^(@nestjs\/|typeorm|graphql)/.test(to) && !files.includes(to),
    );
    expect(outside).toEqual([]);
  });
});

describe('the files of the sources', () => {
  it('of core are all on the architecture page', () => {
    const [, page = ''] = architecture.split('\n| in `core/` ');
    const names = [...page.split('\n\n')[0]!.matchAll(/^\| ((?:`[\w/-]+`(?:, )?)+) *\|/gm)].flatMap(([, cell]) =>
      [...cell!.matchAll(/`([\w-]+)\/?`/g)].map(([, name]) => name!),
    );
    const found = files.filter((file) => roomOf(file) === 'core' && file !== 'core/index.ts');
    expect(names.sort()).toEqual([...new Set(found.map((file) => file.split('/')[1]!.replace(/\.ts$/, '')))].sort());
  });

  it('load each other in no circle', () => {
    const next = new Map<string, string[]>();
    for (const { from, to, isType } of imports)
      if (!isType && files.includes(to)) next.set(from, [...(next.get(from) ?? []), to]);
    const done = new Set<string>();
    const circles: string[] = [];
    const follow = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(' → '));
      if (done.has(file) || path.includes(file)) return;
      for (const to of next.get(file) ?? []) follow(to, [...path, file]);
      done.add(file);
    };
    for (const file of files) follow(file, []);
    expect(circles).toEqual([]);
  });
});
