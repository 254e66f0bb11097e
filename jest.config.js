/** One jest run for the whole workspace; sources are compiled by swc, so tests see what is in `src` now. */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/libs', '<rootDir>/apps', '<rootDir>/test'],
  testMatch: ['**/*.spec.ts'],
  testPathIgnorePatterns: ['/node_modules/', '/dist/', '<rootDir>/test/packaging/'],
  modulePathIgnorePatterns: ['/dist/'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: {
          target: 'es2023',
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true },
          keepClassNames: true,
        },
        module: { type: 'es6' },
      },
    ],
  },
  moduleNameMapper: {
    '^@workspace/embedded-server$': '<rootDir>/libs/embedded-server/src/index.ts',
    '^nestjs-result-cache$': '<rootDir>/libs/result-cache/src/index.ts',
    '^nestjs-result-cache/testing$': '<rootDir>/libs/result-cache/src/testing/index.ts',
    '^nestjs-result-cache/(.+)$': '<rootDir>/libs/result-cache/src/$1/index.ts',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  globalSetup: '<rootDir>/test/support/global-setup.mjs',
  globalTeardown: '<rootDir>/test/support/global-teardown.mjs',
  // For machines that are busy with something else too: nothing here is meant to be quick or slow.
  testTimeout: 120_000,
  maxWorkers: 2,
};
