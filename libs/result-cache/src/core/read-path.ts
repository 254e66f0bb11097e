import { audit } from './audit.js';
import { type Clock } from './clock.js';
import { Computation } from './computation.js';
import { type Dependencies } from './dependencies.js';
import { Discovery, type Finder } from './discovery.js';
import { UndecodableValueError, UnstorableValueError } from './errors.js';
import { type Reply } from './exchange.js';
import { Lease, Visit, type Leases } from './leases.js';
import { type MemoryHit, type MemoryTier } from './memory-tier.js';
import { operationReply } from './operation.js';
import { type Tier } from './outcome.js';
import { tooManyTags, type Policy } from './policy.js';
import { type Recorder } from './recorder.js';
import { type Session } from './session.js';
import { StaleReads } from './stale.js';
import { type Proof, type StoredRow } from './store.js';
import { keyTag } from './touch-memory.js';
import { transactions } from './transactions.js';
import { decodeValue, encodeValue, type EncodedValue } from './values/index.js';

/** A value found in a tier. */
export interface Found<T> {
  value: T;
  proof: Proof;
  tier: Tier;
  /** Milliseconds it may still be served. */
  leftMs: number;
}

/** One read: what for, and since when. */
interface Reading {
  key: string;
  policy: Policy;
  view: string;
  tenantId: string | undefined;
  /** Monotonic milliseconds. */
  started: number;
  /** Its waiting for other processes, once it has begun. */
  visit?: Visit;
  /** The same among the moments of {@link Detours}. */
  moment: number;
}

/** Why a read passes by the cache. */
type Bypass = 'ttl' | 'untracked' | 'transaction' | 'unavailable' | 'unstorable' | 'declined';

/** The way of one read: memory, exchange, a computation under way, a computation of its own. */
export class ReadPath {
  private readonly stale: StaleReads;

  constructor(
    private readonly session: Session,
    private readonly memory: MemoryTier | null,
    private readonly recorder: Recorder,
    private readonly clock: Clock,
    private readonly maxValueBytes: number,
    private readonly maxTags: number,
    /** Whether domains must be tracked to be cached. */
    private readonly tracks: boolean,
    private readonly random: () => number,
  ) {
    const decode = (row: StoredRow, policy: Policy): { value: unknown } | undefined => this.decoded(row, policy);
    this.stale = new StaleReads({ touches: session.touches, memory, recorder, clock, decode });
  }

  /** The value of a key, or `undefined`. */
  async find<T>(key: string, policy: Policy, view: string, tenantId?: string): Promise<Found<T> | undefined> {
    this.guardTenant(view, tenantId);
    if (transactions.open() !== undefined) {
      this.passBy(policy, 'transaction');
      return undefined;
    }
    const reading = this.reading(key, policy, view, tenantId);
    const { found, reply } = await this.lookup<T>(reading);
    if (found !== undefined) {
      this.hit(reading, found);
      return found;
    }
    // A computation that finds nothing here would not be told when somebody sets it.
    Computation.current()?.spoil();
    if (reply === null) this.recorder.bypassed(view, 'unavailable');
    else this.recorder.miss(reading);
    return undefined;
  }

  /** The value of a key, computed and stored if there is none. */
  readThrough<T>(key: string, compute: () => Promise<T>, policy: Policy, tenantId?: string): Promise<T> {
    // Nothing older than its fence may enter a value being computed, and a transaction sees what is its own.
    const isPlain =
      policy.renewal === null &&
      this.isTracked(policy) &&
      !this.session.isInDebt &&
      Computation.current() === undefined &&
      transactions.open() === undefined;
    if (!isPlain) return this.readOn(key, compute, policy, tenantId);
    const reading = this.reading(key, policy, policy.view, tenantId);
    return this.fromMemory(reading, compute) ?? this.fromStore(reading, compute);
  }

  /** What memory holds, with one promise or two in place of ten; `undefined` where it holds nothing. */
  private fromMemory<T>(reading: Reading, compute: () => Promise<T>): Promise<T> | undefined {
    const { memory, session } = this;
    const { key, policy, started } = reading;
    const serve = (hit: MemoryHit): T => {
      this.recorder.hit(reading, 'memory', hit.leftMs, hit.proof.computeMs ?? 0);
      return hit.value as T;
    };
    if (policy.maxStalenessMs > 0 && session.proof.holds(policy.maxStalenessMs, started)) {
      const hit = memory?.get(key, started);
      return hit && Promise.resolve(serve(hit));
    }
    if (!memory?.has(key, started)) return undefined;
    return session.askForFence().then(
      () => {
        const hit = memory.get(key);
        return hit === undefined ? this.readOn(key, compute, policy, reading.tenantId) : serve(hit);
      },
      (error: Error) => this.unavailable(error, reading, compute),
    );
  }

