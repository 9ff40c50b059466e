import { once } from 'node:events';
import { connect } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { idempotentRoutes } from '../../src/http/fastify.ts';
import { EVERYBODY } from '../../src/http/index.ts';
import { idempotencyKeys, memoryIdempotencyStore } from '../../src/index.ts';
import { endConnections, open, type Received, requestBytes, send } from './client.ts';
import { onFastify } from './frameworks/fastify.ts';
import { testGuardedServices } from './guarded-services.ts';

testGuardedServices(onFastify);

/** No lease of a test ends by itself. */
const keys = idempotencyKeys(memoryIdempotencyStore(), { leaseMs: 60_000, renewForMs: 0 });
const options = { keys, member: EVERYBODY } as const;
const guarded = { config: { idempotent: true } };

/** What fails when the handler has answered, and will always fail. */
const broken = {
  ...keys,
  run: async (_: unknown, work: (lease: never) => Promise<unknown>) => {
    await work(undefined as never);
    throw new TypeError('no such table');
  },
} as unknown as typeof keys;
const onBrokenKeys = { config: { idempotent: { keys: broken } } };

let sent = 0;

/** @returns a client that sends the same request again and again. */
async function listen(app: FastifyInstance): Promise<(path?: string) => Promise<Received>> {
  await app.listen({ port: 0, host: '127.0.0.1' });
  onTestFinished(() => app.close());
  const key = `fastify ${++sent}`.replace(' ', '-');
  return (path = '/pay') => send((app.server.address() as AddressInfo).port, { path, key, body: '{}' });
}

async function newApp(): Promise<FastifyInstance> {
  const app = fastify({ forceCloseConnections: true });
  await app.register(idempotentRoutes, options);
  return app;
}

const textOf = ({ status, body }: Received) => `${status} ${body}`;

