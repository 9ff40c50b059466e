import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import type { RaceRequest, Target } from '../../src/racer/exchange.ts';

/** A real server on a free loopback port, which ends with the test, and sees everything that its sockets see. */
export interface TestServer {
  target: Target;
  /** Every connection that was ever accepted, in order. */
  sockets: Socket[];
}

/** Hands every accepted connection to `onConnection`. */
export function tcpServer(onConnection: (socket: Socket) => void): Promise<TestServer> {
  return listen(createServer(onConnection));
}

export function httpServer(onRequest: RequestListener): Promise<TestServer> {
  return listen(createHttpServer(onRequest));
}

async function listen(server: Server): Promise<TestServer> {
  const sockets: Socket[] = [];
  server.on('connection', (socket: Socket) => {
    sockets.push(socket);
    socket.on('error', () => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { target: { host: '127.0.0.1', port: (server.address() as AddressInfo).port }, sockets };
}

/** Resolves when everything that the request has to say has arrived. */
export async function wholeBody(request: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

export function post(target: Target, body = '{"pay":"once"}', path = '/api/tickets'): RaceRequest {
  return { target, method: 'POST', path, headers: { 'content-type': 'application/json' }, body };
}

/** Polls until it holds; the test's own time-out is the bound. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}
