import { once } from 'node:events';
import { type Server } from 'node:http';
import { type AddressInfo } from 'node:net';
import { createApp } from '../../apps/blog/src/app.js';

/** The blog, in a process of its own, on the database named by the first argument; says where it listens. */
const app = await createApp(process.argv[2]!, { logger: ['error'] });
await app.init();
const http = app.getHttpServer() as Server;
await once(http.listen(0), 'listening');
process.send!({ url: `http://127.0.0.1:${(http.address() as AddressInfo).port}` });
process.once('disconnect', () => process.exit(0));
