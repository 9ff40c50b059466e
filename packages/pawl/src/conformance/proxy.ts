import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * What becomes of a request: it passes; or it is carried out and its answer is lost with the connection; or it is lost
 * itself, with the connection.
 */
export type Fate = 'passes' | 'answer-lost' | 'request-lost';

export interface CuttingProxy {
  readonly port: number;
  /** How many requests came by that are meant. */
  seen(): number;
  /** Resolves when the first of them has been cut off. */
  readonly cut: Promise<void>;
  /** Cuts every connection that there is now; new ones pass. */
  cutAll(): void;
  close(): Promise<void>;
}

/**
 * A TCP proxy that cuts connections at the requests that `isIt` knows; what becomes of each is asked of `fateOf`, by its
 * number from 1. Drivers send a COMMIT, a statement without values, and a command of Redis each in one piece.
 */
export async function startProxy(
  server: { readonly host: string; readonly port: number },
  isIt: (data: Buffer) => boolean,
  fateOf: (request: number) => Fate,
): Promise<CuttingProxy> {
  const sockets = new Set<Socket>();
  const firstCut = Promise.withResolvers<void>();
  let seen = 0;

  const proxy = createServer((client) => {
    const database = connect(server.port, server.host);
    let answerIsLost = false;
    const end = () => {
      client.destroy();
      database.destroy();
    };
    const cut = () => {
      end();
      firstCut.resolve();
    };
    for (const socket of [client, database]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        end();
      });
    }
    client.on('data', (data) => {
      const fate = isIt(data) ? fateOf(++seen) : 'passes';
      if (fate === 'request-lost') return cut();
      answerIsLost = fate === 'answer-lost';
      database.write(data);
    });
    database.on('data', (data) => {
      if (answerIsLost) cut();
      else client.write(data);
    });
  });

  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return {
    port: (proxy.address() as AddressInfo).port,
    seen: () => seen,
    cut: firstCut.promise,
    cutAll() {
      for (const socket of sockets) socket.destroy();
    },
    async close() {
      const closed = once(proxy, 'close');
      proxy.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

export function isCommit(data: Buffer): boolean {
  return /\bcommit\b/i.test(data.toString('latin1'));
}

/** One that contains this text, which is plain. */
export function isStatement(text: string): (data: Buffer) => boolean {
  return (data) => data.toString('latin1').includes(text);
}

export function isRedisCommand(name: string): (data: Buffer) => boolean {
  return (data) => data.toString('latin1').toUpperCase().includes(`\r\n${name}\r\n`);
}
