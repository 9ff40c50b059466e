import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type HttpBindings, serve } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { Hono, type MiddlewareHandler } from 'hono';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { idempotentRoute } from '../../src/http/hono.ts';
import { EVERYBODY } from '../../src/http/index.ts';
import { idempotencyKeys, memoryIdempotencyStore } from '../../src/index.ts';
import { endConnections, type Received, send } from './client.ts';
import { onHono } from './frameworks/hono.ts';
import { testGuardedServices } from './guarded-services.ts';
import { MOST_BYTES } from './stage.ts';

testGuardedServices(onHono);

type Handler = MiddlewareHandler<{ Bindings: HttpBindings }>;

interface Route {
  readonly handler: Handler;
  /** Middleware of the whole service's. */
  readonly before?: Handler;
  /** Middleware between the guard and the handler. */
  readonly between?: Handler;
}

const pass: Handler = (_, next) => next();

/** A service with one guarded route. @returns a client that sends the same request again and again. */
async function start({ handler, before = pass, between = pass }: Route) {
  const app = new Hono<{ Bindings: HttpBindings }>();
  app.onError((error, context) => context.text(error.message, 500));
  const keys = idempotencyKeys(memoryIdempotencyStore(), { leaseMs: 60_000, renewForMs: 0 });
  const guard = idempotentRoute({ keys, member: EVERYBODY, maxAnswerBytes: MOST_BYTES });
  app.post('/pay', before, guard as Handler, between, handler);
  const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }) as Server;
  await once(server, 'listening');
  onTestFinished(async () => {
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  });
  const { port } = server.address() as AddressInfo;
  return (more = {}) => send(port, { key: 'key', body: '{"amount":1000}', ...more });
}

const textOf = ({ status, body }: Received) => `${status} ${body}`;
const codeOf = ({ body }: Received) => JSON.parse(body.toString()).code;

