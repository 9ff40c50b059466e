import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * What becomes of a COMMIT, or of a command of Redis, on its way: it passes; it is carried out and its answer is lost with
 * the connection; it is lost with the connection itself; or it never arrives and these bytes are its answer.
 */
export type CommitFate = 'passes' | 'answer-lost' | 'request-lost' | Uint8Array;

export interface DatabaseProxy {
  readonly port: number;
  /** From now on nothing passes in either direction, and no connection ends. */
  fallSilent(): void;
  /** What connects from now on gets through; connections that are silent stay so. */
  speakAgain(): void;
  /** How many have been taken, those that have ended included. */
  connections(): number;
  close(): Promise<void>;
}

/**
 * A TCP proxy in front of a database that tampers with COMMITs, or with what else `isIt` knows; `fateOf` is asked with their
 * number, from 1.
 */
export async function startProxy(
  databaseUrl: string,
  fateOf: (commit: number) => CommitFate = () => 'passes',
  isIt: (data: Buffer) => boolean = isCommit,
): Promise<DatabaseProxy> {
  const { hostname, port } = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  let connections = 0;
  let commits = 0;
  let silent = false;
  const silenced = new WeakSet<Socket>();

  const server = createServer((client) => {
    connections++;
    const database = connect(Number(port), hostname);
    const isSilent = () => silent || silenced.has(client);
    const cut = () => {
      client.destroy();
      database.destroy();
    };
    for (const socket of [client, database]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        if (!isSilent()) cut();
      });
    }
    let answerIsLost = false;
    client.on('data', (data) => {
      if (isSilent()) return;
      const fate = isIt(data) ? fateOf(++commits) : 'passes';
      if (fate instanceof Uint8Array) client.write(fate);
      else if (fate === 'request-lost') cut();
      else if (fate === 'answer-lost') {
        answerIsLost = true;
        // The server carries out all that has been sent, finds the end of it, and closes; the client is told of nothing before that.
        database.end(data);
      } else database.write(data);
    });
    database.on('data', (data) => {
      if (!isSilent() && !answerIsLost) client.write(data);
    });
  });

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    fallSilent() {
      silent = true;
    },
    speakAgain() {
      silent = false;
      for (const socket of sockets) silenced.add(socket);
    },
    connections: () => connections,
    async close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** The drivers send a statement without values as its text, each in a packet of its own. */
function isCommit(data: Buffer): boolean {
  return /\bcommit\b/i.test(data.toString('latin1'));
}

/** For `startProxy`: the command of Redis with this name. Drivers send each in an array of its own. */
export function isRedisCommand(name: string): (data: Buffer) => boolean {
  return (data) => data.toString('latin1').includes(`\r\n${name}\r\n`);
}

/** How MySQL says that a statement has failed: an ERR packet, the first in answer to a command. */
export function mysqlError(number: number, sqlState: string, message: string): Uint8Array {
  const body = Buffer.concat([
    Buffer.from([0xff, number & 0xff, number >> 8]),
    Buffer.from(`#${sqlState}${message}`, 'latin1'),
  ]);
  return Buffer.concat([Buffer.from([body.length, 0, 0, 1]), body]);
}
