import { cp, rm } from 'node:fs/promises';

// The compiler copies no SQL, and a migration that was renamed must not stay behind beside its new name.
const sql = (folder) => new URL(`../${folder}/postgres/sql/`, import.meta.url);
await rm(sql('dist'), { recursive: true, force: true });
await cp(sql('src'), sql('dist'), { recursive: true });
