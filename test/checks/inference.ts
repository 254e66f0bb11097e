import { startServer } from '@workspace/embedded-server';
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { checkInference } from './inference-check.js';

const USAGE =
  'npm run check:inference -- --schema FILE.sql   (tables, views and functions, as pg_dump --schema-only writes them)';

const { values } = parseArgs({ options: { schema: { type: 'string' } } });
if (values.schema === undefined) {
  console.error(USAGE);
  process.exit(2);
}
// Lines of psql's own are left out.
const sql = (await readFile(values.schema, 'utf8')).replace(/^\\.*$/gm, '');
const server = await startServer();
try {
  const client = new pg.Client(server.url());
  await client.connect();
  await client.query('CREATE DATABASE schema_under_check');
  await client.end();
  const url = server.url('schema_under_check');
  const loading = new pg.Client(url);
  await loading.connect();
  await loading.query(sql).finally(() => loading.end());
  const { agreed, unknown, writes, problems } = await checkInference(url);
  for (const [statement, tables] of agreed) console.log(`${statement}: ${tables.join(', ') || '-'}`);
  for (const [statement, why] of unknown) console.log(`${statement}: unknown, since ${why}`);
  console.log(
    `${agreed.size} agree with the locks, ${unknown.size} unknown, ${writes} tables written, ${problems.length} problems`,
  );
  for (const problem of problems) console.error(problem);
  process.exitCode = problems.length > 0 || agreed.size === 0 ? 1 : 0;
} finally {
  await server.stop();
}