  /** What the store holds, likewise. */
  private fromStore<T>(reading: Reading, compute: () => Promise<T>): Promise<T> {
    return this.session.ask(reading.key).then(
      (reply) => this.answer(reading, compute, this.received<T>(reading, reply), reply),
      (error: Error) => this.unavailable(error, reading, compute),
    );
  }

  private unavailable<T>(error: Error, reading: Reading, compute: () => Promise<T>): Promise<T> {
    this.recorder.failed('exchange', error);
    return this.bypass(reading, compute, 'unavailable');
  }

  /** The whole way, where anything is out of the ordinary. */
  private async readOn<T>(
    key: string,
    compute: () => Promise<T>,
    policy: Policy,
    tenantId: string | undefined,
    reading = this.reading(key, policy, policy.view, tenantId),
  ): Promise<T> {
    this.guardTenant(policy.view, tenantId);
    if (transactions.open() !== undefined) return this.bypass(reading, compute, 'transaction');
    const reason = this.isTracked(policy) ? null : await this.whyBypassed(policy);
    if (reason !== null) {
      const value = this.bypass(reading, compute, reason);
      return policy.renewal === null || reading.visit !== undefined ? value : this.stale.guard(reading, null, value);
    }
    const { found, reply } = await this.lookup<T>(reading);
    return this.answer(reading, compute, found, reply);
  }

  /** What was found; or an older value, where the policy allows it; or else that of a computation. */
  private answer<T>(
    reading: Reading,
    compute: () => Promise<T>,
    found: Found<T> | undefined,
    reply: Reply | null,
  ): T | Promise<T> {
    const { policy, visit } = reading;
    if (found !== undefined) {
      this.hit(reading, found);
      if (policy.renewal !== null && isDue(found, policy.renewal.eagerRefresh)) this.renew(reading, compute, reply);
      return found.value;
    }
    // Who has waited for another process has been there before.
    if (policy.renewal === null || visit !== undefined) return this.missing(reading, compute, reply);
    if (reply === null || this.isTracked(policy)) return this.outOfDate(reading, compute, reply);
    return this.whyBypassed(policy).then((reason) =>
      reason === null
        ? this.outOfDate(reading, compute, reply)
        : this.stale.guard(reading, reply, this.bypass(reading, compute, reason)),
    );
  }

  /** An older value at once; or else a computed one, or an older one in its place. */
  private outOfDate<T>(reading: Reading, compute: () => Promise<T>, reply: Reply | null): T | Promise<T> {
    const old = reply === null ? undefined : this.stale.whileRevalidating<T>(reading, reply);
    if (old === undefined)
      return this.stale.guard(reading, reply, Promise.resolve(this.missing(reading, compute, reply)));
    this.renew(reading, compute, reply);
    return old.value;
  }

  /** The value of a computation under way, or of one of its own. */
  private missing<T>(reading: Reading, compute: () => Promise<T>, reply: Reply | null): T | Promise<T> {
    const { policy } = reading;
    if (reply === null) return this.bypass(reading, compute, 'unavailable');
    // The store may just have turned out to be made anew, without the triggers.
    if (!this.isTracked(policy))
      return this.whyBypassed(policy).then((reason) =>
        reason === null ? this.joinOrCompute(reading, compute, reply) : this.bypass(reading, compute, reason),
      );
    return this.joinOrCompute(reading, compute, reply);
  }

  private joinOrCompute<T>(reading: Reading, compute: () => Promise<T>, reply: Reply): Promise<T> {
    const { key, policy, tenantId } = reading;
    const running = this.session.running.get(key);
    if (running?.isJoinable(this.session.touches)) return this.join(running, compute, reading, reply);
    // What is being computed here and will not be kept is no reason to wait for it.
    const isLeased = policy.lease !== null && running?.isStorable !== false;
    const turn = isLeased ? this.session.leases?.turn(key, policy, reply, reading.visit) : undefined;
    if (turn instanceof Visit)
      return turn.afterwards(() => this.readOn(key, compute, policy, tenantId, { ...reading, visit: turn }));
    this.recorder.miss(reading);
    return this.compute(compute, reading, reply, turn);
  }

