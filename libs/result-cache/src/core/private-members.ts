// Good enough to drop '#fff' and "issue #12"; a mistake here only costs a declaration or leaves things as they were.
const notCode = /\/\*[^]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\[^]|[^`\\])*`/g;
const privateName = /(\bstatic\s+(?:async\s+|get\s+|set\s+|\*\s*)*)?#([\p{ID_Start}$_][\p{ID_Continue}$]*)/gu;
/** The helpers TypeScript, esbuild, Babel and swc call where they compile private members down to WeakMaps. */
const compiledPrivate = /\b_{1,2}(?:class_?private|private(?:Get|Set|Add|In|Method)\b)/i;

/** Whether a class, by its source, keeps data where no one outside it can read; also where that was compiled to WeakMaps. */
export function hasPrivateMembers(source: string): boolean {
  const code = source.replace(notCode, '');
  if (compiledPrivate.test(code)) return true;
  const ofInstances = new Set<string>();
  const ofClass = new Set<string>();
  for (const [, isStatic, name] of code.matchAll(privateName)) (isStatic ? ofClass : ofInstances).add(name!);
  return [...ofInstances].some((name) => !ofClass.has(name));
}

/** A field, not a method: that is where data can be. */
const privateField = /[{};\n]\s*#[\p{ID_Start}$_][\p{ID_Continue}$]*\s*[=;}\n]/u;

/** Whether instances keep data of their own in private fields; private methods hide none. */
export function hasPrivateFields(source: string): boolean {
  const code = source.replace(notCode, '');
  return privateField.test(code) || compiledPrivate.test(code);
}
