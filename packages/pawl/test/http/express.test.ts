import { once } from 'node:events';
import { createServer, type OutgoingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import express, { type ErrorRequestHandler, type Express, type RequestHandler, type Response } from 'express';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { idempotentRoute, keepRawBody } from '../../src/http/express.ts';
import { EVERYBODY, leaseOf } from '../../src/http/index.ts';
import { type IdempotencyKeys, idempotencyKeys, memoryIdempotencyStore } from '../../src/index.ts';
import { endConnections, type Received, send } from './client.ts';
import { onExpress } from './frameworks/express.ts';
import { testGuardedServices } from './guarded-services.ts';

testGuardedServices(onExpress);

/** A service with one guarded route, which is as the test says. */
interface Route {
  readonly handler: RequestHandler;
  readonly keys?: IdempotencyKeys;
  /** Middleware of the whole service's. */
  readonly before?: RequestHandler;
  /** Middleware between the guard and the handler. */
  readonly between?: RequestHandler;
  readonly parser?: RequestHandler;
  readonly failed?: ErrorRequestHandler;
}

/** What this service answers to what nobody expected. */
const failure: ErrorRequestHandler = (error, _, response, next) => {
  if (response.headersSent) return next(error);
  response.status(500).json({ failed: error.message });
};

async function start(
  route: Route,
): Promise<(key?: string, headers?: Record<string, string>) => Promise<Received>> {
  const { handler, keys = idempotencyKeys(memoryIdempotencyStore()), failed = failure } = route;
  const pass: RequestHandler = (_, __, next) => next();
  const { before = pass, between = pass, parser = express.json({ verify: keepRawBody }) } = route;
  const app = express().set('env', 'test');
  app.use(before, parser);
  app.post('/pay', idempotentRoute({ keys, member: EVERYBODY }), between, handler);
  app.use(failed);
  const port = await listen(app);
  return (key = 'key', headers = {}) => send(port, { key, body: '{"amount":1000}', headers });
}

async function listen(app: Express): Promise<number> {
  const server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  });
  return (server.address() as AddressInfo).port;
}

const textOf = ({ body }: Received) => body.toString();

/** Calls `onHead` before the head is written, as `on-headers` does. */
function beforeHead(response: ServerResponse, onHead: () => void): void {
  const { writeHead } = response;
  let told = false;
  response.writeHead = function (this: ServerResponse, ...args: unknown[]) {
    if (!told) onHead();
    told = true;
    return Reflect.apply(writeHead, response, args);
  } as ServerResponse['writeHead'];
}

