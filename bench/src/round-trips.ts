import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * What a client writes at once may arrive in several parts, and a server answers the first before the last is there: the parts are
 * gathered until nothing more has come for so long, in milliseconds.
 */
const GATHERED_MS = 1;

/** A TCP proxy in front of a server that counts how often it is asked and answers. It makes every question a millisecond slower. */
export interface CountingProxy {
  /** The server's URL, through the proxy. */
  readonly url: string;
  /**
   * Round trips so far, of all connections: whatever is sent before the server's next answer on the same connection is one.
   * What the server sends without being asked is none.
   */
  count(): number;
  close(): void;
}

/** @throws the system's error when it cannot listen. */
export async function startCountingProxy(serverUrl: string): Promise<CountingProxy> {
  const { hostname, port } = new URL(serverUrl);
  const sockets = new Set<Socket>();
  let roundTrips = 0;
  const listener = createServer((client) => {
    const server = connect(Number(port), hostname);
    let asking = false;
    let gathered: Buffer[] = [];
    const ask = () => {
      if (!asking) roundTrips++;
      asking = true;
      server.write(Buffer.concat(gathered));
      gathered = [];
    };
    let asksLater: NodeJS.Timeout | undefined;
    client.on('data', (data) => {
      gathered.push(data);
      asksLater ??= setTimeout(ask, GATHERED_MS);
      asksLater.refresh();
    });
    server.on('data', (data) => {
      asking = false;
      client.write(data);
    });
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => undefined); // Its close tells the other side.
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const own = String((listener.address() as AddressInfo).port);
  return {
    url: Object.assign(new URL(serverUrl), { hostname: '127.0.0.1', port: own }).href,
    count: () => roundTrips,
    close() {
      listener.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
