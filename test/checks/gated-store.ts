import { type CacheStore, type ExchangeAnswer, type ExchangeRequest, type Fill, type Proof } from 'nestjs-result-cache';

/** Holds callers until it is opened. */
export class Gate {
  private arrived!: () => void;
  private open!: () => void;
  /** Resolves when somebody waits at the gate. */
  readonly reached = new Promise<void>((resolve) => (this.arrived = resolve));
  private readonly opened = new Promise<void>((resolve) => (this.open = resolve));

  async pass(): Promise<void> {
    this.arrived();
    await this.opened;
  }

  release(): void {
    this.open();
  }
}

/** Told of every request before it is held: where a mutant looks in. */
export const onRequest: ((request: ExchangeRequest) => void)[] = [];

/**
 * A store whose statements can be held, before they are sent or after they were answered: makes an order of events that
 * would be one in a million happen every time.
 */
export class GatedStore {
  private held: { stage: 'send' | 'answer'; matches: (request: ExchangeRequest) => boolean; gate: Gate }[] = [];
  private heldFills: Gate[] = [];

  private constructor(private readonly store: CacheStore) {}

  static over(store: CacheStore): CacheStore & GatedStore {
    const gated = new GatedStore(store);
    return new Proxy(store, {
      get: (target, property) => {
        if (property in gated) return (gated as unknown as Record<PropertyKey, unknown>)[property];
        const value: unknown = Reflect.get(target, property, target);
        return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
      },
    }) as CacheStore & GatedStore;
  }

  /** Hold the next exchange that matches. */
  hold = (stage: 'send' | 'answer', matches: (request: ExchangeRequest) => boolean = () => true): Gate => {
    const gate = new Gate();
    this.held.push({ stage, matches, gate });
    return gate;
  };

  /** Hold the next fill before it is sent. */
  holdFill = (): Gate => {
    const gate = new Gate();
    this.heldFills.push(gate);
    return gate;
  };

  exchange = async (request: ExchangeRequest): Promise<ExchangeAnswer | null> => {
    for (const listener of onRequest) listener(request);
    const index = this.held.findIndex(({ matches }) => matches(request));
    const [hold] = index < 0 ? [] : this.held.splice(index, 1);
    if (hold?.stage === 'send') await hold.gate.pass();
    const answer = await this.store.exchange(request);
    if (hold?.stage === 'answer') await hold.gate.pass();
    return answer;
  };

  fill = async (fills: readonly Fill[]): Promise<ReadonlyMap<string, Proof>> => {
    await this.heldFills.shift()?.pass();
    return this.store.fill(fills);
  };
}
