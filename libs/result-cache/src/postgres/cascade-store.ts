import { createHash } from 'node:crypto';
import { jsonText } from '../core/json.js';
import { type TextRows } from './connection.js';
import { NotInstalledError } from './installer.js';

/** A watched domain, as far as rules may name it. */
export interface CatalogueDomain {
  /** Columns of the primary key; empty where its tables do not agree. */
  readonly key: readonly string[];
  /** Columns that all its tables have, with how their values are compared; `null` where a condition cannot. */
  readonly columns: Readonly<Record<string, string | null>>;
}

/** The watched domains by name. */
export type CascadeCatalogue = ReadonlyMap<string, CatalogueDomain>;

/** One pattern of a rule, as the database holds it. */
export interface CascadeDetail {
  readonly name: string;
  readonly source: string;
  /** As it was written. */
  readonly pattern: string;
  /** `null`: a free tag. */
  readonly target: string | null;
  readonly source_column: string | null;
  readonly target_column: string | null;
  readonly free_tag: string | null;
  readonly condition: Record<string, unknown> | null;
  readonly columns: readonly string[] | null;
  readonly max_depth: number | null;
}

/** Which rules: those that agree with all that is given. */
export interface CascadeFilter {
  name?: string;
  source?: string;
  target?: string;
  pattern?: string;
}

/** Where a write leads by the rules. */
export interface CascadeTarget {
  /** `null`: a free tag. */
  readonly target: string | null;
  readonly depth: number;
  readonly tags: readonly string[];
  /** Cached entries that it would make void now. */
  readonly entries: number;
}

/** What `fraiseql_cache.cascade_stats()` counts. */
export interface CascadeFigures {
  readonly totalInvalidations24h: number;
  readonly cascadeTriggered: number;
  readonly avgCascadeDepth: number;
  readonly triggerTimeMs: number | null;
  readonly mostFrequentCascades: readonly { readonly pattern: string; readonly count: number }[];
}

type Run = (name: string, text: string, values?: unknown[]) => Promise<TextRows>;

/** The cascade rules of a database: data in its tables, compiled into triggers by the database itself. */
export class CascadeStore {
  /** @param touched the entries that the tags `t.tags` would make void, as `e` in a FROM clause, and what statements with it are called */
  constructor(
    private readonly touched: () => Promise<{ from: string; name: string }>,
    private readonly run: Run,
  ) {}

  /** Rows of a statement without parameters: for reading the catalogues with the cache's own connection. */
  async rows(text: string): Promise<unknown[]> {
    const name = createHash('sha256').update(text).digest('hex').slice(0, 8);
    return this.json(`catalogue_${name}`, `SELECT COALESCE(json_agg(q), '[]') FROM (\n${text}\n) q`);
  }

  /** The domains that rules can name, by name. */
  async catalogue(): Promise<CascadeCatalogue> {
    const found = await this.json<Record<string, CatalogueDomain>>(
      'cascade_catalogue',
      'SELECT fraiseql_cache.cascade_catalogue()',
    );
    return new Map(Object.entries(found).sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /**
   * Add or change rules, in one transaction, and in the same remove all others of the name `replace`. Returns how many were
   * not like this already.
   */
  async register(details: readonly CascadeDetail[], replace?: string): Promise<number> {
    const rules = jsonText(details);
    return this.changing(() =>
      this.json('cascade_register', 'SELECT fraiseql_cache.register_cascades($1::jsonb, $2)', [rules, replace ?? null]),
    );
  }

  /** Remove rules. Returns how many there were. */
  async remove({ name, source, target, pattern }: CascadeFilter): Promise<number> {
    const values = [name ?? null, source ?? null, target ?? null, pattern ?? null];
    return this.changing(() =>
      this.json('cascade_remove', 'SELECT fraiseql_cache.remove_cascades($1, $2, $3, $4)', values),
    );
  }

  /** All rules of the database, one for each pattern. */
  async rules(): Promise<CascadeDetail[]> {
    return this.json('cascade_rules', 'SELECT fraiseql_cache.cascade_list()');
  }

  /** Figures of the last 24 hours. */
  async stats(): Promise<CascadeFigures> {
    return this.json('cascade_stats', 'SELECT fraiseql_cache.cascade_stats()');
  }

  /** What a write to any row of a domain, or to one with these values, makes void beside the domain itself. */
  async follow(domain: string, values: Readonly<Record<string, unknown>> | null): Promise<CascadeTarget[]> {
    const text = values && jsonText(values);
    const { from, name } = await this.touched();
    return this.json(
      name,
      `SELECT COALESCE(json_agg(json_build_object('target', t.target, 'depth', t.depth, 'tags', t.tags, 'entries',
                (SELECT count(*) FROM ${from} WHERE e.expires_at > now())) ORDER BY t.depth, t.target), '[]')
         FROM (SELECT c.target, min(c.depth) AS depth, array_agg(c.tag) AS tags FROM fraiseql_cache.cascaded($1, $2::jsonb) c GROUP BY c.target) t`,
      [domain, text],
    );
  }

  private async changing<T>(change: () => Promise<T>): Promise<T> {
    try {
      return await change();
    } catch (error) {
      if ((error as { code?: string }).code !== '42501') throw error;
      throw new NotInstalledError(
        `This role may not change the cascade rules (${(error as Error).message}).`,
        [
          `GRANT SELECT, INSERT, UPDATE, DELETE ON fraiseql_cache.cascade_rules, fraiseql_cache.cascade_detail TO ${await this.role()};`,
        ],
        { cause: error },
      );
    }
  }

  private async role(): Promise<string> {
    try {
      const [row] = await this.run('cascade_role', 'SELECT quote_ident(current_user)');
      return row![0]!;
    } catch {
      return '…'; // That the rules were refused must be told all the same.
    }
  }

  private async json<T>(name: string, text: string, values?: unknown[]): Promise<T> {
    const [row] = await this.run(name, text, values);
    return JSON.parse(row![0]!) as T;
  }
}
