import { type EntityMetadata } from 'typeorm';
import { UnstorableValueError } from '../core/errors.js';
import { type ClassRegistry } from '../core/values/index.js';

/** Let a registry know the classes of entities and what is embedded in them, so that values of other processes can be revived. */
export function learnClasses(metadatas: Iterable<EntityMetadata>, registry: ClassRegistry): void {
  for (const metadata of metadatas) {
    for (const each of [metadata, ...metadata.childEntityMetadatas]) {
      learn(registry, each.target);
      for (const embedded of each.allEmbeddeds) learn(registry, embedded.type);
    }
  }
}

/** A class that cannot be revived says so when a value holds one. */
function learn(registry: ClassRegistry, target: unknown): void {
  if (typeof target !== 'function') return;
  const prototype: unknown = target.prototype;
  if (typeof prototype !== 'object' || prototype === null || prototype === Object.prototype) return;
  try {
    registry.learn(target as never, prototype);
  } catch (error) {
    if (!(error instanceof UnstorableValueError)) throw error;
  }
}
