import { Injectable, type NestMiddleware } from '@nestjs/common';
import { type IncomingMessage, type ServerResponse } from 'node:http';
import onHeaders from 'on-headers';
import { collectOutcomes, type Outcome } from '../core/outcome.js';

/** Sets `Cache-Status` (RFC 9211) on a response that read through the cache. */
@Injectable()
export class CacheStatusMiddleware implements NestMiddleware {
  use(_request: IncomingMessage, response: ServerResponse, next: () => void): void {
    const outcomes: Outcome[] = [];
    onHeaders(response, () => {
      const status = cacheStatus(outcomes);
      if (status !== undefined) response.setHeader('Cache-Status', status);
    });
    collectOutcomes(outcomes, next);
  }
}

/**
 * The header's value: one member per cache. A response made of several cached reads is a hit only if all were; `detail`
 * tells how many, and from which tier.
 *
 * @example 'default; hit; ttl=287; detail="postgres"', 'default; fwd=miss; detail="2 of 3 hit from postgres"'
 */
export function cacheStatus(outcomes: readonly Outcome[]): string | undefined {
  const caches = new Map<string, Outcome[]>();
  for (const outcome of outcomes) caches.set(outcome.cache, [...(caches.get(outcome.cache) ?? []), outcome]);
  const members = [...caches].map(([cache, reads]) => {
    const hits = reads.filter(({ status }) => status === 'hit');
    const tiers = [...new Set(hits.map(({ tier }) => tier))].join('+');
    const name = /^[A-Za-z*][\w!#$%&'*+.^`|~:/-]*$/.test(cache)
      ? cache
      : JSON.stringify(cache.replace(/[^\x20-\x7e]/g, '?'));
    if (hits.length === reads.length) {
      const ttl = Math.floor(Math.min(...hits.map(({ ttlMs }) => ttlMs ?? 0)) / 1000);
      return `${name}; hit; ttl=${ttl}; detail="${tiers}"`;
    }
    const forwarded = reads.some(({ status }) => status === 'miss') ? 'miss' : 'bypass';
    return `${name}; fwd=${forwarded}; detail="${hits.length} of ${reads.length} hit${tiers && ` from ${tiers}`}"`;
  });
  return members.length === 0 ? undefined : members.join(', ');
}
