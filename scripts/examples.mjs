/**
 * Puts the code of tests into the pages that are made of it, so that no page shows what does not run.
 *
 * A page names its spec once, `<!-- examples from: test/seeds/result-caching.spec.ts -->`, and before each code block the
 * test whose body it shows, `<!-- example: Quick Start / Basic Setup -->`, or what of the spec's own code: a class, perhaps
 * with some of its members only, or a constant, `<!-- declaration: Queries.search, streamed -->`.
 *
 * `npm run docs` rewrites the pages; test/docs.spec.ts fails where one differs.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import ts from 'typescript';

const root = new URL('../', import.meta.url);
const read = (path) => readFileSync(new URL(path, root), 'utf8');

/** The bodies of all tests of a spec, by the names of what is around them and their own: `Quick Start / Basic Setup`. */
export function examplesOf(text) {
  const examples = new Map();
  const visit = (node, path) => {
    if (ts.isCallExpression(node) && ts.isIdentifier(node.expression) && node.arguments.length >= 2) {
      const [title, work] = node.arguments;
      const kind = node.expression.text;
      if ((kind === 'describe' || kind === 'it') && ts.isStringLiteralLike(title) && ts.isArrowFunction(work)) {
        const inner = [...path, title.text];
        if (kind === 'it') examples.set(inner.join(' / '), bodyOf(work, text));
        else ts.forEachChild(work.body, (child) => visit(child, inner));
        return;
      }
    }
    ts.forEachChild(node, (child) => visit(child, path));
  };
  visit(ts.createSourceFile('spec.ts', text, ts.ScriptTarget.ESNext, true), []);
  return examples;
}

function bodyOf({ body }, text) {
  const lines = text.slice(body.getStart() + 1, body.end - 1).split('\n');
  const filled = lines.filter((line) => line.trim() !== '');
  const indent = Math.min(...filled.map((line) => /^ */.exec(line)[0].length));
  return lines
    .map((line) => line.slice(indent).trimEnd())
    .join('\n')
    .trim();
}

/** A class, function or constant at the top of a spec; `Queries.search, streamed` is the class with these members only. */
export function declarationOf(text, wanted) {
  const [name, members] = wanted.split('.');
  const source = ts.createSourceFile('spec.ts', text, ts.ScriptTarget.ESNext, true);
  const found = source.statements.find(
    (statement) =>
      statement.name?.text === name ||
      (ts.isVariableStatement(statement) &&
        statement.declarationList.declarations.some((declaration) => declaration.name.getText() === name)),
  );
  if (found === undefined) throw new Error(`there is no '${name}' at the top of the spec`);
  if (members === undefined) return found.getText();
  const chosen = members.split(', ').map((member) => {
    const node = found.members.find((one) => one.name?.getText() === member);
    if (node === undefined) throw new Error(`the class '${name}' has no '${member}'`);
    return text.slice(node.getStart(source, true), node.end);
  });
  return `${text.slice(found.getStart(), found.members.pos)}\n${chosen.join('\n\n')}\n}`;
}

/** A page with its code blocks as its spec has them now. */
export async function withExamples(page, readSpec) {
  const spec = /<!-- examples from: (\S+) -->/.exec(page)?.[1];
  if (spec === undefined) return page;
  const text = readSpec(spec);
  const examples = examplesOf(text);
  // With less indentation more fits into a line, and the formatter looks into the pages too.
  const style = { ...(await resolveConfig(fileURLToPath(new URL('docs/page.md', root)))), parser: 'typescript' };
  let filled = '';
  let end = 0;
  for (const block of page.matchAll(/<!-- (example|declaration): (.+?) -->\n\n```ts\n([\s\S]*?)```\n/g)) {
    const [whole, kind, name, code] = block;
    const body = kind === 'example' ? examples.get(name) : declarationOf(text, name);
    if (body === undefined)
      throw new Error(`${spec} has no test '${name}'; it has: ${[...examples.keys()].join(', ')}`);
    const start = block.index + whole.length - code.length - '```\n'.length;
    filled += page.slice(end, start) + (await format(body, style));
    end = start + code.length;
  }
  return filled + page.slice(end);
}

/** The names of the tests that a page shows, in its order, and those of its spec. */
export function coverage(page, readSpec) {
  const spec = /<!-- examples from: (\S+) -->/.exec(page)?.[1];
  return {
    shown: [...page.matchAll(/<!-- example: (.+?) -->/g)].map(([, name]) => name),
    tested: spec === undefined ? [] : [...examplesOf(readSpec(spec)).keys()],
  };
}

export const pages = () =>
  readdirSync(new URL('docs/', root))
    .filter((name) => name.endsWith('.md'))
    .map((name) => ({ name, text: read(`docs/${name}`) }));

export const readFromRoot = read;

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { name, text } of pages()) {
    const filled = await withExamples(text, read);
    if (filled !== text) writeFileSync(new URL(`docs/${name}`, root), filled);
  }
}
