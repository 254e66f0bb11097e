/** What a view's results are called in keys: `v_user` → `users`, `blog.v_category` → `blog.categories`. */
export interface QueryName {
  readonly name: string;
  /** Whether another relation has this name too, by the rule; its keys must then say which one it is. */
  readonly isAmbiguous: boolean;
}

/** The name of a view or table. Only the view in the singular with `v_` in front has its name for itself. */
export function queryNameOf(view: string): QueryName {
  const dot = view.lastIndexOf('.') + 1;
  const schema = view.slice(0, dot);
  const singular = view.slice(dot).replace(/^v_(?=.)/, '');
  const plural = pluralOf(singular);
  return { name: schema + plural, isAmbiguous: view !== `${schema}v_${singularOf(plural)}` };
}

/** The domains that a function's name suggests: `create_user` → `user`, `users`. */
export function domainsOfFunction(name: string): string[] {
  const short = name.slice(name.lastIndexOf('.') + 1).replaceAll('"', '');
  const subject = short.includes('_') ? short.slice(short.indexOf('_') + 1) : short;
  if (subject === '') return [];
  const singular = singularOf(subject);
  return [...new Set([singular, pluralOf(singular)])];
}

function pluralOf(word: string): string {
  if (word.endsWith('s') && !word.endsWith('ss')) return word;
  if (/[^aeiou]y$/.test(word)) return `${word.slice(0, -1)}ies`;
  return /(s|x|z|ch|sh)$/.test(word) ? `${word}es` : `${word}s`;
}

function singularOf(word: string): string {
  if (/[^aeiou]ies$/.test(word)) return `${word.slice(0, -3)}y`;
  if (/(s|x|z|ch|sh)es$/.test(word)) return word.slice(0, -2);
  return /[^s]s$/.test(word) ? word.slice(0, -1) : word;
}
