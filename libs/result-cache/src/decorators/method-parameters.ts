import 'reflect-metadata';

/** Where Nest's parameter decorators (`@Query()`, `@Args()`, `@Info()`, …) leave what they know; REST and GraphQL share it. */
const PARAMETERS = '__routeArguments__';
const RESPONSE_PASSTHROUGH = '__responsePassthrough__';
const RESOLVER_TYPE = 'graphql:resolver_type';
const GRAPHQL = [RESOLVER_TYPE, 'graphql:resolver_name', 'graphql:delegate_property'];

/** How an argument takes part in a key. */
type Role = 'value' | 'ignored' | 'selection';

/**
 * REST: request 0, response 1, next 2. GraphQL: parent 0, context 1, info 2. A request counts as a value, which the key
 * builder refuses with a remedy: what the method reads of it cannot be told.
 */
const REST_ROLES: readonly Role[] = ['value', 'ignored', 'ignored'];
const GRAPHQL_ROLES: readonly Role[] = ['value', 'ignored', 'selection'];

/** A resolver method without parameter decorators is called as GraphQL calls it: parent, arguments, context, info. */
const UNDECORATED_ROLES: readonly Role[] = ['value', 'value', 'ignored', 'selection'];

/** What the parameter decorators of one method say about its arguments. */
export class MethodParameters {
  private constructor(
    private readonly roles: ReadonlyMap<number, Role>,
    /** The method writes the response itself (`@Res()` without passthrough): nothing it returns reaches the client. */
    readonly writesResponse: boolean,
    /** Who calls it decides what its arguments are. */
    private readonly isUndecoratedResolver: boolean,
    private readonly takesInfo: boolean,
    /** `Query`, `Mutation` or `Subscription` of GraphQL. */
    readonly operation: string | undefined,
  ) {}

  /**
   * @param type The class of the object that is called, which may inherit the method and what is known about it.
   * @param isOpenEnded Whether the method may read more arguments than it names (`...args`).
   */
  static of(type: typeof Object, method: string | symbol, isOpenEnded = false): MethodParameters {
    const recorded = (Reflect.getMetadata(PARAMETERS, type, method) ?? {}) as Record<string, { index: number }>;
    const handler = (type.prototype as unknown as Record<string | symbol, { length: number }>)[method]!;
    const isGraphql = GRAPHQL.some((key) => Reflect.hasMetadata(key, handler) || Reflect.hasMetadata(key, type));
    const roles = new Map<number, Role>();
    let writesResponse = false;
    for (const [kind, { index }] of Object.entries(recorded)) {
      // Custom decorators have keys of another form; what they deliver is a value.
      const number = /^(\d+):\d+$/.exec(kind)?.[1];
      const role =
        number === undefined ? 'value' : ((isGraphql ? GRAPHQL_ROLES : REST_ROLES)[Number(number)] ?? 'value');
      roles.set(index, role);
      if (!isGraphql && (number === '1' || number === '2'))
        writesResponse = Reflect.getMetadata(RESPONSE_PASSTHROUGH, type, method) !== true;
    }
    const takesInfo = isOpenEnded || handler.length >= UNDECORATED_ROLES.length;
    const operation = Reflect.getMetadata(RESOLVER_TYPE, handler) as string | undefined;
    return new MethodParameters(roles, writesResponse, isGraphql && roles.size === 0, takesInfo, operation);
  }

  /** The arguments as a key sees them. */
  keyed(args: readonly unknown[]): unknown[] {
    const byPosition = this.isUndecoratedResolver && isCalledByGraphql(args);
    return args.map((argument, index) => {
      const role = (byPosition ? UNDECORATED_ROLES[index] : this.roles.get(index)) ?? 'value';
      if (role === 'ignored' || (byPosition && role === 'selection' && !this.takesInfo)) return undefined;
      return role === 'selection' ? selectionOf(argument) : argument;
    });
  }
}

function isCalledByGraphql(args: readonly unknown[]): boolean {
  const info = args[UNDECORATED_ROLES.length - 1];
  return args.length === UNDECORATED_ROLES.length && typeof info === 'object' && info !== null && 'fieldNodes' in info;
}

/** The part of GraphQL's `info` a result can depend on: the fields asked for, and what they mean. */
function selectionOf(info: unknown): unknown {
  // Called by other code than GraphQL's, which may pass what it likes.
  if (typeof info !== 'object' || info === null) return info;
  const { fieldNodes, fragments, variableValues } = info as Record<string, unknown>;
  return { fieldNodes: withoutPlaces(fieldNodes), fragments: withoutPlaces(fragments), variableValues };
}

/** The syntax tree without where in the text its parts stood. */
function withoutPlaces(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(withoutPlaces);
  if (typeof node !== 'object' || node === null) return node;
  return Object.fromEntries(
    Object.entries(node).flatMap(([key, value]) =>
      key === 'loc' || value === undefined ? [] : [[key, withoutPlaces(value)]],
    ),
  );
}
