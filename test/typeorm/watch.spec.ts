import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Test } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import { CacheModule, PostgresCache, type CacheFeatureOptions, type WatchedEntity } from 'nestjs-result-cache';
import { getCachedRepository, TypeOrmCacheModule } from 'nestjs-result-cache/typeorm';
import {
  ChildEntity,
  Column,
  DataSource,
  Entity,
  ManyToOne,
  PrimaryColumn,
  PrimaryGeneratedColumn,
  TableInheritance,
  Tree,
  TreeChildren,
  TreeParent,
  ViewEntity,
  ViewColumn,
  type Relation,
} from 'typeorm';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { closeNest, startNest } from '../support/nest.js';
import { BLOG, Post, User } from './blog.js';
import { startOrm } from './orm.js';

@Entity({ name: 'Odd name', schema: 'other' })
class Odd {
  @PrimaryColumn('uuid', { name: 'the key' }) key!: string;
  @Column({ name: 'org' }) organisation!: string;
}

@Entity('contents')
@TableInheritance({ column: { name: 'kind', type: 'varchar' } })
class Content {
  @PrimaryGeneratedColumn() id!: number;
  @Column({ nullable: true }) tenantId!: string;
}
@ChildEntity()
class Photo extends Content {
  @ManyToOne(() => User) photographer!: Relation<User>;
}
@ChildEntity()
class Essay extends Content {
  @ManyToOne(() => User) writer!: Relation<User>;
}

@Entity('sections')
@Tree('closure-table')
class Section {
  @PrimaryGeneratedColumn() id!: number;
  @TreeParent() parent!: Relation<Section> | null;
  @TreeChildren() children!: Relation<Section>[];
}

@ViewEntity({ name: 'names', expression: 'SELECT id, name FROM users' })
class Names {
  @ViewColumn() id!: number;
}

@Entity('users')
class Login {
  @PrimaryGeneratedColumn() id!: number;
  @Column() name!: string;
}

@Entity('strangers')
class Stranger {
  @PrimaryGeneratedColumn() id!: number;
}

let database: TestDatabase;

beforeEach(async () => {
  database = await createDatabase();
  await database.pool.query('CREATE SCHEMA other');
});

afterEach(async () => {
  await closeNest();
  await database.drop();
});

afterAll(closeNest);

const ALL = [...BLOG, Odd, Content, Photo, Essay, Section, Names];

async function watchedBy(feature: CacheFeatureOptions, more: Parameters<typeof startOrm>[1] | object = {}) {
  const orm = await startOrm(database, {
    entities: ALL,
    repositories: [],
    imports: [CacheModule.forFeature(feature)],
    ...more,
  });
  return orm.app.get(PostgresCache).watchedRelations();
}

