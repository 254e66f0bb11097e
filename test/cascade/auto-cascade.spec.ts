import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { buildSchema } from 'graphql';
import {
  graphToMermaid,
  graphToText,
  NotInstalledError,
  setupAutoCascadeRules,
  type AutoCascadeOptions,
  type CascadeRule,
  type CascadeService,
} from 'nestjs-result-cache';
import { DataSource, EntitySchema } from 'typeorm';
import { closeCaches, openCache } from '../support/caches.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

const SDL = `
  type Query { users: [User!]! post(id: ID!): Post }
  type Mutation { rename(input: UserInput!): User }
  input UserInput { id: ID! }
  type User { id: ID! name: String! posts: [Post!]! comments: [Comment!]! }
  type Post { id: ID! title: String! author: User! comments: [Comment!]! }
  type Comment { id: ID! content: String! author: User! post: Post! }`;

const watch = ['user', 'post', 'comment'].map((domain) => ({ table: `${domain}s`, domain }));

let database: TestDatabase;
let dataSource: DataSource;

const id = { id: { type: Number, primary: true } } as const;
const entities = [
  new EntitySchema<any>({
    name: 'User',
    tableName: 'users',
    columns: { ...id },
    relations: {
      posts: { type: 'one-to-many', target: 'Post', inverseSide: 'author' },
      bestFriend: { type: 'many-to-one', target: 'User', joinColumn: { name: 'best_friend_id' } },
    },
  }),
  new EntitySchema<any>({
    name: 'Post',
    tableName: 'posts',
    columns: { ...id },
    relations: {
      author: { type: 'many-to-one', target: 'User', inverseSide: 'posts', joinColumn: { name: 'author_id' } },
      labels: { type: 'many-to-many', target: 'Label', joinTable: { name: 'post_labels' } },
    },
  }),
  new EntitySchema<any>({ name: 'Label', tableName: 'labels', columns: { ...id } }),
  new EntitySchema<any>({
    name: 'Draft',
    tableName: 'drafts',
    columns: { ...id },
    relations: { author: { type: 'many-to-one', target: 'User', joinColumn: { name: 'author_id' } } },
  }),
];

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query(`
    CREATE TABLE users (id int PRIMARY KEY, tenant_id int, best_friend_id int REFERENCES users, UNIQUE (tenant_id, id));
    CREATE TABLE posts (id int PRIMARY KEY, author_id int REFERENCES users, tenant_id int, editor int,
      FOREIGN KEY (tenant_id, editor) REFERENCES users (tenant_id, id));
    CREATE TABLE comments (id int PRIMARY KEY, post_id int REFERENCES posts, author_id int REFERENCES users);
    CREATE TABLE labels (id int PRIMARY KEY);
    CREATE TABLE post_labels (post_id int REFERENCES posts, label_id int REFERENCES labels, PRIMARY KEY (post_id, label_id));
    CREATE TABLE drafts (id int PRIMARY KEY, author_id int REFERENCES users);
    CREATE TABLE visits (id int, user_id int NOT NULL REFERENCES users, at int, PRIMARY KEY (id, user_id)) PARTITION BY RANGE (id);
    CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM (0) TO (10)`);
  await openCache(database, {
    watch: [...watch, { table: 'labels', domain: 'label' }, { table: 'visits', domain: 'visit' }],
  });
  dataSource = await new DataSource({ type: 'postgres', url: database.url, entities }).initialize();
});
afterAll(async () => {
  await dataSource.destroy();
  await closeCaches();
  await database.drop();
});

/** What is registered and said. */
async function setUp(options: AutoCascadeOptions) {
  const registered: CascadeRule[] = [];
  const lines: string[] = [];
  // What is found, whether or not it could be registered: some of the graphs below have no tables.
  const seen: Pick<CascadeService, 'register' | 'catalogue'> = {
    register: async (rules) => registered.push(...rules),
    catalogue: database.pool,
  };
  const found = await setupAutoCascadeRules(seen as CascadeService, {
    verbose: true,
    log: (line) => void lines.push(line),
    ...options,
  });
  const rules = Object.fromEntries(
    registered.map(({ source, cascadeTo }) => [`${source} -> ${cascadeTo[0]!.split(':')[0]}`, cascadeTo]),
  );
  return { ...found, registered, rules, lines };
}

