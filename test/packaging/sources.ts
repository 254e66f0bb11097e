import { existsSync, readFileSync } from 'node:fs';
import { manifest } from './project.js';

const text = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');

/** One of the files in `projects/`. */
export function projectFile(name: string): string {
  return text(`./projects/${name}`);
}

/** The whole application that the quick start shows: its first block of TypeScript. */
export function quickStart(document = '../../docs/quick-start.md'): string {
  const block = /^```ts\n(.*?)^```$/ms.exec(text(document))?.[1];
  if (block === undefined) throw new Error(`${document} has no block of TypeScript`);
  return block;
}

/** What the quick start tells to add to the configuration of jest: its block of JSON. */
export function quickStartJestOptions(): object {
  const block = /^```json\n(.*?)^```$/ms.exec(text('../../docs/quick-start.md'))?.[1];
  return JSON.parse(block ?? 'null') as object;
}

/** Other documents that show the same block; it must be the same. */
export const copies = ['../../README.md', '../../libs/result-cache/README.md'].filter((path) =>
  existsSync(new URL(path, import.meta.url)),
);

/**
 * A file that imports every entry point of the package, so that the compiler resolves each.
 * @param without Those whose peer the project has not got.
 */
export function allEntryPoints(without: readonly string[] = []): string {
  return Object.keys(manifest.exports)
    .filter((path) => path !== './package.json' && !without.includes(path))
    .map((path, index) => `export * as entry${index} from 'nestjs-result-cache${path.slice(1)}';\n`)
    .join('');
}
