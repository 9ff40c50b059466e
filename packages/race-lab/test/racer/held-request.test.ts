import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { DEFAULT_LIMITS, monotonicUs } from '../../src/racer/exchange.ts';
import { holdRequest } from '../../src/racer/held-request.ts';
import { httpServer, post, tcpServer, until, wholeBody } from './servers.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok';

test('before the release a server has every byte but the last, after it the whole request', async () => {
  let received = '';
  const { target } = await tcpServer((socket) => {
    socket.setEncoding('utf8').on('data', (text: string) => {
      received += text;
      if (received.endsWith('}')) socket.end(OK);
    });
  });
  const one = holdRequest(post(target, '{"pay":"once"}'), DEFAULT_LIMITS);
  await one.held;
  await until(() => received.endsWith('{"pay":"once"'));
  const beforeUs = monotonicUs();
  one.release();
  const exchange = await one.exchange;
  expect(received).toBe(
    [
      'POST /api/tickets HTTP/1.1',
      'content-type: application/json',
      'content-length: 14',
      `Host: 127.0.0.1:${target.port}`,
      'Connection: close',
      '',
      '{"pay":"once"}',
    ].join('\r\n'),
  );
  expect(exchange).toMatchObject({ status: 200, error: undefined });
  expect(exchange.body.toString()).toBe('ok');
  expect(exchange.releasedAtUs).toBeGreaterThanOrEqual(beforeUs);
  expect(exchange.answeredAtUs).toBeGreaterThan(exchange.releasedAtUs);
});

test('without a body the last byte of the headers is held back', async () => {
  let received = '';
  const { target } = await tcpServer((socket) => {
    socket.setEncoding('utf8').on('data', (text: string) => {
      received += text;
      if (received.endsWith('\r\n\r\n')) socket.end(OK);
    });
  });
  const one = holdRequest(
    { target, method: 'GET', path: '/ping?x=1', headers: {}, body: '' },
    DEFAULT_LIMITS,
  );
  await one.held;
  await until(() => received.endsWith('\r\n\r'));
  one.release();
  expect((await one.exchange).status).toBe(200);
  expect(received).toMatch(/^GET \/ping\?x=1 HTTP\/1\.1\r\n/);
});

test('a body of many bytes per character is counted in bytes', async () => {
  let body = '';
  const { target } = await httpServer(async (request, response) => {
    body = await wholeBody(request);
    response.end(request.headers['content-length']);
  });
  const one = holdRequest(post(target, '"로또"'), DEFAULT_LIMITS);
  await one.held;
  one.release();
  expect((await one.exchange).body.toString()).toBe('8');
  expect(body).toBe('"로또"');
});

test('a body larger than the kernel takes at once is not held before the server has read it', async () => {
  const body = 'x'.repeat(16_000_000);
  let bytes = 0;
  const { target, sockets } = await tcpServer((socket) => {
    socket.pause().on('data', (chunk) => {
      bytes += chunk.length;
      if (chunk.at(-1) === 'y'.charCodeAt(0)) socket.end(OK);
    });
  });
  const one = holdRequest(post(target, `${body}y`), DEFAULT_LIMITS);
  let held = false;
  const holding = one.held.then(() => {
    held = true;
  });
  await until(() => sockets.length === 1);
  for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(held).toBe(false);
  sockets[0]?.resume();
  await holding;
  await until(() => bytes > body.length);
  one.release();
  expect((await one.exchange).status).toBe(200);
});

test('an answer in chunks is collected whole', async () => {
  const { target } = await httpServer(async (request, response) => {
    await wholeBody(request);
    response.setHeader('X-Server-Name', 'lotto-back-3');
    response.write('{"a":');
    await new Promise((resolve) => setImmediate(resolve));
    response.end('1}');
  });
  const one = holdRequest(post(target), DEFAULT_LIMITS);
  await one.held;
  one.release();
  const { status, headers, body, error } = await one.exchange;
  expect({ status, body: body.toString(), error }).toEqual({
    status: 200,
    body: '{"a":1}',
    error: undefined,
  });
  expect(headers).toMatchObject({ 'transfer-encoding': 'chunked', 'x-server-name': 'lotto-back-3' });
});

/** Answers on the raw socket when the whole request is there. */
async function rawAnswer(answer: (socket: Socket) => void, limits = {}) {
  const { target } = await tcpServer((socket) => {
    let received = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      received += text;
      if (received.endsWith('}')) answer(socket);
    });
  });
  const one = holdRequest(post(target), { ...DEFAULT_LIMITS, ...limits });
  await one.held;
  one.release();
  return one.exchange;
}

test('an answer that ends with the connection is collected whole', async () => {
  const { status, body } = await rawAnswer((socket) => socket.end('HTTP/1.0 400 Bad Request\r\n\r\nno'));
  expect([status, body.toString()]).toEqual([400, 'no']);
});

