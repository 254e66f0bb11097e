import { storable } from '../core/fence.js';
import { type LeaseAnswer, type LeaseClaim, type LeaseStore, type LeaseToken } from '../core/store.js';
import { type TextRows } from './connection.js';
import { arrayLiteral, specText } from './wire.js';

/** The leases of one cache, by calls of the functions in 0012. */
export class PostgresLeases implements LeaseStore {
  constructor(
    /** Runs a statement whose first value is the cache's id. */
    private readonly run: (name: string, text: string, values: unknown[]) => Promise<TextRows>,
  ) {}

  async claim(claims: readonly LeaseClaim[]): Promise<ReadonlyMap<string, LeaseAnswer>> {
    const fences = claims.map(({ fence }) => storable(fence));
    const rows = await this.run(
      'claim_leases',
      'SELECT * FROM fraiseql_cache.claim_leases($1, $2, $3, $4, $5, $6, $7, $8, $9)',
      [
        claims.map(({ key }) => key),
        claims.map(({ tags }) => arrayLiteral(tags)),
        claims.map(({ dependencies }) => specText(dependencies)),
        fences.map(({ lo }) => lo),
        fences.map(({ hi }) => hi),
        fences.map(({ open }) => `{${open.join(',')}}`),
        fences.map(({ incarnation }) => incarnation),
        claims.map(({ ttlMs }) => Math.ceil(ttlMs)),
      ],
    );
    return new Map(
      rows.map(([key, granted, number, leftMs]) => [
        key!,
        { isGranted: granted === 't', number: Number(number), leftMs: Number(leftMs) },
      ]),
    );
  }

  async release(tokens: readonly LeaseToken[]): Promise<number> {
    const [row] = await this.run('release_leases', 'SELECT fraiseql_cache.release_leases($1, $2, $3, $4)', [
      tokens.map(({ key }) => key),
      tokens.map(({ number }) => number),
      tokens.map(({ incarnation }) => incarnation),
    ]);
    return Number(row![0]);
  }
}
