import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { CacheService } from 'nestjs-result-cache';
import { compare, comparison, table } from '../src/demo/comparison.js';
import { compareHttp, contests } from '../src/demo/queries.js';
import { BlogFixture } from './blog.fixture.js';

let blog: BlogFixture;
beforeAll(async () => {
  blog = await BlogFixture.start();
});
afterAll(() => blog?.stop());

it('compares each query with the same one uncached, also over HTTP', async () => {
  const all = contests(blog.app);
  for (const contest of Object.values(all)) {
    const { computed, cached, ratio } = await compare(contest, 4, 12);
    expect(ratio).toBeCloseTo(computed / cached);
  }
  await blog.app.listen(0, '127.0.0.1');
  const { computed, cached } = await compareHttp(blog.app, await blog.app.getUrl(), 4);
  expect([computed > 0, cached > 0]).toEqual([true, true]);
});

it('refuses to call a miss cached', async () => {
  const { simple } = contests(blog.app);
  const cached = async (round: number): Promise<unknown> => {
    await blog.app.get(CacheService).invalidateDomains('user');
    return simple.cached(round);
  };
  await expect(compare({ ...simple, cached }, 2)).rejects.toThrow(/this is not cached: .*"miss"/);
});

it('refuses to call a cached read computed', async () => {
  const { simple } = contests(blog.app);
  await expect(compare({ ...simple, computed: simple.cached }, 2)).rejects.toThrow(/this is not computed/);
});

it('refuses answers that differ', async () => {
  const { simple, aggregate } = contests(blog.app);
  await expect(compare({ ...simple, computed: aggregate.computed }, 2)).rejects.toThrow(
    /the cached answer is another one/,
  );
});

it('prints medians', () => {
  expect(table([comparison('q', [30, 100, 10], [1, 3, 2, 4])])).toBe(
    '     computed      cached       ratio\nq    30.00 ms     2.50 ms         12×',
  );
});
