import { rm } from 'node:fs/promises';
import stopServer from '../support/global-teardown.mjs';

export default async function globalTeardown() {
  await stopServer();
  if (globalThis.packageFolder) await rm(globalThis.packageFolder, { recursive: true, force: true });
}
