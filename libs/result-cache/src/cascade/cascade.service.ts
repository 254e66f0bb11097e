import { type BeforeApplicationShutdown } from '@nestjs/common';
import { CacheConfigurationError } from '../core/errors.js';
import { checkKeys } from '../core/option-keys.js';
import { type ResultCache } from '../core/result-cache.js';
import { type Queryable } from '../core/store.js';
import {
  type CascadeCatalogue,
  type CascadeDetail,
  type CascadeFilter,
  type CascadeStore,
} from '../postgres/cascade-store.js';
import { type PostgresCache } from '../postgres/postgres-cache.js';
import { drawGraph, type CascadeGraph } from './cascade-graph.js';
import { CascadeLog, type CascadeLogging } from './cascade-log.js';
import { type CascadeRule } from './cascade-rule.js';
import { compileRules } from './compile-rules.js';
import { touchedFieldTags } from './field-tags.js';
import { LazyInvalidations } from './lazy-invalidations.js';
import { setupAutoCascadeRules, type AutoCascade, type AutoCascadeOptions } from './setup-auto-cascade-rules.js';
import { readTarget, type CascadeTargetName, type ReadTarget } from './target.js';

/** What happened in the last 24 hours, in the whole database. */
export interface CascadeStats {
  /** Transactions, once for each domain they wrote, and invalidations by hand. */
  totalInvalidations24h: number;
  /** Transactions that cascaded, once for each source. */
  cascadeTriggered: number;
  /** Mean number of levels between source and target; 0 where nothing cascaded. */
  avgCascadeDepth: number;
  /**
   * Milliseconds. Of the sources' triggers where the server measures functions (`track_functions = 'pl'`), else of the
   * invalidations by hand of this process; `null` where there were none.
   */
  avgCascadeTimeMs: number | null;
  /** The ten most frequent pairs: `{ pattern: 'user -> post', count: 12 }`. */
  mostFrequentCascades: { pattern: string; count: number }[];
}

/** Options of {@link CascadeService.register}. */
export interface RegisterOptions {
  /** Remove all rules of this name that are not in the list, in the same transaction. The list holds no others then. */
  replace?: string;
}

/**
 * Cascade rules: a write to one domain counts as a write to others. The rules are compiled into the triggers, so every
 * writer cascades, raw SQL too; what is invalidated here by hand cascades in the same way.
 *
 * @example
 * await this.cascade.register([{ source: 'user', cascadeTo: ['post:author:{id}'], columns: ['name'] }]);
 */
export class CascadeService implements BeforeApplicationShutdown {
  private readonly store: CascadeStore;
  private readonly log = new CascadeLog();
  private readonly lazy = new LazyInvalidations((targets) => this.run(targets));
  private known: CascadeCatalogue | null = null;
  private spent = { calls: 0, ms: 0 };

  constructor(
    private readonly engine: ResultCache,
    postgres: PostgresCache,
  ) {
    this.store = postgres.cascades;
  }

  /** The database's catalogues, read with the cache's own connection. */
  get catalogue(): Queryable {
    return { query: (text) => this.store.rows(text) };
  }

  /**
   * Add rules, or change those of the same name, source and pattern; all or none. What is there already costs nothing, so
   * call it at every start. A change waits for open writers of the source, and voids what was cached of the targets.
   *
   * @returns how many patterns were new, changed or removed.
   * @throws CacheConfigurationError for a rule that cannot be right; NotInstalledError where the role may not.
   * @example
   * // These, and no others of the name 'shop', in one transaction.
   * await cascade.register([{ source: 'user', cascadeTo: ['order'], name: 'shop' }], { replace: 'shop' });
   */
  async register(rules: readonly CascadeRule[], options: RegisterOptions = {}): Promise<number> {
    const { replace } = checkRegister(options);
    const details = compileRules(rules, (this.known = await this.store.catalogue()), replace);
    return this.store.register(details, replace);
  }

  /**
   * Find which domains depend on which, and register a rule for each pair: {@link setupAutoCascadeRules} with this service.
   * Without options it goes by the foreign keys of the watched tables.
   * @throws CacheConfigurationError; NotInstalledError
   */
  async setupAutoRules(options: AutoCascadeOptions = {}): Promise<AutoCascade> {
    return setupAutoCascadeRules(this, options);
  }

  /**
   * Remove the rules that agree with all of this: `{ name: 'auto' }`, `{ source: 'user', target: 'post' }`.
   * @returns how many patterns there were.
   * @throws CacheConfigurationError where nothing is given.
   */
  async remove(which: CascadeFilter): Promise<number> {
    const given = Object.entries(which ?? {}).filter(([, value]) => value !== undefined);
    const unknown = given.find(
      ([key, value]) => !['name', 'source', 'target', 'pattern'].includes(key) || typeof value !== 'string',
    );
    if (given.length === 0 || unknown !== undefined)
      throw new CacheConfigurationError(
        "cascade: say which rules to remove by name, source, target or pattern: remove({ source: 'user' })",
      );
    return this.store.remove(which);
  }

  /** All rules of the database, one for each pattern, those of FraiseQL's client included. */
  async getRules(): Promise<CascadeRule[]> {
    return (await this.store.rules()).map(asRule);
  }

  /**
   * Make void what depends on a row (`'user:123'`), on any row of a domain (`'user'`), or on rows by a column
   * (`{ domain: 'post', where: { author_id: 5 } }`), and what a write to them cascades to.
   *
   * @param within a transaction of yours: then it takes effect with its commit.
   * @throws CacheConfigurationError for a domain that no table feeds.
   */
  async invalidate(target: CascadeTargetName, within?: Queryable): Promise<void> {
    await this.invalidateBatch([target], within);
  }

