import { CacheConfigurationError } from '../core/errors.js';
import { type EdgeEvidence } from './domain-graph.js';

/** A table and the domain it feeds. */
export interface DomainTable {
  readonly table: string;
  readonly domain: string;
}

/**
 * The domain of a GraphQL type, an entity or a table, where names alone do not tell: `null` to leave it out, `undefined`
 * for the usual way.
 */
export type DomainOf = (name: string, kind: EdgeEvidence['kind']) => string | null | undefined;

/** Finds the domain that is meant by the type `User`, the entity `User` or the table `users`. */
export class DomainNames {
  private readonly domains: readonly string[];

  /** @param tables The watched tables. Where there are none, any name is a domain of its own. */
  constructor(
    private readonly tables: readonly DomainTable[] = [],
    private readonly domainOf: DomainOf = () => undefined,
  ) {
    this.domains = [...new Set(tables.map(({ domain }) => domain))];
  }

  /** Whether only names of watched domains count. */
  get areKnown(): boolean {
    return this.domains.length > 0;
  }

  /** Whether several tables feed the domain: then a column of one says nothing about rows of the others. */
  isComposed(domain: string): boolean {
    return this.tables.filter((one) => one.domain === domain).length > 1;
  }

  /**
   * The domain, or `undefined` for none.
   * @param table The table behind the name, where it is known.
   * @throws CacheConfigurationError where two domains could be meant, or `domainOf` names none there is.
   */
  of(name: string, kind: EdgeEvidence['kind'], table?: string): string | undefined {
    const chosen = this.domainOf(name, kind);
    if (chosen === null) return undefined;
    if (chosen !== undefined) return this.checked(chosen, name);
    if (table !== undefined) {
      const found =
        this.only(table, (domain) => this.feeds(domain, (own) => plain(own) === plain(table))) ??
        this.only(table, (domain) => this.feeds(domain, (own) => maybeSameTable(own, table)));
      if (found !== undefined) return found;
    }
    if (!this.areKnown) return words(name).at(0);
    return (
      this.only(name, (domain) => domain === name) ??
      this.only(name, (domain) => sameWord(domain, name)) ??
      // A table's own name says nothing about a type of another table.
      (table === undefined
        ? this.only(name, (domain) => this.feeds(domain, (own) => sameWord(bare(own), name)))
        : undefined)
    );
  }

  private feeds(domain: string, isMeant: (table: string) => boolean): boolean {
    return this.tables.some((one) => one.domain === domain && isMeant(one.table));
  }

  private only(name: string, matches: (domain: string) => boolean): string | undefined {
    const found = this.domains.filter(matches);
    if (found.length > 1)
      throw new CacheConfigurationError(
        `cascade: '${name}' could be any of the domains ${found.join(', ')}; say which: domainOf: (name) => name === '${name}' ? '${found[0]}' : undefined`,
      );
    return found[0];
  }

  private checked(domain: string, name: string): string {
    if (typeof domain !== 'string' || domain === '' || (this.areKnown && !this.domains.includes(domain)))
      throw new CacheConfigurationError(
        `cascade: domainOf('${name}') returned ${JSON.stringify(domain)}, which no watched table feeds; there are ${this.domains.join(', ')}; return one of them, or null to leave it out`,
      );
    return domain;
  }
}

/** Whether two names are the same word, whatever their spelling and number: `BlogPost`, `blog_posts`. */
export function sameWord(one: string, other: string): boolean {
  const forms = words(other);
  return words(one).some((form) => forms.includes(form));
}

/** What a name may be in the singular, the likeliest first. Irregular plurals are for `domainOf`. */
function words(name: string): string[] {
  const word = name
    .replace(/([a-z\d])([A-Z])/g, '$1_$2')
    .replace(/([A-Z])([A-Z][a-z])/g, '$1_$2')
    .toLowerCase();
  const forms = [word];
  if (/[^aeious]s$/.test(word) || /[aeo]s$/.test(word)) forms.unshift(word.slice(0, -1));
  if (/(s|x|z|ch|sh|o)es$/.test(word)) forms.unshift(word.slice(0, -2));
  if (/ies$/.test(word)) forms.unshift(`${word.slice(0, -3)}y`);
  return forms;
}

/** Whether they are one table, if the one without a schema is in the other's. */
function maybeSameTable(one: string, other: string): boolean {
  return plain(one) === bare(other) || bare(one) === plain(other);
}

/** A table's name without its schema. */
function bare(table: string): string {
  return plain(table).split('.').at(-1)!;
}

function plain(table: string): string {
  return table.replaceAll('"', '');
}
