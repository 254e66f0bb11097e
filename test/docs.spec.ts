import { describe, expect, it } from '@jest/globals';
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