describe('a guarded route of Hono', () => {
  afterAll(endConnections);

  test('what comes after the guard is stored, and what comes before it is at work on every answer', async () => {
    let runs = 0;
    const sendTo = await start({
      before: async (context, next) => {
        await next();
        context.header('x-served-in', 'a moment');
      },
      between: async (context, next) => {
        await next();
        context.header('etag', '"7"');
      },
      handler: async (context) => context.json({ bill: ++runs }),
    });
    expect((await sendTo()).headers).toMatchObject({ etag: '"7"', 'x-served-in': 'a moment' });
    const again = await sendTo();
    expect(textOf(again)).toBe('200 {"bill":1}');
    expect(again.headers).toMatchObject({ etag: '"7"', 'x-served-in': 'a moment' });
  });

  test('the headers of a response that the service has made before are on every answer', async () => {
    const sendTo = await start({
      before: async (context, next) => {
        context.res.headers.set('access-control-allow-origin', '*');
        await next();
      },
      handler: async (context) => {
        context.res.headers.set('x-trace', 'abc');
        return context.text('paid');
      },
    });
    const [first, again, refused] = [await sendTo(), await sendTo(), await sendTo({ body: '{}' })];
    expect([first.status, again.status, refused.status]).toEqual([200, 200, 422]);
    for (const { headers } of [first, again, refused]) {
      expect(headers['access-control-allow-origin']).toBe('*');
      expect(headers['x-trace']).toBe(headers === first.headers ? 'abc' : undefined);
    }
  });

  test('a body that has been parsed as a form before is a mistake', async () => {
    let runs = 0;
    const sendTo = await start({
      before: async ({ req }, next) => {
        await req.formData();
        await next();
      },
      handler: async (context) => context.json(++runs),
    });
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const received = await sendTo({ body: 'amount=1000', headers });
    expect(received.status).toBe(500);
    expect(received.body.toString()).toContain('context.req.arrayBuffer()');
    expect(runs).toBe(0);
  });

  test.each(['*', '/api/*'])(
    'the same key on two routes behind one guard on %s is two keys',
    async (pattern) => {
      let runs = 0;
      const app = new Hono();
      app.use(
        pattern,
        idempotentRoute({ keys: idempotencyKeys(memoryIdempotencyStore()), member: EVERYBODY }),
      );
      for (const path of ['/api/pay', '/api/refund']) app.post(path, (context) => context.text(`${++runs}`));
      const sendTo = async (path: string) => {
        const headers = { 'idempotency-key': 'key' };
        return (await app.request(path, { method: 'POST', headers, body: '{}' })).text();
      };
      expect([await sendTo('/api/pay'), await sendTo('/api/refund'), await sendTo('/api/pay')]).toEqual([
        '1',
        '2',
        '1',
      ]);
    },
  );

  test('a form is the handler’s to parse', async () => {
    const sendTo = await start({
      handler: async (context) => context.text(String((await context.req.parseBody()).amount)),
    });
    const form = { body: 'amount=1000', headers: { 'content-type': 'application/x-www-form-urlencoded' } };
    expect([await sendTo(form), await sendTo(form)].map(textOf)).toEqual(['200 1000', '200 1000']);
    expect((await sendTo({ ...form, body: 'amount=1001' })).status).toBe(422);
  });

  test.each([
    ['answers with nothing', async () => undefined],
    ['throws what is no error', () => Promise.reject('no')],
    ['answers with a body that fails', async () => new Response(failing())],
  ])('a handler that %s has perhaps had its effect: its key is taken', async (_, handler) => {
    let runs = 0;
    const sendTo = await start({
      handler: (context, next) => {
        runs++;
        return (handler as Handler)(context, next);
      },
    });
    // What is no error is none of Hono's: its server ends it, with 500 or without an answer.
    await sendTo().then(
      ({ status }) => expect(status).toBe(500),
      () => undefined,
    );
    expect((await sendTo()).status).toBe(409);
    expect(runs).toBe(1);
  });

  test('of a body without an end no more is read than is stored', async () => {
    let bytes = 0;
    let isCanceled = false;
    const endless = () =>
      new ReadableStream({
        pull(controller) {
          bytes += 100;
          controller.enqueue(new Uint8Array(100));
        },
        cancel() {
          isCanceled = true;
        },
      });
    const sendTo = await start({ handler: async () => new Response(endless()) });
    for (const received of [await sendTo(), await sendTo()]) {
      expect(received.status).toBe(500);
      expect(codeOf(received)).toBe('answer-too-large');
    }
    expect(isCanceled).toBe(true);
    expect(bytes).toBeLessThan(2 * MOST_BYTES);
  });

  test('a body in several pieces that are all there is no stream', async () => {
    const pieces = () =>
      new ReadableStream({
        start(controller) {
          for (const piece of ['pa', 'id']) controller.enqueue(Buffer.from(piece));
          controller.close();
        },
      });
    const sendTo = await start({ handler: async () => new Response(pieces(), { status: 201 }) });
    expect([await sendTo(), await sendTo()].map(textOf)).toEqual(['201 paid', '201 paid']);
  });

  test('an answer that is text is not read as a stream', async () => {
    let reads = 0;
    const sendTo = await start({
      between: async (context, next) => {
        await next();
        const { res } = context;
        Object.defineProperty(res, 'body', { get: () => reads++ });
      },
      handler: async (context) => context.json({ paid: 'yes' }, 201, { 'x-trace': 'abc' }),
    });
    const [first, again] = [await sendTo(), await sendTo()];
    expect([textOf(first), textOf(again)]).toEqual(['201 {"paid":"yes"}', '201 {"paid":"yes"}']);
    expect([first.headers['x-trace'], first.headers['content-type'], again.headers['content-type']]).toEqual([
      ...['abc', 'application/json', 'application/json'],
    ]);
    expect(reads).toBe(0);
  });

  test.each([
    ['text that is not ASCII', 'bezahlt: fünf €'],
    ['text that has no bytes of its own', 'half of a pair: \ud83d'],
    ['no text', ''],
  ])('the same bytes are sent first and again: %s', async (_, text) => {
    const sendTo = await start({ handler: async (context) => context.text(text) });
    const [first, again] = [await sendTo(), await sendTo()];
    expect(first.body).toEqual(Buffer.from(text));
    expect(again.body).toEqual(first.body);
    expect(again.headers['content-type']).toBe(first.headers['content-type']);
  });

  test.each([
    ['{"amount":1000}', '{"amount":1000}'],
    ['{"from":"Zoë €"}', '{"from":"Zoë €"}'],
    // A mark of the byte order is none of the text.
    ['\ufeff{"amount":1000}', '{"amount":1000}'],
  ])('the handler reads %j as text, as JSON and as bytes', async (body, text) => {
    const sendTo = await start({
      handler: async ({ req, json }) =>
        json([await req.text(), await req.json(), Buffer.from(await req.arrayBuffer()).toString('hex')]),
    });
    const received = await sendTo({ body });
    expect(JSON.parse(received.body.toString())).toEqual([
      ...[text, JSON.parse(text), Buffer.from(body).toString('hex')],
    ]);
  });

  test('a handler that writes to the connection itself: what it wrote is sent, and is not done again', async () => {
    let runs = 0;
    const sendTo = await start({
      handler: async (context) => {
        context.env.outgoing.end(`by itself ${++runs}`);
        return RESPONSE_ALREADY_SENT;
      },
    });
    expect(textOf(await sendTo())).toBe('200 by itself 1');
    expect(codeOf(await sendTo())).toBe('streaming-answer');
    expect(runs).toBe(1);
  });
});

function failing(): ReadableStream {
  return new ReadableStream({
    start(controller) {
      controller.error(new Error('no'));
    },
  });
}
