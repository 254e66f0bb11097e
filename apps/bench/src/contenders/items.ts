import type pg from 'pg';
import { type Environment } from '../environment.js';
import { type KeyedCacheSpec } from './contender.js';

/** A row that is cached, about 1 kB of it. `version` grows by one with every write. */
export interface Item {
  id: number;
  version: number;
  value: unknown;
}

/** A table of items, one for each contender: what one does to its rows must not make the others' caches stale. */
export interface ItemTable {
  name: string;
  pool: pg.Pool;
}

/** One process of an application that reads items through a cache. */
export interface ItemReader {
  read(id: number): Promise<Item>;
  /** What its writers call after the commit; nothing where the database sees to it. */
  invalidate(id: number): Promise<unknown>;
  close(): Promise<void>;
}

export interface ItemReaderSpec {
  name: string;
  /** How old an answer may be by what the contender promises; most promise nothing and are held to 0. */
  maxStalenessMs: number;
  /** Called once for each process. `null`: there is no Redis, and it needs one. */
  open(environment: Environment, table: ItemTable, processes: number): Promise<ItemReader | null>;
}

export async function computeItem({ name, pool }: ItemTable, id: number): Promise<Item> {
  const text = `SELECT id, version, value FROM ${name} WHERE id = $1`;
  const { rows } = await pool.query<Item>({ name: `read ${name}`, text, values: [id] });
  return rows[0]!;
}

/** Items by key through a cache that is told by hand what was written. */
export function itemsThrough({ name, open }: KeyedCacheSpec): ItemReaderSpec {
  return {
    name,
    maxStalenessMs: 0,
    open: async (environment, table, processes) => {
      const cache = await open(environment, processes);
      if (cache === null) return null;
      const key = (id: number): string => `${table.name}:${id}`;
      return {
        read: (id) => cache.getOrSet(key(id), () => computeItem(table, id)),
        invalidate: (id) => cache.invalidate(key(id)),
        close: () => cache.close(),
      };
    },
  };
}
