import { describe, expect, it } from '@jest/globals';
import { migrations } from './sql.js';

describe('the migrations', () => {
  const functions = migrations().flatMap(({ sql }) => sql.match(/^CREATE FUNCTION [^;$]*/gm) ?? []);

  // Not seen on the tests' own server, which has no LLVM: an exchange took 50 ms instead of less than one.
  it('switch just-in-time compilation off wherever they switch a kind of scan off', () => {
    const restricted = functions.filter((head) => head.includes('enable_seqscan = off'));
    expect(restricted).not.toHaveLength(0);
    for (const head of restricted) expect(head).toContain('SET jit = off');
  });

  it('pin the search path of every function that runs with its owner’s rights', () => {
    const definers = functions.filter((head) => head.includes('SECURITY DEFINER'));
    expect(definers).not.toHaveLength(0);
    for (const head of definers) expect(head).toContain('SET search_path = pg_catalog, pg_temp');
  });
});
