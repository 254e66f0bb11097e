import { expect, it } from '@jest/globals';
import { readConfig } from '../src/config.js';

it('has defaults, also for variables that are set to nothing', () => {
  const defaults = { port: 3000, databaseUrl: undefined, scale: 1 };
  expect(readConfig({})).toEqual(defaults);
  expect(readConfig({ PORT: '', DATABASE_URL: '', BLOG_SCALE: '' })).toEqual(defaults);
});

it('takes what is given', () => {
  expect(readConfig({ PORT: '0', DATABASE_URL: 'postgres://x', BLOG_SCALE: '.5' })).toEqual({
    port: 0,
    databaseUrl: 'postgres://x',
    scale: 0.5,
  });
});

it.each(['abc', '-1', '65536', '80.5', ' 80', '0x50'])('refuses the port %j in one line', (PORT) => {
  expect(() => readConfig({ PORT })).toThrow(/^PORT: ".*" is not a port; write a whole number from 0 to 65535$/);
});

it.each(['0', '-1', 'NaN', '101', '1e1', 'big'])('refuses the scale %j in one line', (BLOG_SCALE) => {
  expect(() => readConfig({ BLOG_SCALE })).toThrow(/^BLOG_SCALE: ".*" is not a scale; write a number above 0/);
});
