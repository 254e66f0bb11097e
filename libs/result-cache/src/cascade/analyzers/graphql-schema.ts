import { buildSchema } from 'graphql';
import { CacheConfigurationError } from '../../core/errors.js';
import { type DomainEdge, type GraphPart } from '../domain-graph.js';
import { type DomainNames } from '../domain-names.js';

/**
 * A `GraphQLSchema`, by shape: the application's may come from another copy of the `graphql` package (its CommonJS and its ES
 * modules are two), whose `instanceof` would refuse it.
 */
export interface SchemaLike {
  getTypeMap(): Readonly<Record<string, object>>;
  getPossibleTypes(abstractType: any): readonly object[];
  getQueryType(): object | null | undefined;
  getMutationType(): object | null | undefined;
  getSubscriptionType(): object | null | undefined;
}

interface ObjectTypeLike {
  readonly name: string;
  getFields(): Readonly<Record<string, { readonly type: object }>>;
}

/** What a field's type comes down to. */
interface Unwrapped {
  type: ObjectTypeLike;
  isList: boolean;
}

/**
 * The edges that a GraphQL schema shows: `Post.author: User` and `User.posts: [Post]` are both user → post. Lists,
 * connections (`edges { node }`, `nodes`), interfaces and unions are followed to the object types behind them; input types,
 * scalars and the root types are none. A type that is no domain is passed over.
 *
 * @param schema A `GraphQLSchema`, or SDL text.
 * @throws CacheConfigurationError for anything else; GraphQLError for text that is no SDL.
 */
export function analyzeSchema(schema: SchemaLike | string, names: DomainNames): GraphPart {
  const built = typeof schema === 'string' ? (buildSchema(schema, { assumeValidSDL: true }) as SchemaLike) : schema;
  if (typeof built?.getTypeMap !== 'function')
    throw new CacheConfigurationError(
      'cascade: schema is no GraphQL schema; give a GraphQLSchema (in Nest: app.get(GraphQLSchemaHost).schema, once the application has started) or SDL text',
    );
  return new SchemaAnalysis(built, names).run();
}

class SchemaAnalysis {
  private readonly edges: DomainEdge[] = [];
  private readonly skipped = new Set<string>();
  private readonly roots: ReadonlySet<object | null | undefined>;

  constructor(
    private readonly schema: SchemaLike,
    private readonly names: DomainNames,
  ) {
    this.roots = new Set([schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()]);
  }

  run(): GraphPart {
    for (const type of Object.values(this.schema.getTypeMap())) {
      if (!isObject(type) || this.roots.has(type) || type.name.startsWith('__') || isPlumbing(type)) continue;
      const holder = this.domainOf(type);
      if (holder === undefined) continue;
      for (const [field, { type: fieldType }] of Object.entries(type.getFields()))
        for (const found of this.unwrap(fieldType, false)) this.add(type, holder, field, written(fieldType), found);
    }
    return { edges: this.edges, skipped: [...this.skipped] };
  }

  private add(holder: ObjectTypeLike, domain: string, field: string, text: string, { type, isList }: Unwrapped) {
    const other = this.domainOf(type);
    if (other === undefined) return;
    // A list belongs to its holder, a single object is what the holder refers to.
    const [source, target] = isList ? [domain, other] : [other, domain];
    const [sourceType, targetType] = isList ? [holder, type] : [type, holder];
    this.edges.push({
      source,
      target,
      links: [],
      evidence: [
        {
          kind: 'graphql',
          detail: `${holder.name}.${field}: ${text}`,
          source: sourceType.name,
          target: targetType.name,
          label: `field: ${isList ? field : `${holder.name}.${field}`}`,
          path: { side: isList ? 'source' : 'target', name: field },
        },
      ],
    });
  }

  private domainOf({ name }: ObjectTypeLike): string | undefined {
    const domain = this.names.of(name, 'graphql');
    if (domain === undefined) this.skipped.add(`${name}: no watched table feeds such a domain`);
    return domain;
  }

  /** The object types a field leads to. */
  private unwrap(type: object, isList: boolean): Unwrapped[] {
    switch (kindOf(type)) {
      case 'GraphQLNonNull':
        return this.unwrap((type as { ofType: object }).ofType, isList);
      case 'GraphQLList':
        return this.unwrap((type as { ofType: object }).ofType, true);
      case 'GraphQLInterfaceType':
      case 'GraphQLUnionType':
        return this.schema.getPossibleTypes(type).flatMap((possible) => this.unwrap(possible, isList));
      case 'GraphQLObjectType': {
        const node = nodeOf(type as ObjectTypeLike);
        return node === undefined ? [{ type: type as ObjectTypeLike, isList }] : this.unwrap(node, true);
      }
      default:
        return [];
    }
  }
}

/** A type as SDL writes it. */
function written(type: object): string {
  return (type as { toString(): string }).toString();
}

/** `GraphQLObjectType` and so on, for types of any copy of the package. */
function kindOf(type: unknown): string {
  return Object.prototype.toString.call(type).slice('[object '.length, -1);
}

function isObject(type: unknown): type is ObjectTypeLike {
  return kindOf(type) === 'GraphQLObjectType';
}

/** Parts of connections that stand for no data. */
function isPlumbing(type: ObjectTypeLike): boolean {
  return type.name === 'PageInfo' || nodeOf(type) !== undefined || isEdge(type);
}

function isEdge(type: ObjectTypeLike): boolean {
  const { node, cursor } = type.getFields();
  return node !== undefined && cursor !== undefined;
}

/** What a connection connects with: `edges { node }` or `nodes`, of a type that is called a connection or has `pageInfo`. */
function nodeOf(type: ObjectTypeLike): object | undefined {
  const { edges, nodes, pageInfo } = type.getFields();
  if (pageInfo === undefined && !type.name.endsWith('Connection')) return undefined;
  if (nodes !== undefined) return bare(nodes.type);
  const edge = edges === undefined ? undefined : bare(edges.type);
  return isObject(edge) ? edge.getFields()['node']?.type : undefined;
}

/** Without list and non-null. */
function bare(type: object): object {
  const kind = kindOf(type);
  return kind === 'GraphQLNonNull' || kind === 'GraphQLList' ? bare((type as { ofType: object }).ofType) : type;
}
