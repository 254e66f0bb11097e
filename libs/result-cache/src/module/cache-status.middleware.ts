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
  if (outcomes.length === 0) return undefined;
  const caches: string[] = [];
  for (const { cache } of outcomes) if (!caches.includes(cache)) caches.push(cache);
  return caches.map((cache) => member(cache, outcomes)).join(', ');
}

function member(cache: string, outcomes: readonly Outcome[]): string {
  const tiers: Outcome['tier'][] = [];
  let reads = 0;
  let hits = 0;
  let ttlMs = Infinity;
  let forwarded = 'bypass';
  for (const outcome of outcomes) {
    if (outcome.cache !== cache) continue;
    reads++;
    if (outcome.status === 'miss') forwarded = 'miss';
    if (outcome.status !== 'hit') continue;
    hits++;
    ttlMs = Math.min(ttlMs, outcome.ttlMs ?? 0);
    if (!tiers.includes(outcome.tier)) tiers.push(outcome.tier);
  }
  const name = TOKEN.test(cache) ? cache : JSON.stringify(cache.replace(/[^\x20-\x7e]/g, '?'));
  const from = tiers.join('+');
  if (hits === reads) return `${name}; hit; ttl=${Math.floor(ttlMs / 1000)}; detail="${from}"`;
  return `${name}; fwd=${forwarded}; detail="${hits} of ${reads} hit${from && ` from ${from}`}"`;
}

/** What needs no quotes (RFC 9651). */
const TOKEN = /^[A-Za-z*][\w!#$%&'*+.^`|~:/-]*$/;