/** By the schema only. */
const alone = (options: AutoCascadeOptions) => setUp({ foreignKeys: false, ...options });

describe('a GraphQL schema', () => {
  it('gives the rules of the example, and says so in its lines', async () => {
    const { lines, registered } = await alone({ schema: SDL, watch });
    expect(lines).toEqual([
      'CASCADE: Analyzing GraphQL schema...',
      'CASCADE: Detected relationship: Post -> Comment (field: comments)',
      'CASCADE: Detected relationship: User -> Comment (field: comments)',
      'CASCADE: Detected relationship: User -> Post (field: posts)',
      'CASCADE: Created 3 CASCADE rules',
      'CASCADE: Rule 1: post:{id} cascades to comment:*',
      'CASCADE: Rule 1 names no rows: no column accounts for Post.comments: [Comment!]!; Comment.post: Post!',
      'CASCADE: Rule 2: user:{id} cascades to comment:*',
      'CASCADE: Rule 2 names no rows: no column accounts for User.comments: [Comment!]!; Comment.author: User!',
      'CASCADE: Rule 3: user:{id} cascades to post:*',
      'CASCADE: Rule 3 names no rows: no column accounts for User.posts: [Post!]!; Post.author: User!',
      '✓ CASCADE rules configured',
    ]);
    expect(registered).toEqual([
      { source: 'post', cascadeTo: ['comment:*'], name: 'auto' },
      { source: 'user', cascadeTo: ['comment:*'], name: 'auto' },
      { source: 'user', cascadeTo: ['post:*'], name: 'auto' },
    ]);
  });

  it('is the same as text and as an object, with tables and without', async () => {
    const [text, object, bare] = await Promise.all(
      [
        { schema: SDL, watch },
        { schema: buildSchema(SDL), watch },
        { schema: SDL, watch: [] },
      ].map(alone),
    );
    expect(object!.rules).toEqual(text!.rules);
    expect(bare!.rules).toEqual(text!.rules);
  });

  it('says nothing unless asked to', async () => {
    expect((await alone({ schema: SDL, watch, verbose: false })).lines).toEqual([]);
  });

  it.each<[string, string, string[]]>([
    ['a single object is referred to', 'type Post { author: User }', ['user -> post']],
    ['a list is held', 'type User { posts: [Post!]! }', ['user -> post']],
    [
      'connections are followed to their nodes',
      `type User { posts: PostConnection! } type PostConnection { edges: [PostEdge] pageInfo: PageInfo! }
       type PostEdge { node: Post cursor: String! } type PageInfo { hasNextPage: Boolean! }`,
      ['user -> post'],
    ],
    ['nodes too', 'type User { posts: PostConnection } type PostConnection { nodes: [Post!]! }', ['user -> post']],
    [
      'interfaces are followed to what implements them',
      `interface Node { id: ID owner: User } type Post implements Node { id: ID owner: User }
       type Comment implements Node { id: ID owner: User subject: Node }`,
      ['comment -> comment', 'post -> comment', 'user -> comment', 'user -> post'],
    ],
    [
      'unions to their members',
      'union Subject = User | Post type Comment { subject: Subject! }',
      ['post -> comment', 'user -> comment'],
    ],
    ['references to oneself', 'type User { bestFriend: User friends: [User!] }', ['user -> user']],
    ['circles', 'type User { posts: [Post] } type Post { readers: [User] }', ['post -> user', 'user -> post']],
    ['input types are none', 'input PostInput { author: UserInput } input UserInput { id: ID }', []],
    ['the root types are none', 'type Mutation { post: Post user: User }', []],
    ['lists of lists', 'type User { grid: [[Post!]!] }', ['user -> post']],
  ])('%s', async (_, types, pairs) => {
    const rest = ['User', 'Post', 'Comment'].filter((name) => !new RegExp(`type ${name}\\b`).test(types));
    const schema = `type Query { any: ID } ${types} ${rest.map((name) => `type ${name} { id: ID }`).join(' ')}`;
    expect(Object.keys((await alone({ schema, watch })).rules)).toEqual(pairs);
  });

  it('a type that is no domain is passed over, and said', async () => {
    const { lines, rules } = await alone({
      schema:
        'type Query { a: ID } type User { money: Money posts: [Post] } type Money { owner: User } type Post { id: ID }',
      watch,
    });
    expect(lines).toContain('CASCADE: Skipped Money: no watched table feeds such a domain');
    expect(Object.keys(rules)).toEqual(['user -> post']);
  });

  it('names meet in the singular and plural, in words joined any way, or as domainOf says', async () => {
    const tables = ['blog_posts', 'categories', 'addresses', 'people'].map((table) => ({ table, domain: table }));
    const schema = `type Query { a: ID } type BlogPost { category: Category! address: Address human: Human } type Category { id: ID }
      type Address { id: ID } type Human { id: ID }`;
    const domainOf = (name: string) => (name === 'Human' ? 'people' : name === 'Address' ? null : undefined);
    const { rules } = await alone({ schema, watch: tables, domainOf });
    expect(Object.keys(rules).sort()).toEqual(['categories -> blog_posts', 'people -> blog_posts']);
  });

  it('parts of connections are no domains, also where tables are not known', async () => {
    const schema = `type Query { a: ID } type User { posts: PostConnection } type Post { id: ID }
      type PostConnection { edges: [PostEdge] pageInfo: PageInfo! } type PostEdge { node: Post cursor: ID } type PageInfo { a: ID }`;
    expect(Object.keys((await alone({ schema, watch: [] })).rules)).toEqual(['user -> post']);
  });

  it('a table’s name is as good as its domain’s', async () => {
    const tables = [{ table: 'app.accounts', domain: 'user' }, watch[1]!];
    const schema = 'type Query { a: ID } type Account { posts: [Post] } type Post { id: ID }';
    expect(Object.keys((await alone({ schema, watch: tables })).rules)).toEqual(['user -> post']);
  });
});