describe('a guarded route of Express', () => {
  afterAll(endConnections);

  test('of an answer whose head fails nothing is sent: the error handler’s is', async () => {
    let runs = 0;
    let failures = 0;
    const sendTo = await start({
      between: (_, response, next) => {
        beforeHead(response, () => {
          if (failures++ === 0) throw new Error('no session');
        });
        next();
      },
      handler: (_, response) => {
        runs++;
        response.end('a secret');
      },
      failed: (_error, _request, response, _next) => response.status(409).end(Buffer.from('sorry')),
    });
    for (const received of [await sendTo(), await sendTo()]) {
      expect([received.status, textOf(received)]).toEqual([409, 'sorry']);
    }
    expect(runs).toBe(1);
  });

  test.each([
    ['latin1', 'caf\u00e9'],
    ['hex', '636166e9'],
    ['base64', 'Y2Fm6Q=='],
    ['utf16le', 'caf\u00e9'],
    [undefined, 'half of a pair: \ud83d'],
  ] as const)(
    'text in the encoding of its handler has the same bytes first and again: %s',
    async (encoding, text) => {
      const sendTo = await start({
        handler: (_, response) => {
          response.setHeader('content-type', 'text/plain');
          if (encoding === undefined) response.end(text);
          else response.end(text, encoding);
        },
      });
      const [first, again] = [await sendTo(), await sendTo()];
      expect(first.body).toEqual(Buffer.from(text, encoding));
      expect(again.body).toEqual(first.body);
    },
  );

  test('middleware before the guard is at work on every answer, and what comes after it is stored', async () => {
    const sendTo = await start({
      before: (_, response, next) => {
        const { end } = response;
        beforeHead(response, () => response.setHeader('x-served-in', 'a moment'));
        // As a session that is saved before the answer goes out.
        response.end = function (this: ServerResponse, ...args: unknown[]) {
          void nextTurn().then(() => Reflect.apply(end, response, args));
          return response;
        } as typeof end;
        next();
      },
      between: (_, response, next) => {
        beforeHead(response, () => response.setHeader('link', '</bills>').setHeader('x-trace', 'abc'));
        next();
      },
      handler: (_, response) => void response.status(201).location('/bills/1').end('bill'),
    });
    const first = await sendTo();
    expect(first.headers).toMatchObject({ 'x-served-in': 'a moment', link: '</bills>', 'x-trace': 'abc' });
    const again = await sendTo();
    expect({ status: again.status, text: textOf(again) }).toEqual({ status: 201, text: 'bill' });
    expect(again.headers).toMatchObject({
      'x-served-in': 'a moment',
      link: '</bills>',
      location: '/bills/1',
      'idempotency-replayed': 'true',
    });
    expect(again.headers).not.toHaveProperty('x-trace');
  });

  test.each<[string, OutgoingHttpHeaders | string[] | string[][]]>([
    ['an object', { location: '/bills/1', 'set-cookie': ['a=1', 'b=2'] }],
    ['names and values', ['Location', '/bills/1', 'Set-Cookie', 'a=1', 'Set-Cookie', 'b=2']],
    [
      'pairs',
      [
        ['Location', '/bills/1'],
        ['Set-Cookie', 'a=1'],
        ['Set-Cookie', 'b=2'],
      ],
    ],
  ])('what writeHead is given is part of the answer: %s', async (_, headers) => {
    const sendTo = await start({
      handler: (_request, response) =>
        void response.writeHead(201, 'Billed', headers as string[]).end('bill'),
    });
    const first = await sendTo();
    expect(first).toMatchObject({
      status: 201,
      headers: { location: '/bills/1', 'set-cookie': ['a=1', 'b=2'] },
    });
    const again = await sendTo();
    expect(again).toMatchObject({ status: 201, headers: { location: '/bills/1' } });
    expect(again.headers).not.toHaveProperty('set-cookie');
  });

  test('the first answer of a handler is its answer, whatever it says or throws afterwards', async () => {
    const sendTo = await start({
      handler: async (_, response) => {
        response.status(201).json({ paid: true });
        response.status(202).set('location', '/elsewhere').json({ paid: 'twice' });
        throw new Error('too late');
      },
    });
    for (const received of [await sendTo(), await sendTo()]) {
      expect({ status: received.status, text: textOf(received) }).toEqual({
        status: 201,
        text: '{"paid":true}',
      });
      expect(received.headers).not.toHaveProperty('location');
    }
  });

  test.each<[string, (response: Response) => void]>([
    [
      'sets a status',
      (response) => {
        response.statusMessage = 'Failed';
        response.status(500).json({ failed: true });
      },
    ],
    ['writes a head', (response) => void response.writeHead(500, 'Failed', { 'x-failed': 'yes' }).end()],
  ])('an error handler that %s while the answer is on its way out does not change it', async (_, answer) => {
    const ending = Promise.withResolvers<void>();
    const failed = Promise.withResolvers<void>();
    const sendTo = await start({
      before: (_request, response, next) => {
        const { end } = response;
        // As a session that is saved before the answer goes out.
        response.end = function (this: ServerResponse, ...args: unknown[]) {
          ending.resolve();
          void failed.promise.then(() => Reflect.apply(end, response, args));
          return response;
        } as typeof end;
        next();
      },
      handler: async (_request, response) => {
        response.status(201).json({ paid: true });
        await ending.promise;
        throw new Error('too late');
      },
      failed: (_error, _request, response, _next) => {
        answer(response);
        failed.resolve();
      },
    });
    for (const received of [await sendTo(), await sendTo()]) {
      expect(received).toMatchObject({ status: 201, statusMessage: 'Created' });
      expect(textOf(received)).toBe('{"paid":true}');
      expect(received.headers).not.toHaveProperty('x-failed');
    }
  });

  test('what fails beneath when the head is out goes to the error handler, and the answer is kept', async () => {
    const told = Promise.withResolvers<unknown>();
    let sent = 0;
    const sendTo = await start({
      before: (_, response, next) => {
        const { end } = response;
        response.end = function (this: ServerResponse, ...args: unknown[]) {
          Reflect.apply(end, response, args);
          if (++sent === 1) throw new Error('beneath');
          return response;
        } as typeof end;
        next();
      },
      handler: (_, response) => void response.status(201).json({ paid: true }),
      failed: (error, _request, _response, next) => {
        told.resolve(error);
        next(error);
      },
    });
    // Its connection is destroyed, perhaps before anything is sent, and must not be anybody else's.
    const first = sendTo('key', { connection: 'close' }).catch(() => undefined);
    const [error] = await Promise.all([told.promise, first]);
    expect(error).toEqual(new Error('beneath'));
    const again = await sendTo();
    expect({ status: again.status, text: textOf(again) }).toEqual({ status: 201, text: '{"paid":true}' });
  });

  test('where a time-out has answered, what the store cannot do at all goes to the error handler', async () => {
    const asked = Promise.withResolvers<void>();
    const answered = Promise.withResolvers<void>();
    const told = Promise.withResolvers<unknown>();
    const keys: IdempotencyKeys = {
      ...idempotencyKeys(memoryIdempotencyStore()),
      run: async (_, work) => {
        asked.resolve();
        await answered.promise;
        await work({ attempt: 1, signal: new AbortController().signal });
        throw new TypeError('no such table');
      },
    };
    let runs = 0;
    const sendTo = await start({
      keys,
      before: (_, response, next) => {
        void asked.promise.then(() => response.status(503).end());
        next();
      },
      handler: (_, response) => void response.json(++runs),
      failed: (error, _request, _response, _next) => told.resolve(error),
    });
    expect((await sendTo()).status).toBe(503);
    answered.resolve();
    expect(await told.promise).toEqual(new TypeError('no such table'));
    expect(runs).toBe(0);
  });

  test('a handler that breaks the connection off has perhaps had its effect: its key is taken', async () => {
    let attempt: number | undefined;
    const keys = idempotencyKeys(memoryIdempotencyStore(), {
      leaseMs: 300,
      retentionMs: 60_000,
    });
    const sendTo = await start({
      keys,
      handler: (request, response) => {
        attempt = leaseOf(keys, request)?.attempt;
        if (attempt === 1) response.destroy();
        else response.json({ paid: true });
      },
    });
    await expect(sendTo()).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect((await sendTo()).status).toBe(409);
    await expect.poll(async () => (await sendTo()).status).toBe(200);
    expect(attempt).toBe(2);
  });

  test('what the store cannot do at all goes to the error handler, and nothing of the handler’s with it', async () => {
    const keys: IdempotencyKeys = {
      ...idempotencyKeys(memoryIdempotencyStore()),
      run: async (_, work) => {
        await work({ attempt: 1, signal: new AbortController().signal });
        throw new TypeError('no such table');
      },
    };
    const sendTo = await start({
      keys,
      handler: (_, response) =>
        void response.status(201).location('/bills/1').cookie('session', '1').json({}),
    });
    const received = await sendTo();
    expect({ status: received.status, text: textOf(received) }).toEqual({
      status: 500,
      text: '{"failed":"no such table"}',
    });
    expect(received.headers).not.toHaveProperty('location');
    expect(received.headers).not.toHaveProperty('set-cookie');
  });

  test('a body that was parsed and not kept is a mistake, which says what to write', async () => {
    let runs = 0;
    const handler: RequestHandler = (_, response) => void response.json(++runs);
    const sendTo = await start({ parser: express.json(), handler });
    const received = await sendTo();
    expect(received.status).toBe(500);
    expect(textOf(received)).toContain('express.json({ verify: keepRawBody })');
    expect(runs).toBe(0);
  });

  test('a body that nothing reads is refused, with 415', async () => {
    let runs = 0;
    const sendTo = await start({ handler: (_, response) => void response.json(++runs) });
    const received = await sendTo('key', { 'content-type': 'text/xml' });
    expect({ status: received.status, code: JSON.parse(textOf(received)).code }).toEqual({
      status: 415,
      code: 'unsupported-media-type',
    });
    expect((await sendTo()).onSameConnection).toBe(true);
    expect(runs).toBe(1);
  });

  test('a file is a stream', async () => {
    const sendTo = await start({ handler: (_, response) => response.sendFile(import.meta.filename) });
    for (const received of [await sendTo(), await sendTo()]) {
      expect(received.status).toBe(500);
      expect(JSON.parse(textOf(received)).code).toBe('streaming-answer');
      expect(received.headers).not.toHaveProperty('last-modified');
    }
  });

  test('a stream that comes after the answer is not read', async () => {
    const source = new Readable({ read: () => undefined });
    const sendTo = await start({
      handler: (_, response) => {
        response.json({ paid: true });
        source.pipe(response);
      },
    });
    expect((await sendTo()).status).toBe(200);
    expect(source.destroyed).toBe(true);
  });

  test('the same key on two routers that are mounted at two places is two keys', async () => {
    let runs = 0;
    const app = express().use(express.json({ verify: keepRawBody }));
    const options = { keys: idempotencyKeys(memoryIdempotencyStore()), member: EVERYBODY } as const;
    for (const place of ['/cards', '/banks']) {
      const router = express.Router();
      router.post('/pay', idempotentRoute(options), (_, response) => void response.json(++runs));
      app.use(place, router);
    }
    const port = await listen(app);
    const pay = (path: string) => send(port, { key: 'key', path, body: '{}' });
    expect([await pay('/cards/pay'), await pay('/banks/pay'), await pay('/cards/pay')].map(textOf)).toEqual([
      '1',
      '2',
      '1',
    ]);
  });

  test.each<[string, (app: Express, guard: RequestHandler) => unknown]>([
    ['of the whole service', (app, guard) => app.use(guard)],
    ['with a wildcard', (app, guard) => app.all('/*all', guard)],
    ['with a list', (app, guard) => app.all(['/pay', '/refund'], guard)],
  ])('the same key on two routes behind one guard %s is two keys', async (_, add) => {
    let runs = 0;
    const app = express().use(express.json({ verify: keepRawBody }));
    add(app, idempotentRoute({ keys: idempotencyKeys(memoryIdempotencyStore()), member: EVERYBODY }));
    for (const path of ['/pay', '/refund'])
      app.post(path, (_request, response) => void response.json(++runs));
    const port = await listen(app);
    const sendTo = (path: string) => send(port, { key: 'key', path, body: '{}' });
    expect([await sendTo('/pay'), await sendTo('/refund'), await sendTo('/pay')].map(textOf)).toEqual([
      '1',
      '2',
      '1',
    ]);
  });
});
