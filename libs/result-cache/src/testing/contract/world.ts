import assert from 'node:assert/strict';
import { NO_DEPENDENCIES, type Dependencies } from '../../core/dependencies.js';
import { type Fence } from '../../core/fence.js';
import { type CacheStore, type Fill, type Proof, type StoredRow, type Touch } from '../../core/store.js';
import { TouchMemory } from '../../core/touch-memory.js';
import { type ContractClient, type StoreHost } from './store-host.js';

/** Sentences of the contract, and what makes them true. */
export type Cases = Record<string, (world: World) => Promise<void>>;

const SCHEMA = `
  CREATE TABLE contract_item (id int PRIMARY KEY, tenant text, owner int, label text);
  CREATE TABLE contract_other (id int PRIMARY KEY);
  INSERT INTO contract_item VALUES (1, 'acme', 10, 'one'), (2, 'globex', 20, 'two');`;

const WATCH = [
  { table: 'contract_item', domain: 'item', tenantColumn: 'tenant', tagColumns: [['owner']] },
  { table: 'contract_other', domain: 'other' },
];

/** Two processes on one store, a database with two watched tables, and somebody who writes to them with plain SQL. */
export class World {
  private counter = 0;
  private readonly clients: ContractClient[] = [];
  private begun: ContractClient[] = [];
  /** What a process that listened from the beginning remembers. */
  private readonly memory = new TouchMemory();

  private constructor(
    readonly host: StoreHost,
    readonly store: CacheStore,
    /** The same store in another process. */
    readonly peer: CacheStore,
    private readonly writer: ContractClient,
  ) {
    this.clients.push(writer);
  }

  static async create(host: StoreHost): Promise<World> {
    const writer = await host.connect();
    await writer.query(SCHEMA);
    const world = new World(host, await host.open(WATCH), await host.open(WATCH), writer);
    await world.settle();
    await world.listen([]);
    return world;
  }

  /** A key that no case has used. */
  key(hint = 'key'): string {
    return `contract:${++this.counter}:${hint}`;
  }

  /** Write as somebody who knows nothing of the cache. */
  async sql(text: string, values?: unknown[]): Promise<any[]> {
    return (await this.writer.query(text, values)).rows;
  }

  /** A transaction of its own, begun and holding an id; rolled back when the case ends, if it has not ended by then. */
  async begin(): Promise<ContractClient & { xid: number }> {
    const client = await this.host.connect();
    this.clients.push(client);
    this.begun.push(client);
    await client.query('BEGIN');
    const { rows } = await client.query('SELECT pg_current_xact_id()::text AS xid');
    return Object.assign(client, { xid: Number((rows as { xid: string }[])[0]!.xid) });
  }

  async endTransactions(): Promise<void> {
    for (const client of this.begun.splice(0)) await client.query('ROLLBACK');
  }

  /** A fence taken now. Whoever listens is up to date then, so that it can judge what is fenced from here on. */
  async fence(): Promise<Fence> {
    return (await this.listen([])).fence;
  }

  /** An exchange that must have an answer. */
  async ask(keys: readonly string[], options: { since?: Fence; prove?: boolean; store?: CacheStore } = {}) {
    const { since = null, prove, store = this.store } = options;
    const answer = await store.exchange({ since, keys, prove });
    assert.ok(answer !== null, 'the store has an incarnation');
    return answer;
  }

  async touchedSince(since: Fence): Promise<readonly Touch[]> {
    const { touched } = await this.ask([], { since });
    assert.notEqual(touched, 'everything');
    return touched as readonly Touch[];
  }

  /** A value on its way into the store, fenced now unless said otherwise. */
  async value(given: Partial<Fill> = {}): Promise<Fill> {
    return {
      key: this.key(),
      json: '"value"',
      types: null,
      fence: given.fence ?? (await this.fence()),
      ttlMs: 3_600_000,
      tags: [],
      dependencies: NO_DEPENDENCIES,
      tenantId: null,
      view: null,
      computeMs: null,
      ...given,
    };
  }

  /** Store a value that depends on something; it must be accepted. */
  async keep(depends: Partial<Dependencies> = {}, given: Partial<Fill> = {}): Promise<{ key: string; proof: Proof }> {
    const fill = await this.value({ ...given, dependencies: { ...NO_DEPENDENCIES, ...depends } });
    const proof = (await this.store.fill([fill])).get(fill.key);
    assert.ok(proof, `the fill of ${fill.key} is accepted`);
    return { key: fill.key, proof };
  }

  async row(key: string): Promise<StoredRow | undefined> {
    return (await this.ask([key])).rows.find((row) => row.key === key);
  }

  /** Nobody may use the entry: neither who listened all the time, nor who has the log prove it. */
  async assertVoid(key: string, when: string): Promise<void> {
    assert.notEqual(await this.remembered(key), 'valid', `a process that listened serves the entry ${when}`);
    assert.equal(await this.proves(key), false, `the log proves the entry ${when}`);
  }

  async assertValid(key: string, when: string): Promise<void> {
    assert.equal(await this.remembered(key), 'valid', `a process that listened does not serve the entry ${when}`);
    assert.equal(await this.proves(key), true, `the log does not prove the entry ${when}`);
  }

  /** Wait until every new snapshot sees all transactions begun so far, so that the log can be trimmed up to here. */
  async quiesce(): Promise<void> {
    const { hi } = await this.fence();
    while ((await this.fence()).lo < hi) await this.sql('SELECT pg_current_xact_id()');
  }

  /** After a new incarnation entries are refused while a transaction from before it runs, anywhere on the server. */
  async settle(): Promise<void> {
    for (;;) {
      const { fence, horizon } = await this.ask([]);
      if (fence.lo >= horizon) return;
    }
  }

  async close(): Promise<void> {
    for (const client of this.clients) await client.end();
  }

  private async listen(keys: readonly string[]) {
    const request = { since: this.memory.base, keys };
    const answer = await this.peer.exchange(request);
    assert.ok(answer !== null);
    assert.equal(this.memory.apply(answer, request, this.memory.epoch), true);
    return answer;
  }

  private async remembered(key: string): Promise<string> {
    const { rows, fence } = await this.listen([key]);
    return rows[0] === undefined ? 'absent' : this.memory.judge(key, rows[0].proof, fence);
  }

  /** As the engine checks what a proving exchange returns. */
  private async proves(key: string): Promise<boolean> {
    const { rows, fence: now, horizon } = await this.ask([key], { prove: true, store: this.peer });
    return rows.some(
      ({ isInvalidated, proof: { fence } }) =>
        !isInvalidated && fence.incarnation === now.incarnation && fence.lo >= horizon && fence.hi <= now.hi,
    );
  }
}
