/** A node of PostgreSQL's parse trees, as `pg_node_tree` prints it: `{VAR :varno 1 …}`. */
export class TreeNode {
  constructor(
    readonly type: string,
    private readonly fields: ReadonlyMap<string, Tree>,
  ) {}

  /** A field that is a word: a number, a name, `true`. `undefined` for anything else. */
  word(name: string): string | undefined {
    const value = this.fields.get(name);
    return typeof value === 'string' ? value : undefined;
  }

  node(name: string): TreeNode | undefined {
    const value = this.fields.get(name);
    return value instanceof TreeNode ? value : undefined;
  }

  /** The nodes of a list; `undefined` where the field is no list, or one of anything else. */
  nodes(name: string): readonly TreeNode[] | undefined {
    const value = this.fields.get(name);
    return Array.isArray(value) && value.every((each) => each instanceof TreeNode) ? value : undefined;
  }

  /** All nodes of a type, of this one and below. */
  *all(type: string): Generator<TreeNode> {
    if (this.type === type) yield this;
    for (const value of this.fields.values()) yield* nodesIn(value, type);
  }
}

export type Tree = string | TreeNode | readonly Tree[];

/** All nodes of a type in a tree. */
export function* nodesIn(tree: Tree, type: string): Generator<TreeNode> {
  if (tree instanceof TreeNode) yield* tree.all(type);
  else if (typeof tree !== 'string') for (const each of tree) yield* nodesIn(each, type);
}

/**
 * A backslash takes the meaning from what follows it. Only these three separate words: PostgreSQL escapes no other white
 * space, such as the no-break space of an alias.
 */
const TOKEN = /[(){}]|(?:\\[\s\S]|[^ \n\t(){}\\])+/g;

/** Read the text of a `pg_node_tree`. @throws SyntaxError where it is not written as expected. */
export function parseTree(text: string): Tree {
  const tokens = text.match(TOKEN) ?? [];
  let place = 0;
  const fail = (): never => {
    throw new SyntaxError(`a parse tree that cannot be read, at token ${place}`);
  };
  const value = (): Tree => {
    const token = tokens[place++] ?? fail();
    if (token === '{') return node();
    if (token !== '(') return token === ')' || token === '}' ? fail() : token;
    const list: Tree[] = [];
    while (tokens[place] !== ')') list.push(value());
    place++;
    return list;
  };
  const node = (): TreeNode => {
    const type = tokens[place++] ?? fail();
    const fields = new Map<string, Tree>();
    while (tokens[place] !== '}') {
      const name = tokens[place++];
      if (name === undefined || !name.startsWith(':') || fields.has(name.slice(1))) return fail();
      // The first is the field's, whatever it looks like: a column may be called ":relid".
      fields.set(name.slice(1), value());
      // The bytes of a constant come in several words.
      while (tokens[place] !== '}' && tokens[place]?.startsWith(':') === false) value();
    }
    place++;
    return new TreeNode(type, fields);
  };
  const tree = value();
  return place === tokens.length ? tree : fail();
}
