import workspace from '../../jest.config.js';

/** Slow, because it installs real projects from the registry: apart from `npm test`. */
export default {
  ...workspace,
  rootDir: '../..',
  roots: ['<rootDir>/test/packaging'],
  testPathIgnorePatterns: ['/node_modules/'],
  globalSetup: '<rootDir>/test/packaging/global-setup.mjs',
  globalTeardown: '<rootDir>/test/packaging/global-teardown.mjs',
  testTimeout: 240_000,
};
