import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Exclude, instanceToPlain } from 'class-transformer';
import { Column, Entity, ManyToOne, OneToMany, PrimaryGeneratedColumn, type Relation } from 'typeorm';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { closeNest } from '../support/nest.js';
import { startOrm, type StartedOrm } from './orm.js';

class Money {
  constructor(readonly cents: bigint) {}
  get text(): string {
    return `${this.cents / 100n}.${String(this.cents % 100n).padStart(2, '0')}`;
  }
}

class Address {
  @Column({ nullable: true }) city!: string;
  get label(): string {
    return `in ${this.city}`;
  }
}

@Entity('owners')
class Owner {
  @PrimaryGeneratedColumn('uuid') id!: string;
  @Column() name!: string;
  @OneToMany(() => Thing, (thing) => thing.owner) things!: Relation<Thing>[];
}

@Entity('things')
class Thing {
  @PrimaryGeneratedColumn('increment', { type: 'bigint' }) id!: string;
  @Column('timestamptz') at!: Date;
  @Column('date') day!: string;
  @Column('bytea') bytes!: Buffer;
  @Column('numeric', { precision: 30, scale: 10 }) exact!: string;
  @Column('int', {
    transformer: { to: (money: Money) => Number(money.cents), from: (cents: number) => new Money(BigInt(cents)) },
  })
  price!: Money;
  @Column('enum', { enum: ['new', 'old'], default: 'new' }) state!: string;
  @Column('simple-json') settings!: { deep: { list: number[] } };
  @Column('jsonb') document!: { a: null; b: string[] };
  @Column('simple-array') words!: string[];
  @Column('int', { array: true }) numbers!: number[];
  @Exclude() @Column() secret!: string;
  @Column({ nullable: true }) nothing!: string;
  @Column(() => Address) address!: Address;
  @ManyToOne(() => Owner, (owner) => owner.things) owner!: Relation<Owner>;
  get isOld(): boolean {
    return this.state === 'old';
  }
}

@Entity('lazy_things')
class LazyThing {
  @PrimaryGeneratedColumn() id!: number;
  @ManyToOne(() => Owner) owner!: Promise<Owner>;
}

@Entity('guarded')
class Guarded {
  @PrimaryGeneratedColumn() id!: number;
  #count = 1;
  get count(): number {
    return this.#count;
  }
}

let database: TestDatabase;
let one: StartedOrm;
let two: StartedOrm;

const ENTITIES = [Owner, Thing, LazyThing, Guarded];

beforeAll(async () => {
  database = await createDatabase();
  const parts = { entities: ENTITIES, cache: { classes: [Money] } };
  one = await startOrm(database, parts);
  two = await startOrm(database, parts);
  const owner = await one.source.getRepository(Owner).save({ name: 'Ann' });
  await one.source.getRepository(Thing).save({
    at: new Date('2025-01-02T03:04:05.678Z'),
    day: '2025-01-02',
    bytes: Buffer.from([0, 255, 128]),
    exact: '12345678901234567890.0123456789',
    price: new Money(1234n),
    state: 'old',
    settings: { deep: { list: [1, 2] } },
    document: { a: null, b: ['x'] },
    words: ['p', 'q'],
    numbers: [3, 4],
    secret: 'hush',
    address: { city: 'Ulm' } as Address,
    owner,
  });
  await database.pool.query('INSERT INTO lazy_things DEFAULT VALUES; INSERT INTO guarded DEFAULT VALUES');
});

afterAll(async () => {
  await closeNest();
  await database.drop();
});

describe('an entity from the cache', () => {
  it.each([
    ['of the process that read it', () => one],
    ['of another process', () => two],
  ])('%s is what TypeORM made', async (_, orm) => {
    const read = (of: StartedOrm) =>
      of.cached(Owner).findOneOrFail({ where: { name: 'Ann' }, relations: { things: true } });
    await one.prime(() => read(one));
    let found!: Owner;
    expect(await orm().outcome(async () => (found = await read(orm())))).toBe('hit');
    const plain = await one.source
      .getRepository(Owner)
      .findOneOrFail({ where: { name: 'Ann' }, relations: { things: true } });
    expect(found).toStrictEqual(plain);
    const [thing] = found.things as [Thing];
    expect(found).toBeInstanceOf(Owner);
    expect(thing).toBeInstanceOf(Thing);
    expect(thing.isOld).toBe(true);
    expect(thing.at).toBeInstanceOf(Date);
    expect(Buffer.isBuffer(thing.bytes)).toBe(true);
    expect(thing.id).toBe('1');
    expect(thing.exact).toBe('12345678901234567890.0123456789');
    expect(thing.price).toBeInstanceOf(Money);
    expect(thing.price.text).toBe('12.34');
    expect(thing.address).toBeInstanceOf(Address);
    expect(thing.address.label).toBe('in Ulm');
    expect(thing.nothing).toBeNull();
    // What ClassSerializerInterceptor does.
    expect(instanceToPlain(found)).toEqual(instanceToPlain(plain));
    expect(instanceToPlain(thing)).not.toHaveProperty('secret');
    expect(thing.secret).toBe('hush');
  });

  it('is saved as any other', async () => {
    const things = one.cached(Thing);
    await one.prime(() => things.findOneBy({ id: '1' }));
    const thing = (await things.findOneBy({ id: '1' }))!;
    thing.state = 'new';
    await things.repository.save(thing);
    expect((await things.findOneBy({ id: '1' }))?.state).toBe('new');
    await things.repository.update('1', { state: 'old' });
  });

  it.each([
    ['int8', () => one.cached(Thing).findOneBy({ id: '1' }), "UPDATE things SET state = 'new'"],
    [
      'a transformer',
      () => one.cached(Thing).findBy({ price: new Money(1234n) as never }),
      'UPDATE things SET price = 1',
    ],
  ])('is found by %s, and void when it changes', async (_, read, write) => {
    await one.prime(read);
    await database.pool.query(write);
    expect(await one.outcome(read)).not.toBe('hit');
  });

  it('with lazy relations is not kept, and still works', async () => {
    const lazy = one.cached(LazyThing);
    for (const expected of ['bypassed', 'bypassed'])
      expect(await one.outcome(() => lazy.findBy({ id: 1 }))).toBe(expected);
    const [found] = await lazy.findBy({ id: 1 });
    expect(await found!.owner).toBeNull();
    expect([...one.warnings, ...two.warnings].filter((line) => line.includes('lazy relations (owner)'))).toHaveLength(
      1,
    );
    expect(await one.outcome(() => lazy.count())).toBe('computed');
  });

  it('with private fields is not kept', async () => {
    const guarded = one.cached(Guarded);
    for (let turn = 0; turn < 2; turn++) expect(await one.outcome(() => guarded.findOneBy({ id: 1 }))).toBe('computed');
    expect((await guarded.findOneBy({ id: 1 }))?.count).toBe(1);
  });
});