test.each([
  ['a reset', 'reset', (socket: Socket) => socket.resetAndDestroy()],
  ['an end without an answer', 'reset', (socket: Socket) => socket.end()],
  ['an end within the headers', 'reset', (socket: Socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Le')],
  [
    'an end within the body',
    'reset',
    (socket: Socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"a"'),
  ],
  [
    'an end within a chunk',
    'reset',
    (socket: Socket) => socket.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"a"'),
  ],
  [
    'an upgrade that nobody asked for',
    'reset',
    (socket: Socket) =>
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'),
  ],
  ['no HTTP at all', 'HPE_INVALID_CONSTANT', (socket: Socket) => socket.end('hello\r\n\r\n')],
])('%s is no answer', async (_name, error, answer) => {
  const exchange = await rawAnswer(answer);
  expect(exchange).toMatchObject({ status: undefined, headers: {}, error });
  expect(exchange.body).toHaveLength(0);
});

test('an answer that never comes is a time-out, also when its headers came', async () => {
  const limits = { answerTimeoutMs: 50 };
  const silent = await rawAnswer(() => undefined, limits);
  const stuck = await rawAnswer(
    (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"a"'),
    limits,
  );
  for (const { status, error, releasedAtUs, answeredAtUs } of [silent, stuck]) {
    expect({ status, error }).toEqual({ status: undefined, error: 'timeout' });
    expect(answeredAtUs - releasedAtUs).toBeGreaterThanOrEqual(48_000);
  }
});

test('an answer without end is cut off', async () => {
  const exchange = await rawAnswer(
    (socket) => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      const more = () => socket.destroyed || socket.write('x'.repeat(1000), () => more());
      more();
    },
    { maxAnswerBytes: 10_000 },
  );
  expect(exchange).toMatchObject({ status: undefined, error: 'too-large' });
});

test('an answer to an incomplete request is marked, and the release then does nothing', async () => {
  const { target } = await httpServer((_request, response) => response.writeHead(413).end('too large'));
  const one = holdRequest(post(target), DEFAULT_LIMITS);
  const exchange = await one.exchange;
  await one.held;
  one.release();
  expect(exchange).toMatchObject({ status: 413, error: 'early-answer' });
  expect(exchange.answeredAtUs).toBe(exchange.releasedAtUs);
});

test('a connection that is lost while held is told, and the release then does nothing', async () => {
  const { target, sockets } = await tcpServer((socket) => socket.resume());
  const one = holdRequest(post(target), DEFAULT_LIMITS);
  await one.held;
  await until(() => sockets.length === 1);
  sockets[0]?.resetAndDestroy();
  expect(await one.exchange).toMatchObject({ status: undefined, error: 'reset' });
  one.release();
});

test('a held request waits longer than it was given to prepare', async () => {
  let answer: ServerResponse | undefined;
  const { target } = await httpServer((request, response) => {
    answer = response;
    wholeBody(request).then(() => response.end());
  });
  const one = holdRequest(post(target), { ...DEFAULT_LIMITS, prepareTimeoutMs: 300 });
  await one.held;
  await until(() => answer !== undefined);
  const heldUntilMs = performance.now() + 350;
  await until(() => performance.now() > heldUntilMs);
  one.release();
  expect(await one.exchange).toMatchObject({ status: 200, error: undefined });
});

test('nobody there, and nobody who reads, end the preparation', async () => {
  const closed = holdRequest(post({ host: '127.0.0.1', port: 1 }), DEFAULT_LIMITS);
  await closed.held;
  expect(await closed.exchange).toMatchObject({ status: undefined, error: 'ECONNREFUSED' });

  const deaf = await tcpServer((socket) => socket.pause());
  const limits = { ...DEFAULT_LIMITS, prepareTimeoutMs: 50 };
  const stuck = holdRequest(post(deaf.target, 'x'.repeat(16_000_000)), limits);
  await stuck.held;
  expect(await stuck.exchange).toMatchObject({ status: undefined, error: 'prepare-timeout' });
});

test('a port that is none is refused at once', () => {
  expect(() => holdRequest(post({ host: '127.0.0.1', port: 65_536 }), DEFAULT_LIMITS)).toThrow(RangeError);
});

test('an abandoned request never becomes whole, and its connection is gone', async () => {
  let whole = 0;
  const { target, sockets } = await httpServer((request, response) => {
    wholeBody(request).then(
      () => {
        whole += 1;
        response.end();
      },
      () => response.destroy(),
    );
  });
  const one = holdRequest(post(target), DEFAULT_LIMITS);
  await one.held;
  one.abandon();
  one.release();
  expect(await one.exchange).toMatchObject({ status: undefined, error: 'aborted' });
  await until(() => sockets.length === 1 && sockets[0]?.destroyed === true);
  expect(whole).toBe(0);
});

test.each([
  ['a header that breaks the line', { headers: { 'x-a': 'b\r\nx-c: d' } }, 'ERR_INVALID_CHAR'],
  ['a path with a blank', { path: '/a b' }, 'ERR_UNESCAPED_CHARACTERS'],
  ['a method that is none', { method: 'PO ST' }, 'ERR_INVALID_HTTP_TOKEN'],
])('%s is refused at once', async (_name, over, code) => {
  const { target } = await tcpServer((socket) => socket.resume());
  expect(() => holdRequest({ ...post(target), ...over }, DEFAULT_LIMITS)).toThrow(
    expect.objectContaining({ code }),
  );
});

test('every request has a connection of its own', async () => {
  const { target, sockets } = await httpServer(async (request, response) => {
    await wholeBody(request);
    response.end();
  });
  const many = Array.from({ length: 12 }, () => holdRequest(post(target), DEFAULT_LIMITS));
  await Promise.all(many.map(({ held }) => held));
  await until(() => sockets.length === 12);
  for (const { release } of many) release();
  const exchanges = await Promise.all(many.map(({ exchange }) => exchange));
  expect(exchanges.map(({ status }) => status)).toEqual(Array(12).fill(200));
  expect(sockets).toHaveLength(12);
});
