import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { TypeOrmModule } from '@nestjs/typeorm';
import { TenantContext } from 'nestjs-result-cache';
import {
  ChildEntity,
  Column,
  Entity,
  JoinTable,
  ManyToMany,
  PrimaryGeneratedColumn,
  TableInheritance,
  type Relation,
} from 'typeorm';
import { cachedEntities, CachedEntity } from '../libs/result-cache/src/typeorm/cached-entity.js';
import { createDatabase, type TestDatabase } from './support/database.js';
import { closeNest, startNest, type StartedNest } from './support/nest.js';
import { installSettled } from './support/settled.js';

let queries = 0;

@Entity({ name: 'people' })
@TableInheritance({ column: { type: 'text', name: 'kind' } })
class Person extends CachedEntity {
  @PrimaryGeneratedColumn()
  id!: number;

  @Column('text', { default: '' })
  name!: string;

  @ManyToMany(() => Label)
  @JoinTable({ name: 'people_labels' })
  labels!: Relation<Label>[];

  static all(): Promise<Person[]> {
    return this.cachedQuery('all', () => {
      queries++;
      return this.find({ relations: { labels: true }, order: { id: 'ASC' } });
    });
  }
}

@ChildEntity()
class Employee extends Person {
  static override cacheTags = ['employee'];
}

@Entity({ name: 'labels' })
class Label extends CachedEntity {
  @PrimaryGeneratedColumn()
  id!: number;

  @Column('text')
  text!: string;
}

@Entity({ name: 'watched_things' })
class Thing extends CachedEntity {
  static override cacheDomains = ['thing'];

  @PrimaryGeneratedColumn()
  id!: number;
}

@Entity({ name: 'notes' })
class Note extends CachedEntity {
  @PrimaryGeneratedColumn()
  id!: number;

  @Column('text', { default: '' })
  text!: string;
}

let database: TestDatabase;
let nest: StartedNest;

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query(`
    CREATE TABLE items (id int PRIMARY KEY, tenant_id text);
    CREATE TABLE people (id serial PRIMARY KEY, kind text NOT NULL DEFAULT 'Person', name text NOT NULL DEFAULT '');
    CREATE TABLE labels (id serial PRIMARY KEY, text text NOT NULL);
    CREATE TABLE people_labels ("peopleId" int REFERENCES people ON DELETE CASCADE, "labelsId" int REFERENCES labels, PRIMARY KEY ("peopleId", "labelsId"));
    CREATE TABLE notes (id serial PRIMARY KEY, text text NOT NULL DEFAULT '');
    CREATE TABLE watched_things (id serial PRIMARY KEY)`);
  await installSettled(database);
});
beforeEach(async () => {
  await database.pool.query(
    `TRUNCATE people, labels, people_labels RESTART IDENTITY; INSERT INTO people (name) VALUES ('ada'); INSERT INTO labels (text) VALUES ('x')`,
  );
  queries = 0;
  nest = await start([cachedEntities()]);
});
afterEach(async () => {
  await closeNest();
  CachedEntity.useCache(null);
  await database.pool.query('DELETE FROM fraiseql_cache.fraiseql_cache');
});
afterAll(() => database.drop());

const start = (providers: ReturnType<typeof cachedEntities>[]) =>
  startNest(database, {
    imports: [
      TypeOrmModule.forRoot({
        type: 'postgres',
        url: database.url,
        entities: [Person, Employee, Label, Thing, Note],
        retryAttempts: 0,
      }),
    ],
    providers,
    options: {
      watch: [
        { table: 'watched_things', domain: 'thing' },
        { table: 'notes', domain: 'note' },
      ],
    },
  });

/** How often the query ran, after it was cached and something happened. */
async function runs(query: () => Promise<unknown>, happens: () => Promise<unknown>): Promise<number> {
  await query();
  await nest.drain();
  queries = 0;
  await happens();
  await query();
  return queries;
}

it('a row of a junction table makes void what both sides have cached', async () => {
  const all = () => Person.all();
  const link = async () => {
    const person = await Person.findOneByOrFail({ id: 1 });
    await Object.assign(person, { labels: await Label.find() }).save();
  };
  expect(await runs(all, link)).toBe(1);
  expect((await Person.all())[0]!.labels.map(({ text }) => text)).toEqual(['x']);
});

it('a child in its parent’s table makes void what the parent has cached', async () => {
  expect(
    await runs(
      () => Person.all(),
      () => Object.assign(new Employee(), { name: 'bob' }).save(),
    ),
  ).toBe(1);
  const people = await Person.all();
  expect(people.map((person) => person.constructor)).toEqual([Person, Employee]);
});

it('another entity’s writes leave it alone', async () => {
  expect(
    await runs(
      () => Person.all(),
      () => Object.assign(new Label(), { text: 'y' }).save(),
    ),
  ).toBe(0);
});

it('invalidateCache does the same by hand', async () => {
  expect(
    await runs(
      () => Person.all(),
      () => Person.invalidateCache(),
    ),
  ).toBe(1);
});

it('a class by itself has queries of its own under the same name', async () => {
  expect((await Employee.all()).length).toBe(0);
  expect((await Person.all()).length).toBe(1);
});

it('tenants are apart', async () => {
  const tenants = nest.app.get(TenantContext);
  const as = (tenant: string) => tenants.run(tenant, () => Person.all());
  expect(
    await runs(
      () => as('acme'),
      () => as('globex'),
    ),
  ).toBe(1);
});

it('domains of watched tables count SQL past TypeORM too', async () => {
  const count = () =>
    Thing.cachedQuery('count', async () => {
      queries++;
      return Thing.count();
    });
  expect(await runs(count, () => database.pool.query('INSERT INTO watched_things DEFAULT VALUES'))).toBe(1);
  expect(await count()).toBe(1);
});

it('entities revive as what they are in a process that never computed them', async () => {
  await Person.all();
  await nest.drain();
  await start([cachedEntities()]);
  queries = 0;
  const people = await Person.all();
  expect([queries, people[0]!.constructor]).toEqual([0, Person]);
});

it('without a cache queries run, and one line says so', async () => {
  CachedEntity.useCache(null);
  expect(
    await runs(
      () => Person.all(),
      async () => undefined,
    ),
  ).toBe(1);
  expect(nest.warnings.filter((line) => line.startsWith('Queries of Person run without the cache'))).toHaveLength(1);
});

it('a name that is none is refused', async () => {
  await expect(Person.cachedQuery('', async () => 1)).rejects.toThrow(/the name is a non-empty text/);
});

it.each<[string, () => Promise<unknown>]>([
  ['the repository’s clear()', () => Note.getRepository().clear()],
  ['a save without listeners', () => Note.save([Note.create({ text: 'b' })], { listeners: false })],
  [
    'an update without listeners',
    () => Note.createQueryBuilder().update().set({ text: 'c' }).callListeners(false).execute(),
  ],
  ['SQL', () => database.pool.query('DELETE FROM notes')],
])('%s makes void what an entity has cached whose table is watched', async (_, write) => {
  await Note.save([Note.create({ text: 'a' })]);
  const all = () =>
    Note.cachedQuery('all', () => {
      queries++;
      return Note.find({ order: { id: 'ASC' } });
    });
  expect(await runs(all, write)).toBe(1);
  expect(await all()).toEqual(await Note.find({ order: { id: 'ASC' } }));
});
