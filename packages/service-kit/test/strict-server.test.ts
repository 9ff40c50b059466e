import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import { expect, onTestFinished, test } from 'vitest';
import { adoptRoutes, createStrictServer } from '../src/index.ts';

const response = { 200: Type.String() };
const open = { schema: { response }, config: { auth: 'public' } } as const;

function serverOf(requestTimeoutMs = 1_000) {
  const server = createStrictServer({
    bodyLimitBytes: 1_000,
    requestTimeoutMs,
    logger: false,
    errorBody: (status, code, message) => ({ status, code, message }),
  });
  onTestFinished(() => server.app.close());
  return server;
}

/** Sends bytes, and returns all that comes until the connection ends. */
async function send(url: string, bytes: string): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.write(bytes);
  return text(socket);
}

test('a route without a schema of its answers, or without an auth rule, is refused', () => {
  const { app } = serverOf();
  expect(() => app.get('/a', { config: open.config }, async () => 'x')).toThrow('GET /a has no schema');
  expect(() => app.get('/b', { schema: { response } }, async () => 'x')).toThrow('GET /b has no auth rule');
  const both = { method: ['PUT', 'POST'], url: '/c', handler: async () => 'x', schema: { response } };
  expect(() => app.route(both as never)).toThrow('PUT /c has no auth rule');
});

test('every route is told, with its rule, and a plugin that knows of no rules is given some', async () => {
  const { app, routes } = serverOf();
  app.get('/a', open, async () => 'x');
  app.route({ method: ['PUT', 'POST'], url: '/b/:id', ...open, handler: async () => 'x' });
  await adoptRoutes(
    app,
    { auth: 'operator', response },
    async (scope: FastifyInstance, { path }: { path: string }) => {
      scope.get(path, async () => 'theirs');
      scope.register(async (inner: FastifyInstance) => {
        inner.get('/inner', { config: { auth: 'lab' } }, async () => 'theirs');
      });
    },
    { path: '/theirs' },
  );
  expect(routes).toEqual([
    { method: 'GET', url: '/a', auth: 'public' },
    { method: 'PUT', url: '/b/:id', auth: 'public' },
    { method: 'POST', url: '/b/:id', auth: 'public' },
    { method: 'GET', url: '/theirs', auth: 'operator' },
    // What says its rule keeps it.
    { method: 'GET', url: '/inner', auth: 'lab' },
  ]);
  // Nobody else is exempt.
  expect(() => app.get('/ours', async () => 'x')).toThrow('has no schema');
});

test('who sends no HTTP, too much of a head, or too slowly, is answered in the server’s own words', async () => {
  const { app } = serverOf(200);
  app.post('/a', open, async () => 'x');
  const url = await app.listen({ port: 0 });
  const slow = 'POST /a HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n';
  const [none, large, slowHead, slowBody] = await Promise.all([
    send(url, 'hello\r\n\r\n'),
    send(url, `GET /a HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`),
    send(url, 'GET /a HTTP/1.1\r\nhost:'),
    send(url, slow),
  ]);
  const answerOf = (answer: string) => {
    const [head = '', body = ''] = answer.split('\r\n\r\n');
    expect(head).toContain(`content-length: ${body.length}`);
    return JSON.parse(body);
  };
  expect(none).toMatch(/^HTTP\/1.1 400 Bad Request\r\n/);
  expect(answerOf(none)).toMatchObject({ status: 400, code: 'invalid-request' });
  expect(answerOf(large)).toMatchObject({ status: 431, code: 'headers-too-large' });
  for (const timedOut of [slowHead, slowBody]) {
    expect(answerOf(timedOut)).toMatchObject({ status: 408, code: 'request-timeout' });
  }
});

test('who is being answered hears nothing else', async () => {
  const { app } = serverOf();
  const answering = Promise.withResolvers<void>();
  app.get('/slow', open, async (_request, reply) => {
    reply.hijack();
    reply.raw.write('x');
    await answering.promise;
    reply.raw.end();
  });
  const url = await app.listen({ port: 0 });
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  const answer = text(socket);
  socket.write('GET /slow HTTP/1.1\r\nhost: x\r\n\r\n');
  socket.once('data', () => socket.write('no HTTP at all\r\n\r\n'));
  const said = await answer.catch((error: NodeJS.ErrnoException) => error.code ?? '');
  answering.resolve();
  expect(said).not.toContain('HTTP/1.1 400');
});
