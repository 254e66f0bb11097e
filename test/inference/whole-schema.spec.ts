import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { checkInference, type InferenceReport } from '../checks/inference-check.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

let database: TestDatabase;
let report: InferenceReport;

beforeAll(async () => {
  database = await createDatabase();
  await database.pool.query(await readFile(new URL('./schema.sql', import.meta.url), 'utf8'));
  report = await checkInference(database.url);
});

afterAll(() => database.drop());

it('what is inferred of every view and function of a schema is what its locks show, and writes make exactly that void', () => {
  expect(report.problems).toEqual([]);
  expect(report.agreed.size).toBeGreaterThan(25);
  expect(report.writes).toBe(8);
});

it('what nobody can tell of a schema is said, and nothing else', () => {
  expect([...report.unknown.keys()]).toEqual(['TABLE shop.on_secret', 'SELECT * FROM shop.secret()']);
});
