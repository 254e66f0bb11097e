import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { type EntryOptions, type ResultCache } from 'nestjs-result-cache';
import { CascadeWorld } from '../support/cascade-world.js';

let world: CascadeWorld;

beforeAll(async () => {
  world = await CascadeWorld.open();
});
afterAll(() => world.close());
beforeEach(() => world.reset());

const AUTHORS = [1, 2, 3];

/** Posts of an author with what the author's row says, declared as posts only: the rule has to do the rest. */
it.each<[string, (author: number) => EntryOptions, string]>([
  ['by a linked column', (author) => ({ rows: [['post', { author_id: author }]] }), 'post:author:{id}'],
  ['by a column that the rule does not name', (author) => ({ rows: [['post', { id: author }]] }), 'post:author:{id}'],
  ['by its domain', () => ({ domains: ['post'] }), 'post'],
])(
  'a read declared %s is never older than a commit to the source that it cascades from',
  async (_, depends, pattern) => {
    await world.register({ source: 'user', cascadeTo: [pattern], columns: ['level'] });
    const committed = new Map(AUTHORS.map((author) => [author, author]));
    let hits = 0;
    let computed = 0;
    let writing = true;

    const write = async (): Promise<void> =>
      world.connected(async (client) => {
        for (let round = 0; round < 60; round++) {
          const author = AUTHORS[round % 3]!;
          await client.query('BEGIN');
          const { rows } = await client.query<{ level: number }>(
            `UPDATE users SET level = level + 1 WHERE id = $1 RETURNING level`,
            [author],
          );
          await client.query(`UPDATE users SET name = 'unseen' WHERE id = 200`);
          await client.query(round % 5 === 4 ? 'ROLLBACK' : 'COMMIT');
          if (round % 5 !== 4) committed.set(author, rows[0]!.level);
        }
        writing = false;
      });
    const read = async (cache: ResultCache): Promise<void> => {
      for (let round = 0; writing || round < 30; round++) {
        const author = AUTHORS[round % 3]!;
        const least = committed.get(author)!;
        let fresh = false;
        const level = await cache.getOrSet(
          `${pattern} ${author}`,
          async () => {
            fresh = true;
            const { rows } = await world.sql(
              'SELECT u.level FROM posts p JOIN users u ON u.id = p.author_id WHERE p.author_id = $1',
              [author],
            );
            return (rows[0] as { level: number }).level;
          },
          { ...depends(author), ttl: 60 },
        );
        if (fresh) computed++;
        else hits++;
        expect(level).toBeGreaterThanOrEqual(least);
      }
    };
    await Promise.all([write(), read(world.one.cache), read(world.two.cache), read(world.two.cache)]);
    expect(hits).toBeGreaterThan(0);
    expect(computed).toBeGreaterThan(0);
  },
);