describe('TypeORM and foreign keys', () => {
  it('add the columns, tables between and relations to oneself', async () => {
    const { rules } = await setUp({ dataSource });
    expect(rules).toEqual({
      'label -> post': ['post:*'],
      'post -> label': ['label:*'],
      'post -> comment': ['comment:post_id:{id}'],
      'user -> comment': ['comment:author_id:{id}'],
      'user -> post': ['post:author_id:{id}', 'post:editor:{id}'],
      'user -> user': ['user:best_friend_id:{id}'],
      'user -> visit': ['visit:user_id:{id}'],
    });
  });

  it('each find their own', async () => {
    const relations = await setUp({ dataSource, foreignKeys: false });
    expect(relations.rules).toEqual({
      'label -> post': ['post:*'],
      'post -> label': ['label:*'],
      'user -> post': ['post:author_id:{id}'],
      'user -> user': ['user:best_friend_id:{id}'],
    });
    expect(relations.lines).toContain('CASCADE: Skipped Draft: its table drafts feeds no domain');
    const keys = await setUp({ foreignKeys: database.pool });
    expect(Object.keys(keys.rules).sort()).toEqual(Object.keys((await setUp({ dataSource })).rules).sort());
    expect(keys.lines).toContain('CASCADE: Skipped drafts: it is no watched table');
  });

  it('give GraphQL’s pairs their columns, and one edge has the evidence of all three', async () => {
    const { rules, graph, lines } = await setUp({ schema: SDL, dataSource });
    expect(rules['user -> comment']).toEqual(['comment:author_id:{id}']);
    expect(rules['user -> post']).toEqual(['post:author_id:{id}', 'post:editor:{id}']);
    const edge = graph.edges.find(({ source, target }) => source === 'user' && target === 'post')!;
    expect(edge.links).toEqual([
      { sourceColumn: 'id', targetColumn: 'author_id' },
      { sourceColumn: 'tenant_id', targetColumn: 'tenant_id', group: expect.any(String) },
      { sourceColumn: 'id', targetColumn: 'editor', group: expect.any(String) },
    ]);
    expect(edge.evidence.map(({ kind, detail }) => `${kind} ${detail}`)).toEqual([
      'graphql User.posts: [Post!]!',
      'graphql Post.author: User!',
      'typeorm User.posts: one-to-many Post',
      'typeorm Post.author: many-to-one User',
      'foreign-key posts.author_id -> users.id',
      'foreign-key posts.tenant_id, editor -> users.tenant_id, id',
    ]);
    expect(lines).toContain('CASCADE: Detected relationship: User -> Post (field: posts)');
    expect(lines).toContain('CASCADE: Detected relationship: Label -> Post (relation: Post.labels)');
    expect(lines).toContain('CASCADE: Detected relationship: users -> visits (foreign key: visits.user_id)');
  });

  it.each([
    ['Post', 'reviewer: User', 'user -> post'],
    ['User', 'reviewedPosts: [Post]', 'user -> post'],
  ])('a field that no column accounts for makes its rule broad: %s.%s', async (type, field, pair) => {
    const other = type === 'Post' ? 'User' : 'Post';
    const schema = `type Query { a: ID } type ${type} { ${field} } type ${other} { id: ID }`;
    const { rules, lines } = await setUp({ schema, dataSource });
    expect(rules[pair]).toEqual(['post:*']);
    expect(lines.join('\n')).toContain(`no column accounts for ${type}.${field}`);
  });

  it('a table between beside a column makes the rule broad too', async () => {
    const user = { name: 'User', tablePath: 'users', tableType: 'regular', relations: [] };
    const kinds = { isManyToOne: false, isOneToMany: false, isOneToOneOwner: false, isOneToOneNotOwner: false };
    const relation = { ...kinds, isManyToMany: false, joinColumns: [], inverseEntityMetadata: user };
    const author = [{ databaseName: 'author_id', referencedColumn: { databaseName: 'id' } }];
    const relations = [
      { ...relation, propertyPath: 'author', isManyToOne: true, joinColumns: author },
      { ...relation, propertyPath: 'reviewers', isManyToMany: true },
    ];
    const source = {
      entityMetadatas: [user, { ...user, name: 'Post', tablePath: 'posts', relations }],
      query: async () => [],
    };
    const rulesOf = (entityMetadatas: typeof source.entityMetadatas) =>
      setUp({ dataSource: { ...source, entityMetadatas }, foreignKeys: false, watch });
    expect((await rulesOf(source.entityMetadatas)).rules['user -> post']).toEqual(['post:*']);
    const without = { ...source.entityMetadatas[1]!, relations: relations.slice(0, 1) };
    expect((await rulesOf([user, without])).rules['user -> post']).toEqual(['post:author_id:{id}']);
  });

  it.each(['user', 'post'])('a domain that several tables feed has broad rules: %s', async (domain) => {
    const tables = [...watch, { table: 'others', domain }];
    const { rules, lines } = await setUp({ foreignKeys: database.pool, watch: tables });
    expect(rules['user -> post']).toEqual(['post:*']);
    expect(lines.join('\n')).toContain(`names no rows: several tables feed the domain ${domain}`);
  });

  it('a table that could be in two schemas is refused unless its own is said', async () => {
    const user = { name: 'Account', tablePath: 'users', tableType: 'regular', relations: [] };
    const relation = {
      ...{ isManyToOne: true, isOneToMany: false, isOneToOneOwner: false, isOneToOneNotOwner: false },
      ...{ isManyToMany: false, propertyPath: 'account', joinColumns: [], inverseEntityMetadata: user },
    };
    const post = { name: 'Post', tablePath: 'posts', tableType: 'regular', relations: [relation] };
    const dataSource = { entityMetadatas: [user, post], query: async () => [] };
    const twice = ['a', 'b'].map((schema) => ({ table: `${schema}.users`, domain: `${schema}_user` }));
    const from = (tablePath: string) => {
      Object.assign(user, { tablePath });
      return setUp({ dataSource, foreignKeys: false, watch: [...twice, watch[1]!] });
    };
    await expect(from('users')).rejects.toThrow(/'users' could be any of the domains a_user, b_user/);
    expect(Object.keys((await from('b.users')).rules)).toEqual(['b_user -> post']);
  });

  it('a partitioned table’s key is one, whatever partitions copy of it', async () => {
    const { graph } = await setUp({ foreignKeys: database.pool });
    expect(graph.edges.find(({ target }) => target === 'visit')!.evidence).toHaveLength(1);
  });

  it('in both directions, on request', async () => {
    const { rules } = await setUp({ foreignKeys: database.pool, bidirectional: true });
    expect(rules).toMatchObject({
      'user -> post': ['post:author_id:{id}', 'post:editor:{id}'],
      'post -> user': ['user:id:{author_id}', 'user:id:{editor}'],
      'user -> user': ['user:best_friend_id:{id}', 'user:id:{best_friend_id}'],
      'post -> label': ['label:*'],
    });
  });
});