describe('watching entities', () => {
  it('takes tables, tenant columns and foreign keys of all from their metadata', async () => {
    expect(Object.fromEntries(await watchedBy({ watch: 'all' }))).toEqual({
      '"public"."users"': {
        domain: 'user',
        tenantColumn: 'tenant_id',
        tagColumns: [['id'], ['tenant_id'], ['bestFriendId']],
      },
      '"public"."posts"': { domain: 'post', tenantColumn: null, tagColumns: [['id'], ['author_id']] },
      '"public"."comments"': { domain: 'comment', tenantColumn: null, tagColumns: [['id'], ['postId']] },
      '"public"."tags"': { domain: 'tag', tenantColumn: null, tagColumns: [['id']] },
      '"public"."posts_tags_tags"': {
        domain: 'posts_tags_tag',
        tenantColumn: null,
        tagColumns: [['postsId', 'tagsId'], ['postsId'], ['tagsId']],
      },
      '"other"."Odd name"': { domain: 'Odd name', tenantColumn: null, tagColumns: [['the key']] },
      '"public"."contents"': {
        domain: 'content',
        tenantColumn: 'tenantId',
        tagColumns: [['id'], ['tenantId'], ['photographerId'], ['writerId']],
      },
      '"public"."sections"': { domain: 'section', tenantColumn: null, tagColumns: [['id'], ['parentId']] },
      '"public"."sections_closure"': {
        domain: 'sections_closure',
        tenantColumn: null,
        tagColumns: [['id_ancestor', 'id_descendant'], ['id_ancestor'], ['id_descendant']],
      },
    });
  });

  it('of some watches these, and the junction tables between', async () => {
    const watched = await watchedBy({
      watch: [{ entity: Post, domain: 'article', tagColumns: [['title']] }, Photo, 'Odd'],
      tenantColumn: (entity: unknown) => (entity === Odd ? 'organisation' : undefined),
    });
    expect([...watched.keys()].sort()).toEqual([
      '"other"."Odd name"',
      '"public"."contents"',
      '"public"."posts"',
      '"public"."posts_tags_tags"',
    ]);
    expect(watched.get('"public"."posts"')).toEqual({
      domain: 'article',
      tenantColumn: null,
      tagColumns: [['id'], ['author_id'], ['title']],
    });
    expect(watched.get('"other"."Odd name"')?.tenantColumn).toBe('org');
  });

  it('joins what several ask for one table', async () => {
    const watched = await watchedBy(
      { name: 'reports', watch: [{ entity: User, domain: 'member' }], defaultTtl: 5 },
      {
        imports: [
          CacheModule.forFeature({ watch: [User] }),
          CacheModule.forFeature({ name: 'reports', watch: [{ entity: User, domain: 'member' }] }),
        ],
        options: { watch: [{ table: 'users', domain: 'member', tagColumns: [['name']] }] },
      },
    );
    expect(watched.get('"public"."users"')).toEqual({
      domain: 'member',
      tenantColumn: 'tenant_id',
      tagColumns: [['id'], ['tenant_id'], ['bestFriendId'], ['name']],
    });
  });

  it('works on a table whose primary key only the entity knows of', async () => {
    await database.pool.query('CREATE TABLE strangers (id int)');
    const watched = await watchedBy({ watch: [Stranger] }, { entities: [Stranger], source: { synchronize: false } });
    expect(watched.get('"public"."strangers"')?.tagColumns).toEqual([['id']]);
  });

  it('works over the connection of the DataSource itself', async () => {
    const source = await new DataSource({
      type: 'postgres',
      url: database.url,
      entities: BLOG,
      synchronize: true,
    }).initialize();
    try {
      const { app } = await startNest(database, {
        options: { connection: source, tenancy: 'off', watch: [] },
        imports: [CacheModule.forFeature({ watch: [User] })],
      });
      expect([...(await app.get(PostgresCache).watchedRelations()).keys()]).toEqual(['"public"."users"']);
      await closeNest();
    } finally {
      await source.destroy();
    }
  });

  it('takes the DataSource that is named, where there are several', async () => {
    const reports = { name: 'reports', type: 'postgres', url: database.url, entities: BLOG, retryAttempts: 0 } as const;
    const { app, source } = await startOrm(database, {
      entities: BLOG,
      repositories: [],
      imports: [TypeOrmModule.forRoot(reports), TypeOrmCacheModule.forFeature([User], { dataSource: 'reports' })],
    });
    const users = getCachedRepository(app, User, 'reports');
    expect(await users.find()).toEqual([]);
    expect(users.repository.manager.dataSource).not.toBe(source);
    await closeNest();
    const unnamed = watchedBy(
      { watch: [User] },
      { imports: [TypeOrmModule.forRoot(reports), CacheModule.forFeature({ watch: [User] })] },
    );
    await expect(unnamed).rejects.toThrow("say which: dataSource: 'name'");
  });

  it('prints the statements where it may not run them', async () => {
    const source = await new DataSource({
      type: 'postgres',
      url: database.url,
      entities: BLOG,
      synchronize: true,
    }).initialize();
    await source.destroy();
    await startNest(database, { options: { tenancy: 'off', watch: [] } });
    await closeNest();
    const { warnings } = await startNest(database, {
      options: { tenancy: 'off', watch: [], autoInitialize: false },
      imports: [
        TypeOrmModule.forRoot({ type: 'postgres', url: database.url, entities: BLOG, retryAttempts: 0 }),
        CacheModule.forFeature({ watch: [User] }),
      ],
    });
    expect(warnings.join('\n')).toContain(
      `SELECT fraiseql_cache.watch('"public"."users"', 'user', 'tenant_id', '[["bestFriendId"]]');`,
    );
  });
});

