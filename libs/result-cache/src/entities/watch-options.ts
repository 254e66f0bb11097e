import { CacheConfigurationError } from '../core/errors.js';
import { checkKeys } from '../core/option-keys.js';

/** An entity: its class, its `EntitySchema`, or its name. */
// eslint-disable-next-line @typescript-eslint/no-unsafe-function-type
export type EntityReference = Function | string | { readonly options: { readonly name: string } };

/** An entity whose table is watched, and what is different about it. */
export interface WatchedEntity {
  entity: EntityReference;
  /** The kind of data. Default: what the table's name suggests, `user` for `users`. */
  domain?: string;
  /** Property or column that says whose row it is; `null` for none. Default: as for the other entities. */
  tenantColumn?: string | null;
  /** Further groups of properties or columns to tag by. Primary key and foreign keys always are. */
  tagColumns?: readonly (readonly string[])[];
}

/** Property or column that says whose row it is: one name for all entities that have it, or a function that tells. */
export type TenantColumn = string | ((entity: any) => string | null | undefined);

/** Options of `CacheModule.forFeature` that have the tables of TypeORM's entities watched. */
export interface EntityWatchOptions {
  /** The entities, or `'all'` of the DataSource. Their junction and closure tables are watched with them. */
  watch: 'all' | readonly (EntityReference | WatchedEntity)[];
  /** Name of the DataSource, as `TypeOrmModule.forRoot({ name })` has it. Default: the only one that knows the entities. */
  dataSource?: string;
  /** Default: the property `tenantId` or the column `tenant_id`, where an entity has one. */
  tenantColumn?: TenantColumn;
}

export const ENTITY_WATCH_KEYS = ['watch', 'dataSource', 'tenantColumn'] as const;

const REMEDY = "write watch: [User, Post], watch: [{ entity: User, domain: 'member' }], or watch: 'all'";

/** @throws CacheConfigurationError with what to write instead */
export function checkEntityWatch({ watch, dataSource, tenantColumn }: EntityWatchOptions, where: string): void {
  if (watch !== 'all' && (!Array.isArray(watch) || watch.length === 0))
    throw new CacheConfigurationError(`${where}: watch is no list of entities; ${REMEDY}`);
  if (dataSource !== undefined && (typeof dataSource !== 'string' || dataSource === ''))
    throw new CacheConfigurationError(
      `${where}: dataSource is no name; write the name that TypeOrmModule.forRoot({ name }) has, or leave it out`,
    );
  if (tenantColumn !== undefined && typeof tenantColumn !== 'function' && !isName(tenantColumn))
    throw new CacheConfigurationError(
      `${where}: tenantColumn is neither a name nor a function; write tenantColumn: 'tenantId'`,
    );
  if (watch === 'all') return;
  for (const [index, item] of (watch as readonly unknown[]).entries()) checkItem(item, `${where}: watch[${index}]`);
}

function checkItem(item: unknown, place: string): void {
  if (item === undefined || item === null)
    throw new CacheConfigurationError(
      `${place} is ${String(item)}, which usually means a circular import; import the entity's own file, or watch it by name: watch: ['User']`,
    );
  if (isReference(item)) return;
  if (typeof item !== 'object' || !('entity' in item))
    throw new CacheConfigurationError(`${place} is no entity; ${REMEDY}`);
  checkKeys(item, ['entity', 'domain', 'tenantColumn', 'tagColumns'], place);
  const { entity, domain, tenantColumn, tagColumns } = item as Record<keyof WatchedEntity, unknown>;
  if (!isReference(entity)) throw new CacheConfigurationError(`${place}: entity is no entity; ${REMEDY}`);
  if (domain !== undefined && !isName(domain))
    throw new CacheConfigurationError(`${place}: domain is no name; write domain: 'member', or leave it out`);
  if (tenantColumn !== undefined && tenantColumn !== null && !isName(tenantColumn))
    throw new CacheConfigurationError(`${place}: tenantColumn is no name; write tenantColumn: 'tenantId', or null`);
  if (tagColumns !== undefined && !isListOf(tagColumns, (group) => isListOf(group, isName)))
    throw new CacheConfigurationError(
      `${place}: tagColumns is no list of column groups; write tagColumns: [['parentId']]`,
    );
}

function isReference(item: unknown): item is EntityReference {
  if (typeof item === 'function' || isName(item)) return true;
  const options = (item as { options?: { name?: unknown } } | null)?.options;
  return typeof options === 'object' && isName(options?.name);
}

/** How an entity is called in messages. */
export function nameOfEntity(entity: EntityReference): string {
  return typeof entity === 'string' ? entity : typeof entity === 'function' ? entity.name : entity.options.name;
}

function isName(value: unknown): boolean {
  return typeof value === 'string' && value !== '';
}

function isListOf(value: unknown, test: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.length > 0 && value.every(test);
}