describe('guarded routes of Fastify', () => {
  afterAll(endConnections);

  test.each([
    ['before the guard', true],
    ['after it', false],
  ])('the body is as it arrived, though somebody takes his time %s', async (_, isBefore) => {
    let runs = 0;
    const app = fastify({ forceCloseConnections: true });
    const slow = async ({ raw }: FastifyRequest) => {
      while (!raw.complete) await nextTurn();
    };
    if (isBefore) app.addHook('onRequest', slow);
    await app.register(idempotentRoutes, options);
    if (!isBefore) app.addHook('onRequest', slow);
    app.post('/pay', guarded, async ({ body }) => ({ run: ++runs, body }));
    await app.listen({ port: 0, host: '127.0.0.1' });
    onTestFinished(() => app.close());
    const { port } = app.server.address() as AddressInfo;
    const key = `slow-${isBefore}`;
    const sendBody = (body: string) => send(port, { key, body });
    const [first, again] = [await sendBody('{"amount":1000}'), await sendBody('{"amount":1000}')];
    expect([first, again].map(textOf)).toEqual(Array(2).fill('200 {"run":1,"body":{"amount":1000}}'));
    expect((await sendBody('{"amount": 1000}')).status).toBe(422);
  });

  test('a body in pieces of which there are none is no body, though somebody takes his time before the guard', async () => {
    const app = fastify({ forceCloseConnections: true });
    app.addHook('onRequest', async ({ raw }) => {
      while (!raw.complete) await nextTurn();
    });
    await app.register(idempotentRoutes, options);
    app.addContentTypeParser('text/plain', { parseAs: 'string' }, async (_: unknown, body: string) => body);
    app.post('/pay', guarded, async ({ body }) => ({ body }));
    await app.listen({ port: 0, host: '127.0.0.1' });
    onTestFinished(() => app.close());
    const { port } = app.server.address() as AddressInfo;
    const headers = { 'transfer-encoding': 'chunked', 'content-type': 'text/plain' };
    expect(textOf(await send(port, { key: 'no-pieces', headers }))).toBe('200 {"body":""}');
  });

  test.each([
    ['an object', { amount: 1000 }, { amount: 1001 }],
    ['text', '{"amount":1000}', '{"amount": 1000}'],
    ['bytes', Buffer.from('{"amount":1000}'), Buffer.from('{"amount": 1000}')],
  ])('a request that a test injects is one: %s', async (name, payload, other) => {
    let runs = 0;
    const app = await newApp();
    app.post('/pay', guarded, async ({ body }) => ({ run: ++runs, body }));
    const headers = {
      'idempotency-key': `injected-${name.replace(' ', '-')}`,
      'content-type': 'application/json',
    };
    const inject = async (sentPayload: typeof payload) => {
      const { statusCode, body } = await app.inject({
        method: 'POST',
        url: '/pay',
        headers,
        payload: sentPayload,
      });
      return `${statusCode} ${body}`;
    };
    const first = '200 {"run":1,"body":{"amount":1000}}';
    expect([await inject(payload), await inject(payload)]).toEqual([first, first]);
    expect(await inject(other)).toMatch(/^422 /);
  });

  test('over HTTP/2, where a body needs no length, two bodies are two', async () => {
    const app = fastify({ http2: true });
    await app.register(idempotentRoutes, options);
    app.post('/pay', guarded, async ({ body }) => ({ body }));
    await app.listen({ port: 0, host: '127.0.0.1' });
    const client = connect(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`);
    onTestFinished(async () => {
      client.close();
      await app.close();
    });
    const sendBody = async (key: string, body: string | undefined) => {
      const content = body === undefined ? {} : { 'content-type': 'application/json' };
      const head = { ':method': 'POST', ':path': '/pay', 'idempotency-key': key, ...content };
      const stream = client.request(head, { endStream: body === undefined });
      if (body !== undefined) stream.end(body);
      const [answered] = await once(stream, 'response');
      return `${answered[':status']} ${await text(stream)}`;
    };
    expect(await sendBody('over-http2', '{"amount":1}')).toBe('200 {"body":{"amount":1}}');
    expect(await sendBody('over-http2', '{"amount":1}')).toBe('200 {"body":{"amount":1}}');
    expect(await sendBody('over-http2', '{"amount":2}')).toMatch(/^422 /);
    expect(await sendBody('over-http2-empty', undefined)).toMatch(/^200 /);
  });

  describe('a route that asks to be idempotent, and would not be, is not served', () => {
    let runs = 0;
    const handler = async () => `${++runs}`;
    const expectRefused = ({ status, body }: Received) => {
      expect([status, runs]).toEqual([500, 0]);
      expect(String(body)).toContain('asks to be idempotent, and idempotentRoutes did not see it');
    };

    test('because it was added before the plugin was there', async () => {
      const app = fastify({ forceCloseConnections: true });
      app.post('/pay', guarded, handler);
      await app.register(async (child) => child.post('/child', guarded, handler));
      await app.register(idempotentRoutes, options);
      const sendTo = await listen(app);
      for (const path of ['/pay', '/child']) expectRefused(await sendTo(path));
    });

    test('because the plugin was not waited for', async () => {
      const app = fastify({ forceCloseConnections: true });
      app.register(idempotentRoutes, options);
      app.post('/pay', guarded, handler);
      expectRefused(await (await listen(app))('/pay'));
    });

    test('because the plugin is registered for other routes', async () => {
      const app = fastify({ forceCloseConnections: true });
      await app.register(async (child) => {
        child.post('/refund', guarded, handler);
      });
      await app.register(async (child) => {
        await child.register(idempotentRoutes, options);
        child.post('/pay', guarded, async () => 'paid');
      });
      const sendTo = await listen(app);
      expectRefused(await sendTo('/refund'));
      expect(textOf(await sendTo('/pay'))).toBe('200 paid');
    });
  });

  test('the plugin guards the routes of whoever registers it, and of their children, that ask for it', async () => {
    let runs = 0;
    const app = await newApp();
    const handler = async () => `${++runs}`;
    await app.register(async (child) => child.post('/child', guarded, handler));
    app.post('/plain', handler);
    app.post('/told-not-to', { config: { idempotent: false } }, handler);
    const sendTo = await listen(app);
    for (const path of ['/child', '/plain', '/told-not-to']) await sendTo(path);
    expect(textOf(await sendTo('/child'))).toBe('200 1');
    expect(textOf(await sendTo('/plain'))).toBe('200 4');
    expect(textOf(await sendTo('/told-not-to'))).toBe('200 5');
  });

  test('of two registrations that reach a route the inner one counts', async () => {
    const app = await newApp();
    await app.register(async (child) => {
      const member = ({ headers }: FastifyRequest) => headers['x-member']?.toString();
      await child.register(idempotentRoutes, { keys, member });
      child.post('/pay', guarded, async ({ headers }) => `of ${headers['x-member']}`);
    });
    await listen(app);
    const { port } = app.server.address() as AddressInfo;
    const of = async (member: string) => {
      const headers = { 'x-member': member, 'idempotency-key': 'of-two' };
      return (await fetch(`http://127.0.0.1:${port}/pay`, { method: 'POST', headers })).text();
    };
    expect([await of('kim'), await of('lee'), await of('kim')]).toEqual(['of kim', 'of lee', 'of kim']);
  });

  test('what hooks of the service make of an answer is stored, and they make nothing more of a replay', async () => {
    const app = fastify({ forceCloseConnections: true });
    app.addHook('onSend', async (_, reply, payload) => {
      reply.header('etag', '"7"').header('x-trace', 'abc');
      return `(${payload})`;
    });
    await app.register(idempotentRoutes, options);
    let times = 0;
    const onSend = async (_: unknown, __: unknown, payload: unknown) => `[${++times} ${payload}]`;
    app.post('/pay', { ...guarded, onSend }, async () => ({ paid: true }));
    const sendTo = await listen(app);
    for (let time = 1; time <= 3; time++) {
      const received = await sendTo();
      expect(textOf(received)).toBe('200 [1 ({"paid":true})]');
      expect(received.headers.etag).toBe('"7"');
      expect(received.headers['x-trace']).toBe(time === 1 ? 'abc' : undefined);
    }
  });

  test('a hook of the route that refuses comes before the guard', async () => {
    let asked = 0;
    const app = await newApp();
    const preHandler = async (_: unknown, reply: FastifyReply) => reply.code(403).send(`${++asked}`);
    app.post('/pay', { ...guarded, preHandler }, async () => 'paid');
    const sendTo = await listen(app);
    expect([await sendTo(), await sendTo()].map(textOf)).toEqual(['403 1', '403 2']);
  });

  test('the first answer of a handler is its answer, whatever it says or throws afterwards', async () => {
    const app = await newApp();
    app.post('/pay', guarded, async (_, reply) => {
      reply.code(201).send('first');
      reply.code(202).header('location', '/elsewhere').send('second');
      throw new Error('too late');
    });
    const sendTo = await listen(app);
    for (const received of [await sendTo(), await sendTo()]) {
      expect(textOf(received)).toBe('201 first');
      expect(received.headers).not.toHaveProperty('location');
    }
  });

  test('a handler that writes to the connection itself: what it wrote is sent, and is not done again', async () => {
    let runs = 0;
    const app = await newApp();
    app.post('/pay', guarded, (_, reply) => {
      runs++;
      reply.raw.end('by itself');
    });
    const sendTo = await listen(app);
    expect(textOf(await sendTo())).toBe('200 by itself');
    await expect.poll(async () => (await sendTo()).status).toBe(500);
    expect(JSON.parse((await sendTo()).body.toString())).toMatchObject({ code: 'streaming-answer' });
    expect(runs).toBe(1);
  });

  test('a handler that waits for somebody else to answer, after its client has gone', async () => {
    const app = await newApp();
    const begun = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<{ reply: FastifyReply }>();
    app.post('/pay', guarded, async (request, reply) => {
      begun.resolve();
      request.raw.socket.once('close', () => setImmediate(() => answer.resolve({ reply })));
      return reply;
    });
    const sendTo = await listen(app);
    const key = `Idempotency-Key: fastify-${sent}`;
    const socket = await open((app.server.address() as AddressInfo).port);
    socket.write(requestBytes('', [key], '{}'));
    await begun.promise;
    socket.destroy();
    const { reply } = await answer.promise;
    // The handler has ended, and has not answered.
    expect((await sendTo()).status).toBe(409);
    reply.send('at last');
    await expect.poll(async () => textOf(await sendTo())).toBe('200 at last');
  });

  test('a body that its parser leaves to the handler is a mistake', async () => {
    let runs = 0;
    const app = await newApp();
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('application/json', async () => undefined);
    app.setErrorHandler((error: Error, _, reply) => reply.code(500).send(error.message));
    app.post('/pay', guarded, async () => `${++runs}`);
    const sendTo = await listen(app);
    expect(textOf(await sendTo())).toContain('500 the body of a guarded route');
    expect(runs).toBe(0);
  });

  test('a body beyond the limit, of a parser that sets none, is a mistake: it could not be told from another', async () => {
    let runs = 0;
    const app = await newApp();
    app.addContentTypeParser('text/plain', async (_: unknown, payload: AsyncIterable<Buffer>) => {
      let bytes = 0;
      for await (const chunk of payload) bytes += chunk.length;
      return bytes;
    });
    app.post('/pay', { ...guarded, bodyLimit: 1_000 }, async () => `${++runs}`);
    await listen(app);
    const headers = { 'content-type': 'text/plain', 'idempotency-key': 'beyond' };
    const { port } = app.server.address() as AddressInfo;
    const post = (size: number) =>
      fetch(`http://127.0.0.1:${port}/pay`, {
        method: 'POST',
        headers,
        // In chunks: a length would be refused before.
        body: new Blob(['x'.repeat(size)]).stream(),
        duplex: 'half',
      } as RequestInit);
    expect((await post(1_001)).status).toBe(500);
    expect(runs).toBe(0);
    expect(await (await post(1_000)).text()).toBe('1');
  });

  test('a hook that fails keeps the key, as any server error, also where the client has gone', async () => {
    const app = await newApp();
    let runs = 0;
    // Of the error that it is itself, too: Fastify has to write what it can, past all hooks.
    const onSend = async () => Promise.reject(new Error('hook'));
    const begun = Promise.withResolvers<void>();
    const gone = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<unknown>();
    const watched = { ...keys, run: (...of: Parameters<typeof keys.run>) => endedBy(keys.run(...of)) };
    const endedBy = (run: ReturnType<typeof keys.run>) => {
      ended.resolve(run);
      return run;
    };
    const config = { idempotent: { keys: watched as typeof keys } };
    app.post('/pay', { config, onSend }, async (request) => {
      runs++;
      request.raw.socket.once('close', () => setImmediate(gone.resolve));
      begun.resolve();
      await gone.promise;
      return 'paid';
    });
    const sendTo = await listen(app);
    const socket = await open((app.server.address() as AddressInfo).port);
    socket.write(requestBytes('', [`Idempotency-Key: fastify-${sent}`], '{}'));
    await begun.promise;
    socket.destroy();
    await expect(ended.promise).resolves.toMatchObject({ outcome: 'done', value: { status: 500 } });
    // Under its key, which is kept: as a stream it would be stored, and never be tried again.
    await sendTo();
    expect(runs).toBe(1);
  });

  test('what the store cannot do at all goes to the error handler, and nothing of the handler’s with it', async () => {
    const app = await newApp();
    app.setErrorHandler((error: Error, _, reply) => reply.code(500).send(error.message));
    app.post('/pay', onBrokenKeys, async (_, reply) => {
      return reply.code(201).header('set-cookie', 'session=1').send('paid');
    });
    const received = await (await listen(app))();
    expect(textOf(received)).toBe('500 no such table');
    expect(received.headers).not.toHaveProperty('set-cookie');
  });

  test('no key and no body is in the log, whatever happens', async () => {
    let log = '';
    const stream = {
      write(line: string) {
        log += line;
      },
    };
    const app = fastify({ forceCloseConnections: true, logger: { level: 'trace', stream } });
    await app.register(idempotentRoutes, options);
    app.post('/pay', guarded, async () => 'paid');
    app.post('/past', onBrokenKeys, (_, reply) => void reply.raw.end());
    app.post('/broken', onBrokenKeys, async () => 'paid');
    const sendTo = await listen(app);
    const { port } = app.server.address() as AddressInfo;
    const secret = { key: 'canary-key', body: '{"card":"canary-body"}' };
    for (const path of ['/pay', '/pay', '/past', '/broken']) await send(port, { path, ...secret });
    await send(port, { ...secret, body: '{"card":"canary-other"}' });
    await send(port, { ...secret, key: ['canary-key', 'canary-key'] });
    await sendTo();
    await expect.poll(() => log).toContain('could not be stored');
    expect(log).toContain('no such table');
    expect(log).not.toContain('canary');
  });
});
