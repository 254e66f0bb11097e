import { Logger } from '@nestjs/common';
import { createHash } from 'node:crypto';
import { CacheConfigurationError } from '../core/errors.js';
import { checkKeys } from '../core/option-keys.js';
import { type CascadeDetail, type CascadeTarget } from '../postgres/cascade-store.js';
import { type ReadTarget } from './target.js';

/** What `CascadeService.setLogging` switches. */
export interface CascadeLogging {
  enabled: boolean;
  /** `'debug'` also tells each rule and how many entries it voids, which costs a count of the cache's table. Default `'log'`. */
  level?: 'log' | 'debug' | 'LOG' | 'DEBUG';
}

/** Tells what invalidations by hand cascade to. Those by triggers happen in the database, where nobody here sees them. */
export class CascadeLog {
  private readonly logger = new Logger('CASCADE');
  private level: 'off' | 'log' | 'debug' = 'off';

  /** @throws CacheConfigurationError */
  set(options: CascadeLogging): void {
    if (typeof options !== 'object' || options === null || typeof options.enabled !== 'boolean')
      throw new CacheConfigurationError("cascade: write setLogging({ enabled: true, level: 'debug' })");
    checkKeys(options, ['enabled', 'level'], 'cascade: setLogging');
    const level = String(options.level ?? 'log').toLowerCase();
    if (level !== 'log' && level !== 'debug')
      throw new CacheConfigurationError(
        `cascade: setLogging: level ${JSON.stringify(options.level)} is unknown; write 'log' or 'debug'`,
      );
    this.level = options.enabled ? level : 'off';
  }

  get isOn(): boolean {
    return this.level !== 'off';
  }

  get isDetailed(): boolean {
    return this.level === 'debug';
  }

  began(target: ReadTarget): void {
    this.line(`${nameOf(target)} changed`);
  }

  follows(target: ReadTarget, rules: readonly CascadeDetail[], reached: readonly CascadeTarget[]): void {
    for (const { source, pattern } of rules.filter((rule) => rule.source === target.domain))
      this.line(`→ Evaluating rule: ${source} -> ${pattern}`);
    for (const { target: domain, entries } of reached)
      this.line(`→ Matched ${entries} ${entries === 1 ? 'entry' : 'entries'}: ${domain ?? 'tags'}`);
  }

  ended(ms: number): void {
    this.line(`✓ CASCADE complete in ${ms.toFixed(1)}ms`);
  }

  private line(text: string): void {
    this.logger[this.level === 'debug' ? 'debug' : 'log'](`[CASCADE] ${text}`);
  }
}

/** Numbers and UUIDs are told; any other value may be personal, so a hash stands for it. */
export function nameOf({ domain, values }: ReadTarget): string {
  if (values === null) return domain;
  const told = Object.values(values).map((value) => {
    const text = String(value);
    return /^(\d{1,20}|[0-9a-f-]{36})$/i.test(text)
      ? text
      : `#${createHash('sha256').update(text).digest('hex').slice(0, 8)}`;
  });
  return [domain, ...told].join(':');
}
