import { Inject, Injectable, Optional } from '@nestjs/common';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { CacheConfigurationError, type CacheStore, type ResultCache } from '../core/index.js';
import { StoreProbe } from '../core/store-probe.js';
import { ApplicationCaches } from '../module/application-caches.js';
import { CACHE_HEALTH_OPTIONS } from './cache-health.module-definition.js';
import { type CacheDiagnosis, diagnose } from './diagnosis.js';
import { type CacheHealthOptions, type CheckedHealthOptions, checkHealthOptions } from './health-options.js';

/** What stands beside the status in the health response. */
export interface CacheHealthDetails extends Record<string, unknown> {
  /** Only where the installed terminus has no status of that name (before 12): the status is `up` then. */
  degraded?: true;
  problems: string[];
  hints: string[];
  caches: Record<string, CacheDiagnosis>;
}

/**
 * The health of the application's caches. Trouble is *degraded* (HTTP 200), not *down*: without its cache an application
 * is slow, and taking it out of service would make it slower.
 *
 * @example
 * @Get('health')
 * @HealthCheck()
 * check() {
 *   return this.health.check([() => this.cacheHealth.isHealthy()]);
 * }
 */
@Injectable()
export class CacheHealthIndicator {
  private readonly options: CheckedHealthOptions;
  private readonly probes = new WeakMap<CacheStore, StoreProbe>();

  /** @throws CacheConfigurationError for a wrong option. */
  constructor(
    @Inject(HealthIndicatorService) private readonly indicators: HealthIndicatorService,
    @Inject(ApplicationCaches) private readonly application: Pick<ApplicationCaches, 'all'>,
    @Optional() @Inject(CACHE_HEALTH_OPTIONS) options?: CacheHealthOptions,
  ) {
    this.options = checkHealthOptions(options);
  }

  /**
   * Check all caches of the application, or those with these names.
   * @param key name in the health response. Default `'cache'`.
   * @throws CacheConfigurationError for a name that no cache has.
   */
  async isHealthy(key = 'cache', only: { caches?: readonly string[] } = {}): Promise<HealthIndicatorResult> {
    const caches = this.choose(only.caches);
    const diagnoses = await Promise.all(caches.map((cache) => this.diagnose(cache)));
    const details: CacheHealthDetails = {
      problems: collect(caches, diagnoses, 'problems'),
      hints: collect(caches, diagnoses, 'hints'),
      caches: byName(caches, diagnoses),
    };
    if (caches.length === 0)
      details.problems.push('the application has no cache; import CacheModule.forRoot({ … }) beside CacheHealthModule');

    const indicator = this.indicators.check(key);
    const unavailable = diagnoses.some(({ available }) => !available);
    if (unavailable && this.options.whenUnavailable === 'down') return indicator.down(details);
    if (details.problems.length === 0) return indicator.up(details);
    // Declared here, because the types of the older terminus do not know it.
    const newer = indicator as { degraded?: (details: CacheHealthDetails) => HealthIndicatorResult };
    return newer.degraded?.(details) ?? indicator.up({ degraded: true, ...details });
  }

  private async diagnose(cache: ResultCache): Promise<CacheDiagnosis> {
    let probe = this.probes.get(cache.store);
    if (probe === undefined) {
      const { maxAge, timeout } = this.options;
      probe = new StoreProbe(cache.store, { maxAgeMs: maxAge * 1000, timeoutMs: timeout * 1000 });
      this.probes.set(cache.store, probe);
    }
    const reading = await probe.read();
    const diagnosis = diagnose(cache.counters(), reading, this.options);
    const { breaker } = cache.store;
    return breaker === undefined ? diagnosis : { ...diagnosis, breaker: breaker.state };
  }

  private choose(names?: readonly string[]): ResultCache[] {
    const all = this.application.all();
    if (names === undefined) return all;
    const unknown = names.find((name) => !all.some((cache) => cache.name === name));
    if (unknown !== undefined)
      throw new CacheConfigurationError(
        `cache health: no cache is called '${unknown}'; there are ${all.map(({ name }) => `'${name}'`).join(', ')}`,
      );
    return all.filter(({ name }) => names.includes(name));
  }
}

/** The texts of all caches, each with the names it is about where there are several: caches may share a table. */
function collect(
  caches: readonly ResultCache[],
  diagnoses: readonly CacheDiagnosis[],
  what: 'problems' | 'hints',
): string[] {
  const names = new Map<string, string[]>();
  for (const [index, diagnosis] of diagnoses.entries())
    for (const text of diagnosis[what]) names.set(text, [...(names.get(text) ?? []), caches[index]!.name]);
  return [...names].map(([text, about]) => (caches.length > 1 ? `${about.join(', ')}: ${text}` : text));
}

/** Caches may share a name; the second one then gets a number. */
function byName(caches: readonly ResultCache[], diagnoses: readonly CacheDiagnosis[]): Record<string, CacheDiagnosis> {
  const result: Record<string, CacheDiagnosis> = {};
  for (const [index, { name }] of caches.entries()) {
    let unique = name;
    for (let number = 2; Object.hasOwn(result, unique); number++) unique = `${name} (${number})`;
    result[unique] = diagnoses[index]!;
  }
  return result;
}
