import { expect, test } from 'vitest';
import { keptConnection } from '../../src/racer/kept-connection.ts';
import { httpServer, tcpServer } from './servers.ts';

const LIMIT_MS = 10_000;

const ask = (target: { host: string; port: number }) => ({
  ...{ target, method: 'POST', path: '/api/coupon/x', headers: { 'x-member-id': '7' }, body: '' },
  requestId: 'r-1',
});

test('one connection carries one request after the other, and Node’s server understands them', async () => {
  let asked = 0;
  const { target, sockets } = await httpServer((request, response) => {
    const seen = `${request.method} ${request.url} of ${request.headers['x-member-id']}`;
    response.statusCode = ++asked === 1 ? 200 : 429;
    response.setHeader('x-server-name', 'lotto-back-1');
    response.end(JSON.stringify({ seen }));
  });
  const connection = keptConnection(target);
  await connection.open();
  const first = await connection.send(ask(target), LIMIT_MS);
  const second = await connection.send(ask(target), LIMIT_MS);
  connection.close();
  expect(JSON.parse(first.body.toString())).toEqual({ seen: 'POST /api/coupon/x of 7' });
  expect(first).toMatchObject({ status: 200, error: undefined, request: { requestId: 'r-1' } });
  expect(first.headers['x-server-name']).toBe('lotto-back-1');
  expect(first.answeredAtUs).toBeGreaterThan(first.releasedAtUs);
  expect(second.status).toBe(429);
  expect(sockets).toHaveLength(1);
});

test('an answer in pieces is one answer', async () => {
  const { target } = await tcpServer((socket) => {
    socket.once('data', async () => {
      for (const piece of ['HTTP/1.1 200 OK\r\nContent-', 'Length: 4\r\n\r', '\nok', 'ay']) {
        await new Promise((resolve) => socket.write(piece, resolve));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    });
  });
  const { status, body } = await keptConnection(target).send(ask(target), LIMIT_MS);
  expect([status, body.toString()]).toEqual([200, 'okay']);
});

test('a connection that the server closes is told, and opened again for the next request', async () => {
  let accepted = 0;
  const { target } = await tcpServer((socket) => {
    const nth = ++accepted;
    socket.once('data', () => {
      if (nth === 1) socket.destroy();
      else socket.end('HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    });
  });
  const connection = keptConnection(target);
  expect(await connection.send(ask(target), LIMIT_MS)).toMatchObject({ status: undefined, error: 'reset' });
  expect(await connection.send(ask(target), LIMIT_MS)).toMatchObject({ status: 204, error: undefined });
  expect(await connection.send(ask(target), LIMIT_MS)).toMatchObject({ status: 204, error: undefined });
  expect(accepted).toBe(3);
});

test('an answer that does not say how long it is, and none at all, are told', async () => {
  const endless = await tcpServer((socket) => {
    socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\n\r\nfor ever'));
  });
  const silent = await tcpServer((socket) => void socket.resume());
  const errorOf = async (target: typeof silent.target, limitMs: number) =>
    (await keptConnection(target).send(ask(target), limitMs)).error;
  expect(await errorOf(endless.target, LIMIT_MS)).toBe('reset');
  expect(await errorOf(silent.target, 20)).toBe('timeout');
  await expect(keptConnection({ host: '127.0.0.1', port: 1 }).open()).rejects.toThrow('ECONNREFUSED');
  expect(await errorOf({ host: '127.0.0.1', port: 1 }, LIMIT_MS)).toBe('ECONNREFUSED');
});