  /** Several targets in one statement. @throws CacheConfigurationError */
  async invalidateBatch(targets: readonly CascadeTargetName[], within?: Queryable): Promise<void> {
    await this.run(await this.read(targets), within);
  }

  /**
   * Invalidate later, together with whatever else is due then; of one target the earliest time counts. Until it runs, cached
   * values stay as they are: what is promised about their age begins when it does. What waits is run when the application
   * shuts down, and lost if the process dies.
   *
   * @param delaySeconds from 0 to a day
   * @throws CacheConfigurationError
   */
  async invalidateLazy(target: CascadeTargetName, delaySeconds: number): Promise<void> {
    const [read] = await this.read([target]);
    this.lazy.add(read!, delaySeconds);
  }

  /** Run now what {@link invalidateLazy} has put off. */
  async flush(): Promise<void> {
    await this.lazy.flush();
  }

  /**
   * Make void what depends on one field of a row (`'post:123'`) or of any row (`'post:*'`), as declared with `fieldTags`.
   * Nothing else, and nothing by rules.
   * @throws CacheConfigurationError
   */
  async invalidateField(target: string, field: string, within?: Queryable): Promise<void> {
    const at = typeof target === 'string' ? target.indexOf(':') : -1;
    if (at < 1 || typeof field !== 'string' || field === '')
      throw new CacheConfigurationError(
        "cascade: write invalidateField('post:123', 'title'), or invalidateField('post:*', 'author.name') for any row",
      );
    const free = touchedFieldTags(target.slice(0, at), target.slice(at + 1), field);
    await this.engine.invalidate({ free }, within);
  }

  /** Counts of the last 24 hours: exact but for what ends in the moment between a purge's count and its compaction. */
  async getStats(): Promise<CascadeStats> {
    const { triggerTimeMs, mostFrequentCascades, ...figures } = await this.store.stats();
    const { calls, ms } = this.spent;
    return {
      ...figures,
      avgCascadeTimeMs: triggerTimeMs ?? (calls === 0 ? null : ms / calls),
      mostFrequentCascades: [...mostFrequentCascades],
    };
  }

  /**
   * Where writes lead by the rules: of one target, or of every source. Counts the cache's entries, so it is for people.
   * @throws CacheConfigurationError
   */
  async getGraph(target?: CascadeTargetName): Promise<CascadeGraph> {
    const rules = await this.store.rules();
    const roots: ReadTarget[] =
      target === undefined
        ? [...new Set(rules.map(({ source }) => source))].map((domain) => ({ domain, values: null, text: domain }))
        : await this.read([target]);
    const drawn = roots.map(async (root) => ({
      domain: root.domain,
      name: root.text,
      reached: await this.store.follow(root.domain, root.values),
    }));
    return drawGraph(await Promise.all(drawn), rules);
  }

  /** Tell in the application's log what invalidations by hand cascade to. @throws CacheConfigurationError */
  setLogging(options: CascadeLogging): void {
    this.log.set(options);
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.flush();
  }

  private async run(targets: readonly ReadTarget[], within?: Queryable): Promise<void> {
    if (targets.length === 0) return;
    const started = performance.now();
    const { log } = this;
    if (log.isOn) for (const target of targets) log.began(target);
    // Before it is done: then there is nothing left to count.
    if (log.isDetailed) await this.logRules(targets);
    await this.engine.invalidate(
      {
        domains: targets.flatMap(({ domain, values }) => (values === null ? [domain] : [])),
        rows: targets.flatMap(({ domain, values }) => (values === null ? [] : [[domain, values] as const])),
      },
      within,
    );
    const ms = performance.now() - started;
    this.spent = { calls: this.spent.calls + 1, ms: this.spent.ms + ms };
    if (log.isOn) log.ended(ms);
  }

  private async logRules(targets: readonly ReadTarget[]): Promise<void> {
    const rules = await this.store.rules();
    for (const target of targets)
      this.log.follows(target, rules, await this.store.follow(target.domain, target.values));
  }

  /** Read targets by the domains that are known; look again where one seems wrong, since it may be new. */
  private async read(targets: readonly CascadeTargetName[]): Promise<ReadTarget[]> {
    if (!Array.isArray(targets))
      throw new CacheConfigurationError("cascade: targets are a list: invalidateBatch(['user:1', 'user:2'])");
    const { known } = this;
    if (known !== null)
      try {
        return targets.map((target) => readTarget(target as CascadeTargetName, known));
      } catch (error) {
        if (!(error instanceof CacheConfigurationError)) throw error;
      }
    const catalogue = (this.known = await this.store.catalogue());
    return targets.map((target) => readTarget(target as CascadeTargetName, catalogue));
  }
}

function checkRegister(options: RegisterOptions): RegisterOptions {
  if (typeof options !== 'object' || options === null)
    throw new CacheConfigurationError("cascade: register: the options are no object; write { replace: 'auto' }");
  checkKeys(options, ['replace'], 'cascade: register');
  if (options.replace !== undefined && typeof options.replace !== 'string')
    throw new CacheConfigurationError("cascade: register: replace is no name of rules; write replace: 'auto'");
  return options;
}

function asRule({ name, source, pattern, condition, columns, max_depth: maxDepth }: CascadeDetail): CascadeRule {
  return {
    source,
    cascadeTo: [pattern],
    ...(name !== '' && { name }),
    ...(condition !== null && { condition: condition as CascadeRule['condition'] }),
    ...(columns !== null && { columns }),
    ...(maxDepth !== null && { maxDepth }),
  };
}
