/** A version of the extension and the migrations it added. */
export interface Release {
  version: string;
  /** Name of the last migration it holds. Left out in the newest release, which takes all that remain. */
  upTo?: string;
}

export interface Migration {
  name: string;
  sql: string;
}

/** Releases so far, oldest first. */
export const releases: readonly Release[];

/**
 * The extension's scripts by file name: one that installs the oldest release, and one per later release that updates
 * from the one before it. `CREATE EXTENSION` runs as many of them as it needs.
 * @throws Error where a release names a migration that does not exist.
 */
export function extensionScripts(
  releases?: readonly Release[],
  migrations?: readonly Migration[],
): Record<string, string>;

/**
 * Write the scripts into a folder, and the control file if it is not there.
 * Each file appears whole: somebody may be running CREATE EXTENSION at this moment.
 */
export function writeExtension(directory: string | URL, scripts?: Record<string, string>): Promise<void>;
