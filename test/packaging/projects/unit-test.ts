import { expect, it } from '@jest/globals';
import { Test } from '@nestjs/testing';
import { CacheModule, CacheService, TenantContext } from 'nestjs-result-cache';
import { Database, PostsService } from './posts.js';

class CountingDatabase extends Database {
  calls = 0;

  async rows<T>(): Promise<T[]> {
    this.calls++;
    return [{ title: 'Hello' }] as T[];
  }
}

it('tests a service without the module', async () => {
  const tenant = new TenantContext();
  const service = new PostsService(new CountingDatabase(), tenant);
  expect(await tenant.run('acme', () => service.latest())).toEqual([{ title: 'Hello' }]);
});

it('tests a service with the module', async () => {
  const app = await Test.createTestingModule({
    imports: [
      CacheModule.forRoot({
        connection: process.env.DATABASE_URL!,
        tenancy: 'required',
        watch: [{ table: 'posts', domain: 'post' }],
      }),
    ],
    providers: [PostsService, { provide: Database, useClass: CountingDatabase }],
  }).compile();
  await app.init();
  const latest = () => app.get(TenantContext).run('acme', () => app.get(PostsService).latest());
  expect(await latest()).toEqual([{ title: 'Hello' }]);
  await app.get(CacheService).engine.drain();
  expect(await latest()).toEqual([{ title: 'Hello' }]);
  expect(app.get<CountingDatabase>(Database).calls).toBe(1);
  await app.close();
});
