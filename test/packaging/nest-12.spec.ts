import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { expectCached, expectIntegrated, serve } from './behaviour.js';
import { succeed } from './command.js';
import { manifest, Project, workspaceVersions } from './project.js';
import { allEntryPoints, projectFile, quickStart } from './sources.js';

const nodenext = { module: 'nodenext' };
const nest = workspaceVersions(
  '@nestjs/common',
  '@nestjs/core',
  'reflect-metadata',
  'rxjs',
  'pg',
  'typescript',
  '@types/node',
);

describe('on Nest 12 with Express and nothing optional', () => {
  let project: Project;
  beforeAll(async () => {
    project = await Project.install({ ...nest, ...workspaceVersions('@nestjs/platform-express') });
  });
  afterAll(() => project?.remove());

  it('brings none of the optional peers along', async () => {
    const installed = await project.installed();
    expect(installed).toContain('nestjs-result-cache');
    const optional = Object.keys(manifest.peerDependenciesMeta);
    expect(optional).toContain('typeorm');
    expect(installed.filter((name) => optional.includes(name) || name === 'graphql')).toEqual([]);
  });

  it('runs the quick start as ES modules', async () => {
    await serve(
      await project.build('esm', { type: 'module', compilerOptions: nodenext, files: { 'main.ts': quickStart() } }),
      expectCached,
    );
  });

  it('runs the quick start as CommonJS', async () => {
    await serve(
      await project.build('cjs', { type: 'commonjs', compilerOptions: nodenext, files: { 'main.ts': quickStart() } }),
      expectCached,
    );
  });
});

describe('on Nest 12 with Fastify, terminus, prom-client and schedule', () => {
  let project: Project;
  beforeAll(async () => {
    project = await Project.install({
      ...nest,
      ...workspaceVersions('@nestjs/platform-fastify', '@nestjs/terminus', '@nestjs/schedule', 'prom-client'),
    });
  });
  afterAll(() => project?.remove());

  it('caches in a service, with health, metrics and the scheduler', async () => {
    const folder = await project.build('full', {
      type: 'module',
      compilerOptions: nodenext,
      files: {
        'main.ts': projectFile('with-pool.ts'),
        'posts.ts': projectFile('posts.ts'),
        'entries.ts': allEntryPoints(['./typeorm', './graphql']),
      },
    });
    await succeed(process.execPath, ['dist/entries.js'], folder);
    await serve(folder, async (app, database) => {
      await expectCached(app, database);
      await expectIntegrated(app);
    });
  });
});
