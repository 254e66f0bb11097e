import { CacheConfigurationError, shown } from './errors.js';

/** @throws CacheConfigurationError for an option that does not exist, with the one that was probably meant. */
export function checkKeys(options: object, known: readonly string[], where: string): void {
  if (typeof options !== 'object' || options === null)
    throw new CacheConfigurationError(
      `${where}: ${shown(options)} are no options; write an object: { ${known[0]}: … }`,
    );
  for (const key of Object.keys(options)) {
    if (known.includes(key)) continue;
    const like =
      known.find((name) => name.toLowerCase() === key.toLowerCase()) ??
      known
        .filter((name) => key.length >= 3 && name.toLowerCase().startsWith(key.slice(0, 3).toLowerCase()))
        .sort((a, b) => a.length - b.length)[0];
    throw new CacheConfigurationError(
      `${where}: there is no option '${key}'${like ? `; did you mean '${like}'?` : `; known are ${known.join(', ')}`}`,
    );
  }
}