  /** Compute a key in the background, unless somebody does already. */
  private renew<T>(reading: Reading, compute: () => Promise<T>, reply: Reply | null): void {
    const { session, recorder } = this;
    const { key, policy } = reading;
    const renewal = async (): Promise<void> => {
      if (session.running.has(key)) return;
      const known = reply ?? (await this.ask(key));
      if (known === null) return;
      const leases = policy.lease === null ? undefined : session.leases;
      // It may be waited for by nobody, so it waits for nobody: the process that has the lease renews.
      if (leases !== undefined) return this.renewLeased(leases, reading, compute, known, new Visit(-Infinity, false));
      await this.computeApart(compute, reading, known, undefined);
    };
    session.renewals.start(key, renewal, (error) => recorder.computationFailed(reading, error, true));
  }

  private async renewLeased<T>(
    leases: Leases,
    reading: Reading,
    compute: () => Promise<T>,
    reply: Reply,
    visit: Visit,
  ): Promise<void> {
    const { key, policy } = reading;
    const turn = leases.turn(key, policy, reply, visit);
    if (turn instanceof Lease) return this.computeApart(compute, reading, reply, turn);
    if (turn === undefined) return;
    await turn.afterwards(async () => {
      const later = await this.ask(key);
      // Another process may have been faster.
      const found = later === null ? undefined : this.received<T>(reading, later);
      if (later === null || (found !== undefined && !isDue(found, policy.renewal!.eagerRefresh))) return;
      await this.renewLeased(leases, reading, compute, later, visit);
    });
  }

  private async computeApart<T>(
    compute: () => Promise<T>,
    reading: Reading,
    reply: Reply,
    lease: Lease | undefined,
  ): Promise<void> {
    // The caller may have begun one since, and its async context is this one's too.
    if (transactions.open() !== undefined) return lease?.release();
    await this.compute(compute, reading, reply, lease);
  }

  /** Whether anything keeps values of this policy from being cached; tells why, once. */
  async whyBypassed(policy: Policy): Promise<'ttl' | 'untracked' | 'unavailable' | null> {
    if (policy.ttlMs === 0) return 'ttl';
    if (!this.tracks || policy.untracked) return null;
    const { session } = this;
    const problem =
      policy.namesNothing && !policy.discovers
        ? 'a call of it names no domain, tag or row, so nothing would ever make its value void: name one, or declare it untracked: true'
        : await session.inTime(session.domains.firstProblem(policy.trackedDomains)).catch((error: Error) => {
            this.recorder.failed('audit', error);
            return undefined;
          });
    if (problem === undefined) return 'unavailable';
    if (problem === null) return null;
    if ((!policy.namesNothing || policy.discovers) && !this.session.domains.isKnown) return 'unavailable';
    this.recorder.untracked(policy.view, problem);
    return 'untracked';
  }

  /** Join the exchange; `null` if the store cannot be asked. */
  async ask(key?: string): Promise<Reply | null> {
    try {
      return await this.session.ask(key);
    } catch (error) {
      this.recorder.failed('exchange', error as Error);
      return null;
    }
  }

  private isTracked(policy: Policy): boolean {
    return (
      policy.ttlMs > 0 && (!this.tracks || policy.untracked || this.session.domains.areGood(policy.trackedDomains))
    );
  }

  /** Look in memory, then ask. With nothing found, the reply carries the fence for computing it. */
  private async lookup<T>(reading: Reading): Promise<{ found?: Found<T>; reply: Reply | null }> {
    const { memory } = this;
    const { key, policy } = reading;
    if (memory?.has(key)) {
      // Nothing older than its fence may enter a value being computed, so there the proof must be made anew.
      const proven =
        policy.maxStalenessMs > 0 &&
        Computation.current() === undefined &&
        this.session.proof.holds(policy.maxStalenessMs);
      const reply = proven ? null : await this.ask();
      if (!proven && reply === null) return { reply };
      const hit = memory.get(key);
      if (hit !== undefined) return { found: { ...hit, value: hit.value as T, tier: 'memory' }, reply };
    }
    const reply = await this.ask(key);
    return { found: reply === null ? undefined : this.received<T>(reading, reply), reply };
  }

