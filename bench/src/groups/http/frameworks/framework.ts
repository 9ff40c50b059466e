import type { Server } from 'node:net';
import type { IdempotencyKeys } from 'pawl';

/** A POST that answers JSON. */
export interface BenchRoute {
  readonly path: string;
  /** Guarded by these keys; undefined: by nothing. */
  readonly keys: IdempotencyKeys | undefined;
  /** @param key  The value of `Idempotency-Key`. @returns what is answered. */
  work(key: string): Promise<object>;
}

/**
 * Serves the routes as a service of that framework would, on a free port of loopback, for as long as the process lives.
 *
 * @returns the port.
 */
export type Serve = (routes: readonly BenchRoute[]) => Promise<number>;

/** Whose requests they are. */
export const MEMBER = 'member-1';
export const HOST = '127.0.0.1';

/** Of a server that listens. */
export function portOf(server: Pick<Server, 'address'>): number {
  const address = server.address();
  if (typeof address !== 'object' || address === null)
    throw new TypeError('the server does not listen on a port');
  return address.port;
}
