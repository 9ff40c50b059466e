import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A server by way of a proxy that counts round trips. */
export interface CountedServer {
  readonly port: number;
  /**
   * How often a client has spoken after the server, so far. What is sent in several packets is one, and so is what is sent
   * before an answer has come.
   */
  trips(): number;
  close(): Promise<void>;
}

export async function countRoundTrips(url: string): Promise<CountedServer> {
  const { hostname, port } = new URL(url);
  const sockets = new Set<Socket>();
  let trips = 0;

  const proxy = createServer((client) => {
    const server = connect(Number(port), hostname);
    let asking = false;
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (data) => {
      if (!asking) trips++;
      asking = true;
      server.write(data);
    });
    server.on('data', (data) => {
      asking = false;
      client.write(data);
    });
  });

  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return {
    port: (proxy.address() as AddressInfo).port,
    trips: () => trips,
    async close() {
      proxy.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
