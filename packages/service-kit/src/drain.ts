import type { IncomingMessage } from 'node:http';

/** How much of a refused body is read for courtesy, and for how long. */
const MOST_BYTES = 8 * 1024 * 1024;
const LONGEST_MS = 2_000;

/**
 * Reads and forgets what is still to come of a request, within limits.
 *
 * A server that answers and closes while the client is still sending resets the connection, and the client, or
 * the proxy between, may lose the answer with it.
 */
export function drain(request: IncomingMessage): Promise<void> {
  if (request.readableEnded || request.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    let bytes = 0;
    const finish = () => {
      clearTimeout(timer);
      request.off('data', count).off('end', finish).off('close', finish).off('error', finish);
      resolve();
    };
    const count = (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MOST_BYTES) finish();
    };
    const timer = setTimeout(finish, LONGEST_MS);
    request.on('data', count).on('end', finish).on('close', finish).on('error', finish);
    request.resume();
  });
}
