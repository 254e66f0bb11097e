import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

interface Pair {
  client: Socket;
  server: Socket;
}

/** What stands between a process and its database in real life, and fails there: forwards bytes on loopback until told not to. */
export class Proxy {
  private readonly pairs = new Set<Pair>();
  private readonly swallowed = new Set<Pair>();
  private listener: Server | undefined;
  private hanging = false;
  private port = 0;

  private constructor(private target: number) {}

  /** @param target Port on loopback to forward to. */
  static async to(target: number): Promise<Proxy> {
    const proxy = new Proxy(target);
    await proxy.open();
    return proxy;
  }

  /** The address of a database behind the proxy. */
  through(url: string): string {
    const address = new URL(url);
    address.port = String(this.port);
    return address.href;
  }

  /** Cut all connections; new ones are accepted. */
  cut(): void {
    for (const { client, server } of [...this.pairs, ...this.swallowed]) {
      client.resetAndDestroy();
      server.destroy();
    }
    this.pairs.clear();
    this.swallowed.clear();
  }

  /** Cut all connections and refuse new ones. */
  async close(): Promise<void> {
    const { listener } = this;
    this.listener = undefined;
    this.cut();
    if (listener === undefined) return;
    const closed = once(listener, 'close');
    listener.close();
    await closed;
  }

  /** Accept connections again, and forward them to the same port or another. */
  async open(target = this.target): Promise<void> {
    this.target = target;
    this.listener = createServer((client) => this.forward(client));
    this.listener.listen(this.port, '127.0.0.1');
    await once(this.listener, 'listening');
    this.port = (this.listener.address() as AddressInfo).port;
  }

  /** Forward nothing more, in connections old and new, and keep them open. */
  hang(): void {
    this.hanging = true;
    for (const pair of this.pairs) freeze(pair);
  }

  /** Forward again, what was held back too. */
  resume(): void {
    this.hanging = false;
    for (const { client, server } of this.pairs) {
      client.resume();
      server.resume();
    }
  }

  /** As a firewall does that forgot its connections: the present ones stay open and silent for ever, new ones work. */
  swallow(): void {
    for (const pair of this.pairs) {
      freeze(pair);
      this.pairs.delete(pair);
      this.swallowed.add(pair);
    }
  }

  private forward(client: Socket): void {
    const server = connect(this.target, '127.0.0.1');
    const pair = { client, server };
    this.pairs.add(pair);
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      from.setNoDelay(true);
      from.on('data', (bytes) => void to.write(bytes));
      from.on('error', () => undefined);
      from.on('close', () => {
        to.destroy();
        this.pairs.delete(pair);
        this.swallowed.delete(pair);
      });
    }
    if (this.hanging) freeze(pair);
  }
}

function freeze({ client, server }: Pair): void {
  client.pause();
  server.pause();
}
