import { register } from 'node:module';

// Lets node run this workspace's TypeScript sources as they are: `node --import ./test/support/register-ts.mjs file.ts`.
register('./ts-hooks.mjs', import.meta.url);
