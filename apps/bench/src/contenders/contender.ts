import { type Environment } from '../environment.js';

/** Something that keeps values by key and gives them back: what people use, and what they would use instead. */
export interface ReadContender {
  /** The value of a key, as the application gets it: parsed, and safe to change. */
  read(key: string): Promise<unknown>;
  close(): Promise<void>;
}

/** How one of them is made; its configuration is its source, as its own documentation advises. */
export interface ReadContenderSpec {
  name: string;
  /** Where a hit is answered from. */
  tier: 'limit' | 'memory' | 'postgres' | 'redis';
  /**
   * Hold these values, so that reading any of them is a hit. `null`: cannot be measured here.
   * @param within How many callers there will be at most.
   */
  open(environment: Environment, values: ReadonlyMap<string, unknown>): Promise<ReadContender | null>;
}
