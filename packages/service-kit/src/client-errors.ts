import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';

/** Of a request that was refused before there was one: its bytes are no HTTP, or come too slowly. */
export interface ClientError extends Error {
  readonly code?: string;
}

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

const UNREADABLE: Refusal = {
  status: 400,
  code: 'invalid-request',
  message: 'The request cannot be read as HTTP.',
};
const REFUSALS: Readonly<Record<string, Refusal>> = {
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: 408,
    code: 'request-timeout',
    message: 'The request took too long to arrive.',
  },
  HPE_HEADER_OVERFLOW: { status: 431, code: 'headers-too-large', message: 'The headers are too long.' },
};

/**
 * Answers on the bare connection, and ends it. Who is being answered already hears no second answer, and who has gone hears
 * nothing.
 *
 * @returns  whether an answer was sent
 */
export function refuseClient(
  error: ClientError,
  socket: Socket,
  errorBody: (status: number, code: string, message: string) => object,
): boolean {
  if (error.code === 'ECONNRESET' || socket.destroyed) return false;
  const { status, code, message } = REFUSALS[error.code ?? ''] ?? UNREADABLE;
  // As Node's own handler does: an answer whose head has gone out must not be followed by another's.
  const answering =
    (socket as { _httpMessage?: { headersSent: boolean } })._httpMessage?.headersSent === true;
  if (!socket.writable || answering) {
    socket.destroy();
    return false;
  }
  const body = JSON.stringify(errorBody(status, code, message));
  socket.write(
    [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      'connection: close',
      'content-type: application/json; charset=utf-8',
      `content-length: ${Buffer.byteLength(body)}`,
      '',
      body,
    ].join('\r\n'),
  );
  socket.destroySoon();
  return true;
}