describe('what cannot be watched', () => {
  it.each<[string, CacheFeatureOptions, string, object?]>([
    ['an entity that no DataSource knows', { watch: [Stranger] }, 'does not know the entity Stranger'],
    ['a view', { watch: [Names] }, 'Names is a view'],
    ['a tenant column that no entity has', { watch: [User], tenantColumn: 'organisation' }, "'organisation'"],
    [
      'a tenant column that an entity lacks',
      { watch: [{ entity: Post, tenantColumn: 'org' }] },
      'Post has no property or column',
    ],
    [
      'a tag column that an entity lacks',
      { watch: [{ entity: Post, tagColumns: [['org']] }] },
      'Post has no property or column',
    ],
    [
      'two domains for one table',
      {
        watch: [
          { entity: User, domain: 'a' },
          { entity: Login, domain: 'b' },
        ],
      },
      'a table feeds one domain',
      { entities: [...BLOG, Login], source: { synchronize: false } },
    ],
    [
      'another domain than the module names',
      { watch: [{ entity: User, domain: 'a' }] },
      "as the domain 'b' and as 'a'",
      { options: { watch: [{ table: 'users', domain: 'b' }] } },
    ],
    ['a DataSource that is not there', { watch: [User], dataSource: 'other' }, "no DataSource named 'other'"],
    ['a table that does not exist', { watch: [User] }, 'does not exist', { source: { synchronize: false } }],
  ])('%s stops the start', async (_, feature, message, more = {}) => {
    if (message === 'a table feeds one domain')
      await database.pool.query('CREATE TABLE users (id int PRIMARY KEY, name text, tenant_id text)');
    await expect(watchedBy(feature, more)).rejects.toThrow(message);
  });

  it('is another database than the cache is in', async () => {
    const elsewhere = await createDatabase();
    try {
      await expect(watchedBy({ watch: [User] }, { options: { connection: elsewhere.url } })).rejects.toThrow(
        'another database',
      );
    } finally {
      await closeNest();
      await elsewhere.drop();
    }
  });

  it('is anything, in an application without a CacheModule, or with repositories on a cache that is not there', async () => {
    const orphan = Test.createTestingModule({ imports: [TypeOrmCacheModule.forFeature([User])] });
    await expect(orphan.compile()).rejects.toThrow('finds no CacheModule; import CacheModule.forRoot');
    const imports = [TypeOrmCacheModule.forFeature([User], { cache: 'gone' })];
    await expect(startNest(database, { options: { watch: [] }, imports })).rejects.toThrow(
      "TypeOrmCacheModule.forFeature: there is no cache 'gone'; import CacheModule.forFeature({ name: 'gone' })",
    );
  });

  it('is anything, in an application without a DataSource', async () => {
    const start = startNest(database, { options: { watch: [] }, imports: [CacheModule.forFeature({ watch: [User] })] });
    await expect(start).rejects.toThrow('no TypeORM DataSource');
  });

  it.each<[string, unknown, string]>([
    ['nothing', {}, 'needs a name or entities'],
    ['an empty list', { watch: [] }, 'watch is no list of entities'],
    ['an entity that is undefined', { watch: [undefined] }, 'circular import'],
    ['something else', { watch: [42] }, 'watch[0] is no entity'],
    ['an unknown option', { watch: [User], tenantcolumn: 'x' }, "did you mean 'tenantColumn'"],
    [
      'an unknown option of an entity',
      { watch: [{ entity: User, domian: 'x' } as WatchedEntity] },
      "did you mean 'domain'",
    ],
    ['a domain that is no name', { watch: [{ entity: User, domain: '' }] }, 'domain is no name'],
    ['a tenant column that is no name', { watch: [User], tenantColumn: 1 }, 'tenantColumn is neither'],
    [
      'options of a cache without a name',
      { watch: [User], defaultTtl: 5 },
      'defaultTtl is an option of a cache with a name',
    ],
    ['a DataSource for no entities', { name: 'reports', dataSource: 'x' }, 'says nothing without entities'],
  ])('is refused at once: %s', (_, feature, message) => {
    expect(() => CacheModule.forFeature(feature as CacheFeatureOptions)).toThrow(message);
  });

  it.each<[string, unknown[], object, string]>([
    ['no entities', [], {}, 'needs a list of entities'],
    ['an unknown option', [User], { ttl: 5 }, "there is no option 'ttl'"],
    ['a cache that is no name', [User], { cache: 5 }, 'cache is no name'],
    ['classes that are no list', [User], { classes: User }, 'classes is no list'],
  ])('makes no repository either: %s', (_, entities, options, message) => {
    expect(() => TypeOrmCacheModule.forFeature(entities as never, options)).toThrow(message);
  });
});
