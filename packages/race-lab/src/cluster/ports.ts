import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { PortTakenError } from './errors.ts';

/** Below the range from which systems take ports for outgoing connections, so that none takes ours meanwhile. */
const FIRST_PORT = 20_000;
const LAST_PORT = 32_000;

/** Where a server's port comes from. */
export interface PortChoice {
  /**
   * The port to try.
   *
   * @throws PortTakenError  The port is fixed and cannot be opened.
   */
  next(): Promise<number>;
  /** The option that fixes the port; absent when another one will do as well. */
  fixedBy?: string;
}

/** Any port that is free. */
export const freePort: PortChoice = { next: findFreePort };

/** @param option  The option by which the user chose it, as he writes it. */
export function fixedPort(port: number, option: string): PortChoice {
  reserved.add(port);
  return {
    fixedBy: option,
    async next() {
      const state = await probePort(port);
      if (state !== 'free') {
        throw new PortTakenError(state === 'taken' ? 'PORT_TAKEN' : 'PORT_FORBIDDEN', port, option);
      }
      return port;
    },
  };
}

/** The port of a server that has ended, for its successor. */
export function samePort(port: number): PortChoice {
  return { next: async () => port };
}

/** Whether a server could listen on `port` of 127.0.0.1 at this moment. */
export function probePort(port: number): Promise<'free' | 'taken' | 'forbidden'> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve('taken');
      else if (error.code === 'EACCES') resolve('forbidden');
      else reject(error);
    });
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve('free')));
  });
}

/** Fixed ports, whose servers may start later than those that take any port. */
const reserved = new Set<number>();
/**
 * The next port to try. Always moving on keeps two servers that start together apart, where a probe alone would
 * give both the same port; the random start does so for two labs.
 */
let candidate = randomInt(FIRST_PORT, LAST_PORT);

async function findFreePort(): Promise<number> {
  for (let tried = FIRST_PORT; tried < LAST_PORT; tried++) {
    const port = candidate;
    candidate = port + 1 < LAST_PORT ? port + 1 : FIRST_PORT;
    if (!reserved.has(port) && (await probePort(port)) === 'free') return port;
  }
  throw new Error(`no port from ${FIRST_PORT} to ${LAST_PORT - 1} is free on 127.0.0.1`);
}
