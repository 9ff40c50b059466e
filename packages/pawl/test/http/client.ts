import { once } from 'node:events';
import { Agent, type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';

/** What a client sends. */
export interface Sending {
  readonly method?: 'GET' | 'HEAD' | 'POST';
  readonly path?: string;
  /** `Idempotency-Key`, as many times as there are values. */
  readonly key?: string | string[];
  /** Who sends it; empty for a request without `Authorization`. */
  readonly member?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | undefined;
}

export interface Received {
  readonly status: number;
  readonly statusMessage: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** Whether the connection had carried a request before. */
  readonly onSameConnection: boolean;
}

/** Connections that are kept: what an answer leaves on one of them, the next would find there. */
const agent = new Agent({ keepAlive: true, maxSockets: 60 });

/** Ends the connections that are kept. */
export function endConnections(): void {
  agent.destroy();
}

export async function send(
  port: number,
  { method = 'POST', path = '/pay', key, member = 'kim', headers = {}, body }: Sending,
  through: Agent = agent,
): Promise<Received> {
  const own: OutgoingHttpHeaders = { ...headers };
  if (member !== '') own.authorization = `Bearer ${member}`;
  if (key !== undefined) own['idempotency-key'] = key;
  if (body !== undefined) own['content-type'] ??= 'application/json';
  // Without it Node sends chunks, and then there is a body.
  if (!('transfer-encoding' in headers)) own['content-length'] = Buffer.byteLength(body ?? '');
  const sent = request({ host: '127.0.0.1', port, method, path, agent: through, headers: own });
  sent.end(body);
  const [response] = await once(sent, 'response');
  return {
    status: response.statusCode,
    statusMessage: response.statusMessage,
    headers: response.headers,
    body: await buffer(response),
    onSameConnection: sent.reusedSocket,
  };
}

/** A client whose every byte is the test's. */
export async function open(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  // A server may end the connection while something is still being sent.
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

/** @returns everything that comes until the server ends the connection. */
export async function allFrom(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (data) => {
    text += data.toString('latin1');
  });
  // An error comes before it, and says nothing more.
  await new Promise((resolve) => socket.once('close', resolve));
  return text;
}

/** A POST as bytes, for a connection that ends with its answer. */
export function requestBytes(
  caseId: string,
  headers: readonly string[],
  body: string,
  { path = '/pay', length = Buffer.byteLength(body) } = {},
): Buffer {
  const lines = [
    `POST ${path} HTTP/1.1`,
    'Host: 127.0.0.1',
    'Connection: close',
    'Authorization: Bearer kim',
    'Content-Type: application/json',
    `Content-Length: ${length}`,
    `X-Case: ${caseId}`,
    ...headers,
  ];
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`, 'latin1');
}
