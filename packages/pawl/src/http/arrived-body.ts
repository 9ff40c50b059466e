import type { IncomingMessage } from 'node:http';
import { MisuseError } from '../errors.ts';

/**
 * The bytes of a body that a parser of the service's has read before.
 *
 * @param kept  What was kept of it, where something was.
 * @param how  How to keep it, for whoever reads the error.
 * @returns undefined for a body that nobody has read: the service takes none of its kind.
 * @throws MisuseError  It has been read, and its bytes are gone.
 */
export function arrivedBody(request: IncomingMessage, kept: unknown, how: string): Uint8Array | undefined {
  if (kept instanceof Uint8Array) return kept;
  const { 'content-length': length = '0', 'transfer-encoding': coding } = request.headers;
  if (coding === undefined && Number(length) === 0) return Buffer.of();
  if (!request.readableDidRead) return undefined;
  throw new MisuseError(`a guarded route needs the body as it arrived, and it has been parsed: ${how}`);
}
