import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { fromHeader, TenantContext } from 'nestjs-result-cache';
import { type CachedEntityRepository } from 'nestjs-result-cache/typeorm';
import { ChildEntity, Column, Entity, PrimaryGeneratedColumn, TableInheritance } from 'typeorm';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { closeNest } from '../support/nest.js';
import { startOrm, type StartedOrm } from './orm.js';

@Entity('contents')
@TableInheritance({ column: { name: 'kind', type: 'varchar' } })
class Content {
  @PrimaryGeneratedColumn() id!: number;
  @Column() tenantId!: string;
}
@ChildEntity()
class Photo extends Content {
  @Column({ nullable: true }) width!: number;
}
@ChildEntity()
class Essay extends Content {
  @Column({ nullable: true }) text!: string;
}

let database: TestDatabase;
let one: StartedOrm;
let contents: CachedEntityRepository<Content>;
let tenants: TenantContext;

beforeAll(async () => {
  database = await createDatabase();
  one = await startOrm(database, {
    entities: [Content, Photo, Essay],
    options: { tenancy: { mode: 'required', resolver: fromHeader('x-tenant-id') } },
  });
  contents = one.cached(Content);
  tenants = one.app.get(TenantContext);
  await one.source.getRepository(Photo).save({ tenantId: 'acme', width: 3 });
  await one.source.getRepository(Essay).save({ tenantId: 'globex', text: 'long' });
});

afterAll(async () => {
  await closeNest();
  await database.drop();
});

describe('a cached repository of a tenant', () => {
  it('keeps entries apart, also of the same query', async () => {
    const read = (): Promise<unknown> => contents.find();
    await tenants.run('acme', () => one.prime(read));
    expect(await tenants.run('acme', () => one.outcome(read))).toBe('hit');
    expect(await tenants.run('globex', () => one.outcome(read))).toBe('computed');
    expect(await tenants.run('acme', () => one.outcome(read))).toBe('hit');
    expect(await tenants.run('acme', () => one.outcome(() => contents.find({}, { tenant: 'shared' })))).toBe(
      'computed',
    );
  });

  it('reads nothing without one', async () => {
    await expect(contents.find()).rejects.toThrow('tenant');
    await expect(contents.cached(contents.repository.createQueryBuilder('c')).getMany()).rejects.toThrow('tenant');
  });
});

describe('single-table inheritance', () => {
  it('is one table, whose children come back as what they are', async () => {
    await tenants.run('acme', async () => {
      const read = (): Promise<Content[]> => contents.find({ order: { id: 'ASC' } });
      await one.prime(read);
      const [photo, essay] = await read();
      expect(photo).toBeInstanceOf(Photo);
      expect(essay).toBeInstanceOf(Essay);
      const mine = (): Promise<unknown> => one.cached(Photo).findBy({ tenantId: 'acme' });
      const others = (): Promise<unknown> => one.cached(Essay).findBy({ tenantId: 'globex' });
      await one.prime(mine, others);
      await one.source.getRepository(Photo).update({ tenantId: 'acme' }, { width: 4 });
      expect(await one.outcome(mine)).toBe('computed');
      expect(await one.outcome(others)).toBe('hit');
      expect(await read()).toMatchObject([{ width: 4 }, { text: 'long' }]);
    });
  });
});
