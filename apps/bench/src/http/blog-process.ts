import { once } from 'node:events';
import { type Server } from 'node:http';
import { type AddressInfo } from 'node:net';
import { createVariant, type Variant } from './blog-variants.js';

/** One variant of the blog, in a process of its own: its name and the database are the arguments. Says where it listens. */
const app = await createVariant(process.argv[2] as Variant, process.argv[3]!);
await app.init();
const http = app.getHttpServer() as Server;
await once(http.listen(0, '127.0.0.1'), 'listening');
process.send!({ url: `http://127.0.0.1:${(http.address() as AddressInfo).port}` });
process.once('disconnect', () => process.exit(0));
