import { type Redis } from 'ioredis';
import type pg from 'pg';
import { type Paid, type Size } from './question.js';

/** What all strategies share. */
export interface Workbench {
  postgresUrl: string;
  pool: pg.Pool;
  /** `null` where there is none. */
  redis: Redis | null;
  size: Size;
  /** A table of sales that nobody put anything on. */
  plain: string;
  /** The answer of now, for a cache to keep; counted. */
  compute(table: string, customer: number): Promise<Paid>;
}

/** A way to answer the question faster than by asking it, or just by asking it. */
export interface Strategy {
  name: string;
  /** Its table of sales. */
  table: string;
  /** The answer for a customer, as an application gets it: parsed. */
  read(customer: number): Promise<Paid>;
  /** What a writer who knows of the strategy does after a change of a customer's sales. By default nothing. */
  afterWrite?(customer: number): Promise<unknown>;
  close?(): Promise<void>;
}
