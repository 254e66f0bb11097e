import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CacheConfigurationError } from '../core/errors.js';
import { isDataSource, type DataSourceShape } from '../entities/shapes.js';

/**
 * The DataSource that a module exports, with its entities read. It is not connected: nothing is asked of a database.
 * @throws CacheConfigurationError where there is none, or more than one.
 */
export async function loadDataSource(file: string): Promise<DataSourceShape> {
  let exported: Record<string, unknown>;
  try {
    exported = (await import(pathToFileURL(resolve(file)).href)) as Record<string, unknown>;
  } catch (error) {
    throw new CacheConfigurationError(
      `--data-source: ${file} cannot be loaded (${(error as Error).message}); give compiled JavaScript, or run it with a loader: NODE_OPTIONS='--import tsx' npx result-cache sql …`,
      { cause: error },
    );
  }
  // What a CommonJS module exports stands under `default` as well.
  const inner = exported.default;
  const candidates = [
    ...Object.values(exported),
    ...(typeof inner === 'object' && inner !== null ? Object.values(inner) : []),
  ];
  const sources = new Set((await Promise.all(candidates)).filter(isUnreadSource));
  if (sources.size !== 1)
    throw new CacheConfigurationError(
      `--data-source: ${file} exports ${sources.size === 0 ? 'no DataSource' : 'more than one DataSource'}; export one: export const dataSource = new DataSource({ … })`,
    );
  const [source] = sources;
  if (source!.options.type !== 'postgres' && source!.options.type !== 'aurora-postgres')
    throw new CacheConfigurationError(
      `--data-source: it is of type '${source!.options.type}'; only tables in PostgreSQL can be watched`,
    );
  // What `initialize()` does once it is connected.
  if (!source!.isInitialized) await source!.buildMetadatas();
  if (source!.entityMetadatas.length === 0)
    throw new CacheConfigurationError('--data-source: it has no entities; list them in its options: entities: [User]');
  return source!;
}

interface UnreadSource extends DataSourceShape {
  buildMetadatas(): Promise<void>;
}

function isUnreadSource(candidate: unknown): candidate is UnreadSource {
  return isDataSource(candidate) && 'buildMetadatas' in candidate;
}
