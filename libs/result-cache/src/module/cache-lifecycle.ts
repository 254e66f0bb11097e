import {
  Inject,
  Injectable,
  Logger,
  type BeforeApplicationShutdown,
  type OnApplicationShutdown,
  type OnModuleDestroy,
  type OnModuleInit,
} from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { systemClock } from '../core/clock.js';
import { ttlToMs } from '../core/duration.js';
import { CacheConfigurationError } from '../core/errors.js';
import { NotInstalledError } from '../postgres/installer.js';
import { type PostgresCache } from '../postgres/postgres-cache.js';
import { CacheRegistry } from './cache-registry.js';
import { EntityWatch } from './entity-watch.js';
import { type CacheModuleOptions } from './options.js';
import { CACHE_OPTIONS } from './tokens.js';

/** The part of `@nestjs/schedule`'s registry that is used, if the application has one. */
interface IntervalRegistry {
  addInterval(name: string, id: NodeJS.Timeout): void;
  deleteInterval(name: string): void;
}

const INTERVAL = 'nestjs-result-cache:purge';
const DEFAULT_SHUTDOWN = '5s';

/** From the start of the application to its end: install, purge on schedule, finish what is under way, close. */
@Injectable()
export class CacheLifecycle implements OnModuleInit, OnModuleDestroy, BeforeApplicationShutdown, OnApplicationShutdown {
  private readonly logger = new Logger('ResultCache');
  private timer: NodeJS.Timeout | undefined;
  private intervals: IntervalRegistry | undefined;
  private purging: Promise<void> | undefined;
  /** Tables whose limit was told of. */
  private readonly evicting = new Set<string>();
  /** When the application must have ended, in monotonic milliseconds; set when it begins to. */
  private deadline: number | undefined;

  constructor(
    @Inject(CACHE_OPTIONS) private readonly options: CacheModuleOptions,
    @Inject(CacheRegistry) private readonly registry: CacheRegistry,
    @Inject(EntityWatch) private readonly entities: EntityWatch,
    @Inject(ModuleRef) private readonly moduleRef: ModuleRef,
  ) {}

  /** @throws CacheConfigurationError for what is wrong with the options; trouble with the database only delays the cache. */
  async onModuleInit(): Promise<void> {
    this.entities.attach();
    for (const store of this.registry.stores) await this.initialize(store);
    await this.schedule();
  }

  async onModuleDestroy(): Promise<void> {
    clearInterval(this.timer);
    this.intervals?.deleteInterval(INTERVAL);
    await this.inTime(this.purging);
  }

  /** Requests may still be answered after this; what they compute is stored if the time suffices. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.inTime(Promise.all(this.registry.services.map(({ engine }) => engine.drain())));
  }

  async onApplicationShutdown(): Promise<void> {
    for (const { engine } of this.registry.services) engine.stop();
    await Promise.all(this.registry.stores.map((store) => store.close(this.leftMs)));
  }

  /** Milliseconds that the application's end may still take. */
  private get leftMs(): number {
    const now = systemClock.monotonic();
    this.deadline ??= now + ttlToMs(this.options.shutdownTimeout ?? DEFAULT_SHUTDOWN, 'shutdownTimeout');
    return Math.max(0, this.deadline - now);
  }

  /** Wait for the end of something, but not beyond the application's: a server that hangs must not keep it. */
  private async inTime(work: Promise<unknown> | undefined): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<void>((resolve) => (timer = setTimeout(resolve, this.leftMs)));
    await Promise.race([work, tooLate]).finally(() => clearTimeout(timer));
  }

  /** Purge all tables now. Never rejects: a database that cannot be reached is purged another time. */
  async purge(): Promise<void> {
    this.purging ??= this.purgeAll().finally(() => (this.purging = undefined));
    await this.purging;
  }

  private async initialize(store: PostgresCache): Promise<void> {
    try {
      await store.initialize();
      if (store.extensionVersion !== null) this.logger.log(`Detected pg_fraiseql_cache v${store.extensionVersion}`);
      this.logger.log(`PostgreSQL cache table '${store.table.schema}.${store.table.table}' initialized`);
      for (const [domain, problem] of await store.audit())
        if (problem !== null) this.logger.warn(`The domain '${domain}' is not cached: ${problem}`);
    } catch (error) {
      // Whatever else it is, the store says so itself, also when it comes later, and tries again at the next use.
      if (error instanceof CacheConfigurationError && !(error instanceof NotInstalledError)) throw error;
    }
  }

  private async schedule(): Promise<void> {
    const { purgeInterval = '5m' } = this.options;
    if (purgeInterval === false) return;
    this.timer = setInterval(() => void this.purge(), ttlToMs(purgeInterval, 'purgeInterval')).unref();
    this.intervals = await this.findIntervalRegistry();
    this.intervals?.addInterval(INTERVAL, this.timer);
  }

  /** Seen in the application's own scheduler, if it has one. Importing `ScheduleModule` here would run its jobs twice. */
  private async findIntervalRegistry(): Promise<IntervalRegistry | undefined> {
    try {
      const { SchedulerRegistry } = await import('@nestjs/schedule');
      return this.moduleRef.get(SchedulerRegistry, { strict: false });
    } catch {
      return undefined;
    }
  }

  /** Once: a table at its limit is so at every purge, and the counter tells how often. */
  private tellOfEviction({ table, limits }: PostgresCache, evicted: number): void {
    if (this.evicting.has(table.quoted)) return;
    this.evicting.add(table.quoted);
    const given = Object.entries(limits).flatMap(([limit, value]) => (value === undefined ? [] : `${limit} ${value}`));
    this.logger.warn(
      `The cache table ${table.quoted} was over its limit (${given.join(', ')}): ${evicted} live entries that would have expired first were deleted. Raise the limit, shorten TTLs, or purge more often`,
    );
  }

  private async purgeAll(): Promise<void> {
    const purged = new Set<unknown>();
    for (const { engine } of this.registry.services) {
      if (purged.has(engine.store)) continue;
      purged.add(engine.store);
      try {
        const { entries, evicted = 0 } = await engine.purge();
        if (entries !== null && entries > 0) this.logger.log(`Cleaned ${entries} expired cache entries`);
        if (evicted > 0) this.tellOfEviction(engine.store as PostgresCache, evicted);
      } catch (error) {
        this.logger.warn(`Purging the cache failed: ${(error as Error).message}`);
      }
    }
  }
}
