/** PostgreSQL's most arguments of a function. */
const MOST_ARGUMENTS = 100;

/** What a `$1` may stand in without being a parameter: strings, names, comments, dollar quotes. */
const TOKEN = new RegExp(
  [
    String.raw`[eE]'(?:[^'\\]|\\.|'')*'`,
    String.raw`'(?:[^']|'')*'`,
    String.raw`"(?:[^"]|"")*"`,
    String.raw`--[^\n]*`,
    String.raw`/\*(?:[^*/]|\*(?!/)|/(?!\*)|/\*(?:[^*]|\*(?!/))*\*/)*\*/`,
    String.raw`\$([A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$[\s\S]*?\$\1\$`,
    String.raw`[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*`,
    String.raw`\$(\d+)`,
  ].join('|'),
  'g',
);

/**
 * A statement's text with a function's arguments in place of its parameters. A function takes a hundred; where there are
 * more (a long IN list), those of one type share an argument: which value they have says nothing about what is read.
 */
export function asArguments(text: string, types: readonly string[]): { text: string; types: readonly string[] } {
  if (types.length <= MOST_ARGUMENTS) return { text, types };
  const distinct = [...new Set(types)];
  const replaced = text.replace(TOKEN, (token, _tag: string | undefined, number: string | undefined) =>
    number === undefined ? token : `$${distinct.indexOf(types[Number(number) - 1]!) + 1}`,
  );
  return { text: replaced, types: distinct };
}
