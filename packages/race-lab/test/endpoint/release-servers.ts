import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createHttp2Server, createSecureServer, type ServerOptions } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import { generate } from 'selfsigned';
import { onTestFinished } from 'vitest';
import type { HttpVersion, RaceRequest, Target } from '../../src/racer/exchange.ts';

/** What the handlers of both versions of HTTP have in common. */
export interface Asked extends AsyncIterable<Buffer> {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface Answering {
  statusCode: number;
  setHeader(name: string, value: string): unknown;
  end(body: string): unknown;
}

export type Handler = (request: Asked, response: Answering) => unknown;

/** Every way in which a group can be released. */
export const ways: readonly { http: HttpVersion; isTls: boolean }[] = [
  { http: '1.1', isTls: false },
  { http: '1.1', isTls: true },
  { http: '2', isTls: false },
  { http: '2', isTls: true },
];

const made = generate([{ name: 'commonName', value: 'localhost' }], {
  extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] }],
});

/** A certificate for `localhost` and for no other name, that nobody else has signed. */
async function certificate(): Promise<{ key: string; cert: string }> {
  const { private: key, cert } = await made;
  return { key, cert };
}

/** A real server on a free loopback port, which ends with the test. */
export async function releaseServer(
  { http, isTls }: (typeof ways)[number],
  onRequest: Handler,
  settings: ServerOptions['settings'] = {},
): Promise<{ target: Target; url: string; sockets: Socket[] }> {
  const tls = await certificate();
  const server: Server =
    http === '2'
      ? isTls
        ? createSecureServer({ ...tls, settings }, onRequest)
        : createHttp2Server({ settings }, onRequest)
      : isTls
        ? createHttpsServer(tls, onRequest)
        : createServer(onRequest);
  const sockets: Socket[] = [];
  server.on('connection', (socket: Socket) => void sockets.push(socket.on('error', () => socket.destroy())));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const target: Target = {
    ...{ host: '127.0.0.1', port, http },
    ...(isTls ? { tls: { name: 'localhost', ca: tls.cert, insecure: false } } : {}),
  };
  return { target, sockets, url: `${isTls ? 'https' : 'http'}://localhost:${port}` };
}

export async function wholeBody(request: Asked): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

export function pay(target: Target, n: number, over: Partial<RaceRequest> = {}): RaceRequest {
  const headers = { host: `localhost:${target.port}`, 'content-type': 'application/json' };
  return { target, method: 'POST', path: `/pay?n=${n}`, headers, body: `{"pay":"once","n":${n}}`, ...over };
}