  /** The row that came with a reply, as a value; memory keeps a copy. */
  private received<T>({ key, policy }: Reading, { row, now, asked }: Reply): Found<T> | undefined {
    if (row === null) return undefined;
    const { memory } = this;
    const decoded = this.decoded(row, policy);
    if (decoded === undefined) return undefined;
    const { proof } = row;
    const value = decoded.value as T;
    const leftMs = proof.expiresAt - now;
    // What was set by hand is not kept: setting it again would not void the copy.
    try {
      if (proof.computeMs !== null && !memory?.isSuperseded(key, asked))
        memory?.keep(key, value, proof, leftMs, row.json.length, policy.staleMs(proof.expiresAt - proof.cachedAt));
    } catch (error) {
      // Nested so deeply that no copy of it can be made: nobody here stored that.
      if (error instanceof UnstorableValueError) return undefined;
      throw error;
    }
    return { value, proof, tier: 'postgres', leftMs };
  }

  private decoded(row: StoredRow, { registry }: Policy): { value: unknown } | undefined {
    try {
      return { value: decodeValue(row.json, row.types, registry) };
    } catch (error) {
      // Of another version or hand, or with a class not met here yet: as good as not there.
      if (error instanceof UndecodableValueError || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  private async join<T>(running: Computation, compute: () => Promise<T>, reading: Reading, reply: Reply): Promise<T> {
    const { policy, view, tenantId } = reading;
    const outer = Computation.current();
    const share = (): Promise<{ copy: unknown } | null> => running.share();
    const shared = await (outer === undefined ? share() : outer.await(running, share)).catch((error: Error) => {
      outer?.follow(running, Infinity);
      throw error;
    });
    if (shared === null) return this.bypass(reading, compute, 'unstorable');
    this.recorder.joined(view, tenantId);
    outer?.follow(running, reply.now + policy.lifetimeOf(shared.copy, this.random));
    return shared.copy as T;
  }

  private async compute<T>(
    compute: () => Promise<T>,
    reading: Reading,
    reply: Reply,
    lease: Lease | undefined,
  ): Promise<T> {
    const operation = operationReply(this.session);
    const { fence, number } = operation ?? reply;
    const computation = new Computation(reading.key, fence, number, reading.policy, reading.tenantId);
    // It may use what was read before its own fence, and an older one could not be had.
    if (operation === null) computation.spoil();
    const outer = Computation.current();
    const work = (): Promise<T> => this.run(computation, compute, reading, reply, lease);
    return outer === undefined ? work() : outer.await(computation, work);
  }

  private async run<T>(
    computation: Computation,
    compute: () => Promise<T>,
    { key, policy, tenantId }: Reading,
    reply: Reply,
    lease: Lease | undefined,
  ): Promise<T> {
    const { running } = this.session;
    running.set(key, computation);
    const started = this.clock.monotonic();
    let storing: Promise<void> | undefined;
    try {
      let encoded!: EncodedValue | UnstorableValueError;
      // Others may have got a newer value of this key meanwhile: memory must not go back behind it.
      let isNewest = true;
      const discovery = policy.infers ? await this.discovery(computation) : undefined;
      // Now, before the caller can change the value.
      const work = async (): Promise<T> => {
        const computed = await compute();
        isNewest = !this.memory?.isSuperseded(key, started);
        this.memory?.supersede(key);
        return computed;
      };
      const value = await computation.run(
        work,
        (result) => {
          encoded = this.encode(result, policy, this.maxValueBytes);
          if (!(encoded instanceof UnstorableValueError)) return true;
          // Too large to store is not too large to share, as far as its end is data too; looked at only for those who wait.
          const isCut = encoded.reason === 'too-large';
          return (
            isCut && computation.isJoined && !(this.encode(result, policy, Infinity) instanceof UnstorableValueError)
          );
        },
        discovery,
      );
      const computeMs = this.clock.monotonic() - started;
      const lifetime = policy.lifetimeOf(value, this.random);
      if (audit.check !== null && computation.isStorable && this.tracks && !policy.untracked) {
        await computation.settled();
        audit.check(computation);
      }
      this.recorder.computed(policy.view, computeMs);
      Computation.current()?.follow(computation, reply.now + lifetime);
      // Or its domain lost its triggers while this was computed.
      if (this.isTracked(policy)) {
        const keep = (): Promise<void> | undefined =>
          this.keep(value, encoded, computation, computeMs, lifetime, reply.now, tenantId, isNewest);
        // The caller need not wait: it may hold the connection that finding out takes.
        storing = computation.isPending ? this.session.settle(computation.settled().then(keep)) : keep();
      }
      return value;
    } catch (error) {
      // Whoever catches it makes something else of it, and that depends on what was read here all the same.
      Computation.current()?.follow(computation, Infinity);
      throw error;
    } finally {
      // Until it is stored it can still be joined; afterwards the row takes over.
      void Promise.resolve(storing).then(() => {
        if (running.get(key) === computation) running.delete(key);
        lease?.release();
      });
    }
  }

  private encode(value: unknown, { registry }: Policy, maxBytes: number): EncodedValue | UnstorableValueError {
    try {
      return encodeValue(value, { registry, maxBytes });
    } catch (error) {
      if (error instanceof UnstorableValueError) return error;
      throw error;
    }
  }

  /** Keep a copy in memory, store soon. `startedAt` is in the database's milliseconds. */
  private keep(
    value: unknown,
    encoded: EncodedValue | UnstorableValueError,
    computation: Computation,
    computeMs: number,
    lifetime: number,
    startedAt: number,
    tenantId: string | undefined,
    isNewest: boolean,
  ): Promise<void> | undefined {
    const { policy, key, fence } = computation;
    if (!computation.isStorable) return undefined;
    if (!computation.isAccountedFor) {
      this.recorder.untracked(policy.view, NOTHING_FOUND);
      return undefined;
    }
    const ttlMs = Math.min(lifetime, computation.expiresBefore - startedAt - computeMs);
    if (ttlMs <= 0) return undefined;
    if (encoded instanceof UnstorableValueError) {
      this.recorder.unstorable(policy.view, encoded);
      return undefined;
    }
    const { json, types, bytes } = encoded;
    const endedAt = this.clock.monotonic();
    const { tags, dependencies } = computation.written();
    const tooMany = tooManyTags(tags.length, dependencies, this.maxTags);
    if (tooMany !== null) {
      this.recorder.unstorable(policy.view, tooMany);
      return undefined;
    }
    const cachedAt = startedAt + computeMs;
    const proof = { fence, tags, expiresAt: cachedAt + ttlMs, cachedAt, computeMs };
    const { hasAllTags } = computation;
    const staleMs = policy.staleMs(ttlMs);
    if (hasAllTags && isNewest) this.memory?.keep(key, value, proof, ttlMs, bytes, staleMs);
    const fill = {
      key,
      json,
      types,
      fence,
      ttlMs,
      staleMs,
      computeMs,
      tenantId: tenantId ?? null,
      view: policy.view,
      tags,
      dependencies,
    };
    return this.session.fills.add(fill).then(async (stored) => {
      if (stored === null) return;
      if (computation.isPlain) policy.learn(stored.tags);
      this.recorder.stored(policy.view, bytes);
      if (hasAllTags || !isNewest || this.memory === null || this.memory.isSuperseded(key, endedAt)) return;
      // The store has written its tags. By now the caller may have changed the value: keep what was set aside.
      const shared = await computation.share();
      if (shared !== null) this.memory.keep(key, shared.copy, stored, ttlMs, bytes, staleMs);
    });
  }

  /**
   * The computation that this code runs in depends on these too. Does nothing outside of one.
   */
  async dependOn(dependencies: Dependencies, computation = Computation.current()): Promise<void> {
    if (computation === undefined) return;
    computation.dependOn(dependencies);
    if (!this.tracks) return;
    const domains = [...dependencies.domains, ...dependencies.rows.map(([domain]) => domain)];
    if (this.session.domains.areGood(domains)) return;
    const problem = await this.session.inTime(this.session.domains.firstProblem(domains)).catch(() => undefined);
    if (problem === null && this.session.domains.isKnown) return;
    computation.spoil();
    if (typeof problem === 'string') this.recorder.untracked(computation.policy.view, problem);
  }

  /** A value made of what was read here cannot be kept: nobody would notice its changes. `why` is reported once. */
  doNotKeep(why: string | undefined, computation = Computation.current()): void {
    if (computation === undefined) return;
    computation.spoil();
    if (why !== undefined) this.recorder.untracked(computation.policy.view, why);
  }

  /** What is being computed here is not what its key says. */
  withhold(why: string): void {
    Computation.withholdHere();
    this.doNotKeep(why);
  }

  /** What gathers the statements sent from now on, for a computation's dependencies; none where nothing is tracked. */
  private async discovery(computation: Computation): Promise<Discovery | undefined> {
    const { inferences: inference } = this.session.store;
    if (!this.tracks || inference === undefined) return undefined;
    const finder: Finder = {
      inference,
      found: (target, { domains, rows }) => this.dependOn({ domains, free: [], rows }, target),
      refused: (target, why) => this.doNotKeep(why, target),
    };
    const version = inference.knownVersion ?? (await this.session.inTime(inference.version()).catch(() => null));
    return new Discovery(computation, finder, version);
  }

  /** Compute past the cache: what is found meanwhile is a dependency of the computation around it, if there is one. */
  private async computeFor<T>(outer: Computation | undefined, compute: () => Promise<T>, policy: Policy): Promise<T> {
    const discovery = outer !== undefined && policy.infers ? await this.discovery(outer) : undefined;
    return discovery === undefined ? compute() : Computation.observed(discovery, compute);
  }

  /** Compute what the caller does not want cached, or what only its open transaction sees. */
  async computeUncached<T>(compute: () => Promise<T>, policy: Policy, reason: 'declined' | 'transaction'): Promise<T> {
    this.passBy(policy, (await this.whyBypassed(policy)) ?? reason);
    return this.computeFor(Computation.current(), compute, policy);
  }

  private async bypass<T>(reading: Reading, compute: () => Promise<T>, reason: Bypass): Promise<T> {
    const { key, policy } = reading;
    // A computation around it would not be told what a shared one depends on, and what is computed under one fence for a
    // whole operation may use what was read before it began.
    const isShared =
      reason === 'unavailable' && Computation.current() === undefined && operationReply(this.session) === undefined;
    if (isShared) return this.detour(reading, compute);
    this.passBy(policy, reason);
    const value = await this.computeFor(Computation.current(), compute, policy);
    if (reason !== 'transaction') this.memory?.supersede(key);
    return value;
  }

  /** Compute because the store cannot be asked, together with all who had asked by then. */
  private async detour<T>({ key, policy, view, tenantId, moment }: Reading, compute: () => Promise<T>): Promise<T> {
    const { detours } = this.session;
    const joining = detours.join<T>(key, moment);
    const shared = joining === undefined ? null : await joining;
    if (shared !== null) {
      this.recorder.joined(view, tenantId);
      return shared.copy;
    }
    this.passBy(policy, 'unavailable');
    const isData = (value: T): boolean => !(this.encode(value, policy, Infinity) instanceof UnstorableValueError);
    const value = await detours.compute(key, compute, isData);
    this.memory?.supersede(key);
    return value;
  }

  /**
   * An outer computation reads by itself what is read past the cache. If that is not tracked, or seen by an open
   * transaction only, the outer value cannot be cached either.
   */
  private passBy(policy: Policy, reason: Bypass): void {
    this.recorder.bypassed(policy.view, reason);
    const outer = Computation.current();
    if (reason === 'untracked' || reason === 'ttl' || reason === 'transaction') outer?.spoil();
    else outer?.dependOnPolicy(policy, Infinity);
  }

  /** What one tenant sees may not become part of what others see, or another one does. */
  private guardTenant(view: string, tenantId: string | undefined): void {
    const outer = Computation.current();
    if (outer === undefined || tenantId === undefined || outer.tenantId === tenantId) return;
    outer.spoil();
    this.recorder.untracked(
      outer.policy.view,
      `it is not this tenant's alone, but reads a value of one tenant (${view}): cache it per tenant, or have it read what is shared`,
    );
  }

  private hit(reading: Reading, { proof, tier, leftMs }: Found<unknown>): void {
    Computation.current()?.dependOnEntry([...proof.tags, keyTag(reading.key)], proof.expiresAt);
    this.recorder.hit(reading, tier, leftMs, proof.computeMs ?? 0);
  }

  private reading(key: string, policy: Policy, view: string, tenantId?: string): Reading {
    return { key, policy, view, tenantId, started: this.clock.monotonic(), moment: this.session.detours.moment() };
  }
}

/** Whether a hit is so near the end of its life that it is to be renewed: past this share of it. */
function isDue({ leftMs, proof }: Found<unknown>, share: number): boolean {
  return share < 1 && leftMs <= (1 - share) * (proof.expiresAt - proof.cachedAt);
}

const NOTHING_FOUND =
  'what it depends on was to be found while it was computed, and nothing was: name a domain, tag or row, or declare it untracked: true';