it('the graph can be drawn', async () => {
  const { graph } = await setUp({ schema: SDL, foreignKeys: database.pool });
  const drawn = { edges: graph.edges.filter(({ target }) => target === 'comment' || target === 'label') };
  expect(graphToText(drawn)).toBe(
    [
      'post',
      ' ├─> comment (post_id)',
      ' └─> label (table between: post_labels)',
      '',
      'user',
      ' └─> comment (author_id)',
    ].join('\n'),
  );
  expect(graphToMermaid({ edges: [{ ...drawn.edges[0]!, source: 'a"b' }] })).toBe(
    ['graph LR', '  n0["a#34;b"] -->|"post_id"| n1["comment"]'].join('\n'),
  );
});

it.each<[object, RegExp]>([
  [{ foreignKeys: false }, /setupAutoCascadeRules has nowhere to look; write \{ schema \}/],
  [{ prune: true, watch: [] }, /prune would remove every rule, because no table is watched/],
  [{ name: '' }, /name is no non-empty text/],
  [{ prune: 'yes' }, /prune is neither true nor false; write prune: true/],
  [{ shema: SDL }, /there is no option 'shema'; known are schema/],
  [{ schema: {} }, /schema is no GraphQL schema; give a GraphQLSchema/],
  [{ foreignKeys: 'yes' }, /foreignKeys is neither true nor a connection/],
  [{ dataSource: { entityMetadatas: [] } }, /dataSource knows no entities/],
  [
    { schema: SDL, watch, domainOf: () => 'users' },
    /domainOf\('User'\) returned "users", which no watched table feeds/,
  ],
])('wrong options are refused: %#', async (options, message) => {
  await expect(setUp(options as AutoCascadeOptions)).rejects.toThrow(message);
});

it('a name that could be two domains’ is refused, with what to write', async () => {
  const tables = ['Users', 'USER'].map((domain) => ({ table: domain, domain }));
  await expect(setUp({ schema: SDL, watch: tables })).rejects.toThrow(
    /'User' could be any of the domains Users, USER; say which: domainOf/,
  );
});

it('says so where the cache is not installed', async () => {
  const elsewhere = await createDatabase({ extension: false });
  try {
    const found = setUp({ foreignKeys: elsewhere.pool });
    await expect(found).rejects.toThrow(NotInstalledError);
    await expect(found).rejects.toThrow('the cache is not installed in this database, so no table is watched');
  } finally {
    await elsewhere.drop();
  }
});
