import { AsyncLocalStorage } from 'node:async_hooks';
import { type Reply } from './exchange.js';
import { type Session } from './session.js';

/** By session: the answer that the operation began with; `null` where none came. */
const current = new AsyncLocalStorage<ReadonlyMap<Session, Reply | null>>();

/**
 * Work whose computations may use what was read earlier in it, as a DataLoader hands out: they all have the fence that was
 * taken before the work began. Within another one, that one's older fence stands.
 */
export async function withOneFence<T>(session: Session, work: () => Promise<T>): Promise<T> {
  const outer = current.getStore();
  if (outer?.has(session)) return work();
  const reply = await session.ask().catch(() => null);
  return current.run(new Map(outer).set(session, reply), work);
}

/** Work that is no part of any operation around it. */
export function outsideOperations<T>(work: () => T): T {
  return current.run(new Map(), work);
}

/** The answer whose fence counts here; `null` where it could not be had, `undefined` outside of such work. */
export function operationReply(session: Session): Reply | null | undefined {
  return current.getStore()?.get(session);
}
