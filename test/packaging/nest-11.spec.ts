import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { join } from 'node:path';
import { createPosts, expectCached, expectIntegrated, serve } from './behaviour.js';
import { succeed } from './command.js';
import { Project, type BuildOptions } from './project.js';
import { allEntryPoints, projectFile, quickStart, quickStartJestOptions } from './sources.js';

/** What `nest new` of Nest 11 writes, of late and before. */
const nodenext = { module: 'nodenext', esModuleInterop: true, isolatedModules: true };
const classical = { module: 'commonjs', moduleResolution: 'node10' };

let project: Project;

beforeAll(async () => {
  project = await Project.install({
    '@nestjs/common': '11.2.10',
    '@nestjs/core': '11.2.10',
    '@nestjs/platform-express': '11.2.10',
    '@nestjs/platform-fastify': '11.2.8',
    '@nestjs/schedule': '6.1.3',
    '@nestjs/terminus': '11.1.1',
    '@nestjs/testing': '11.2.6',
    '@nestjs/typeorm': '11.0.3',
    '@types/node': '^20.19.0',
    jest: '30.5.2',
    pg: '8.23.1',
    'prom-client': '15.1.3',
    'reflect-metadata': '0.2.2',
    rxjs: '7.8.2',
    'ts-jest': '29.4.15',
    graphql: '16.15.0',
    typeorm: '0.3.31',
    typescript: '5.9.3',
  });
});
afterAll(() => project?.remove());

describe('on Nest 11 with TypeScript 5.9, the quick start', () => {
  it.each<[string, BuildOptions['type'], Record<string, unknown>]>([
    ['CommonJS', 'commonjs', nodenext],
    ['CommonJS, compiled the classical way', 'commonjs', classical],
    ['ES modules', 'module', nodenext],
  ])('runs as %s', async (name, type, compilerOptions) => {
    const folder = name.toLowerCase().replace(/\W+/g, '-');
    await serve(
      await project.build(folder, { type, compilerOptions, files: { 'main.ts': quickStart() } }),
      expectCached,
    );
  });
});

describe('on Nest 11 with a TypeORM 0.3 data source, terminus, prom-client and schedule', () => {
  const files = {
    'main.ts': projectFile('with-typeorm.ts'),
    'posts.ts': projectFile('posts.ts'),
    'entries.ts': allEntryPoints(),
  };

  it.each<[string, Record<string, unknown>]>([
    ['express', nodenext],
    ['fastify', classical],
  ])('caches in a service on %s', async (adapter, compilerOptions) => {
    const folder = await project.build(`full-${adapter}`, { type: 'commonjs', compilerOptions, files });
    await succeed(process.execPath, ['dist/entries.js'], folder);
    await serve(
      folder,
      async (app, database) => {
        await expectCached(app, database);
        await expectIntegrated(app);
      },
      { ADAPTER: adapter },
    );
  });
});

describe('on Nest 11, the tests of an application', () => {
  it('run in jest as CommonJS, with the line of configuration that the quick start names', async () => {
    const folder = await project.build('tested', {
      type: 'commonjs',
      compilerOptions: nodenext,
      files: {
        'posts.ts': projectFile('posts.ts'),
        // As one writes it in CommonJS, and as jest finds it.
        'posts.spec.ts': projectFile('unit-test.ts').replace('./posts.js', './posts'),
      },
    });
    // That of `nest new`, and the line.
    await project.write('tested/jest.config.json', {
      rootDir: 'src',
      testRegex: '.*\\.spec\\.ts$',
      transform: { '^.+\\.(t|j)s$': 'ts-jest' },
      testEnvironment: 'node',
      ...quickStartJestOptions(),
    });
    const database = await createPosts();
    try {
      const jest = join(project.folder, 'node_modules', 'jest', 'bin', 'jest.js');
      const output = await succeed(process.execPath, [jest, '--config', 'jest.config.json'], folder, {
        DATABASE_URL: database.url,
      });
      expect(output).toContain('2 passed');
    } finally {
      await database.drop();
    }
  });
});
