import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { type CachedEntityRepository } from 'nestjs-result-cache/typeorm';
import { Column, Entity, In, Not, PrimaryColumn, type FindOptionsWhere, type Repository } from 'typeorm';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { closeNest } from '../support/nest.js';
import { startOrm, type StartedOrm } from './orm.js';

@Entity()
class Thing {
  @PrimaryColumn()
  id!: number;

  @Column()
  tenant!: number;

  @Column({ type: 'timestamp' })
  at!: Date;

  @Column()
  n!: number;
}

let database: TestDatabase;
let one: StartedOrm;
let things: CachedEntityRepository<Thing>;

beforeAll(async () => {
  database = await createDatabase();
  one = await startOrm(database, { entities: [Thing] });
  things = one.cached(Thing);
});
afterAll(async () => {
  await closeNest();
  await database.drop();
});
beforeEach(() =>
  sql(`CREATE TABLE IF NOT EXISTS other (id int PRIMARY KEY); SELECT fraiseql_cache.watch('other', 'other'); TRUNCATE thing, other;
    INSERT INTO thing SELECT i, i % 3, timestamp '2024-01-01' + i * interval '1 day', i % 2 FROM generate_series(1, 9) i`),
);

const sql = (text: string): Promise<unknown> => database.pool.query(text);

type Where = FindOptionsWhere<Thing> | FindOptionsWhere<Thing>[];

it.each<[what: string, where: () => Where, change: (where: any) => unknown, row: number]>([
  ['a condition more', () => ({ n: 1 }), (where: FindOptionsWhere<Thing>) => (where.id = 1), 3],
  [
    'fewer values of a list',
    () => ({ id: In([1, 2]) }),
    (where: { id: { value: number[] } }) => where.id.value.pop(),
    2,
  ],
  ['fewer alternatives', () => [{ id: 1 }, { id: 2 }], (where: unknown[]) => where.pop(), 2],
  [
    'an operator inside another',
    () => ({ id: Not(In([1, 2])) }),
    (where: { id: { value: number[] } }) => where.id.value.push(3),
    3,
  ],
])('what is read depends on the options of the call: %s afterwards', async (_what, where, change, row) => {
  const given = where();
  const asked = things.findBy(given);
  change(given);
  await asked;
  await one.cache.engine.drain();
  await sql(`UPDATE thing SET at = '1999-01-01' WHERE id = ${row}`);
  const found = (await things.findBy(where())).find(({ id }) => id === row);
  expect(found?.at.getFullYear()).toBe(1999);
});

it('a date that changes after the call is not the one that was asked for', async () => {
  const at = new Date(2024, 0, 3);
  const asked = things.findBy({ at });
  at.setDate(4);
  expect((await asked).map(({ id }) => id)).toEqual([2]);
  await one.cache.engine.drain();
  expect((await things.findBy({ at: new Date(2024, 0, 3) })).map(({ id }) => id)).toEqual([2]);
  expect((await things.findBy({ at: new Date(2024, 0, 4) })).map(({ id }) => id)).toEqual([3]);
});

it('parameters of a query builder that change after the call are not those that were asked for', async () => {
  const byIds = (ids: number[]) =>
    things.cached(things.repository.createQueryBuilder('thing').where('thing.id IN (:...ids)', { ids })).getMany();
  const ids = [1, 2];
  const asked = byIds(ids);
  ids[0] = 5;
  await asked;
  await one.cache.engine.drain();
  expect((await byIds([1, 2])).map(({ id }) => id).sort()).toEqual([1, 2]);
});

it('options that JSON does not show are told apart', async () => {
  const by = (id: number) => Object.defineProperty({}, 'where', { value: { id }, enumerable: false });
  for (const id of [1, 2, 1, 2]) {
    await one.prime(() => things.find(by(id)));
    expect((await things.find(by(id))).map((each) => each.id)).toEqual([id]);
  }
});

it('a repository that adds the tenant of the request to its queries is asked at every read', async () => {
  let tenant: number | undefined;
  const { repository } = things;
  const original = repository.createQueryBuilder.bind(repository);
  repository.createQueryBuilder = (...args: Parameters<Repository<Thing>['createQueryBuilder']>) => {
    const qb = original(...args);
    return tenant === undefined
      ? qb
      : qb.where(`Thing.tenant = :tenant AND NOT EXISTS (SELECT FROM other WHERE other.id = Thing.id)`, { tenant });
  };
  const read = async () => (await things.find({ where: { n: 1 }, order: { id: 'ASC' } })).map(({ id }) => id);
  try {
    for (let round = 0; round < 2; round++)
      for (const [each, ids] of [
        [undefined, [1, 3, 5, 7, 9]],
        [1, [1, 7]],
        [2, [5]],
      ] as const) {
        tenant = each;
        await one.prime(read);
        expect(await read()).toEqual(ids);
      }
    // What it adds may read anything.
    await sql('INSERT INTO other VALUES (5)');
    expect(await read()).toEqual([]);
  } finally {
    delete (repository as Partial<typeof repository>).createQueryBuilder;
  }
});
