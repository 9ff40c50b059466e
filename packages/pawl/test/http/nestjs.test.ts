import 'reflect-metadata';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  BadRequestException,
  Body,
  Controller,
  GatewayTimeoutException,
  type MessageEvent,
  Module,
  type NestInterceptor,
  Post,
  Res,
  Sse,
  UseInterceptors,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { Response } from 'express';
import { delay, map, NEVER, Observable, of, throwError, timeout } from 'rxjs';
import { afterAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { EVERYBODY } from '../../src/http/index.ts';
import { IdempotencyInterceptor } from '../../src/http/nestjs.ts';
import { type IdempotencyKeys, idempotencyKeys, memoryIdempotencyStore } from '../../src/index.ts';
import { endConnections, open, type Received, requestBytes, send } from './client.ts';
import { onNestjs, onNestjsFastify } from './frameworks/nestjs.ts';
import { testGuardedServices } from './guarded-services.ts';

testGuardedServices(onNestjs);
testGuardedServices(onNestjsFastify, ['postgres']);

type Decorator = (target: object, name: string, descriptor: PropertyDescriptor) => unknown;

interface Route {
  /** The handler. It is given the body, and the response where a decorator asks for it. */
  readonly handler: (...args: never[]) => unknown;
  readonly decorators?: readonly Decorator[];
  readonly keys?: IdempotencyKeys;
  /** Those around the guard. */
  readonly outer?: readonly NestInterceptor[];
  readonly rawBody?: boolean;
  /** Middleware of the whole service's. */
  readonly before?: (request: IncomingMessage, response: ServerResponse, next: () => void) => void;
}

const platforms = { express: () => undefined, fastify: () => new FastifyAdapter() };

describe.each(Object.entries(platforms))('a guarded route of NestJS on %s', (_, adapter) => {
  let errors: unknown[];

  beforeEach(() => {
    errors = [];
  });

  afterAll(endConnections);

  /** A service with one guarded route. @returns its port. */
  async function start({ handler, decorators = [Post('pay')], outer = [], ...more }: Route): Promise<number> {
    const { keys = idempotencyKeys(memoryIdempotencyStore()), rawBody = true, before } = more;
    class Payments {}
    const descriptor = { configurable: true, value: handler };
    Object.defineProperty(Payments.prototype, 'pay', descriptor);
    const guard = new IdempotencyInterceptor({ keys, member: EVERYBODY });
    for (const decorate of [UseInterceptors(...outer, guard), ...decorators]) {
      decorate(Payments.prototype, 'pay', descriptor);
    }
    Controller()(Payments);
    class Root {}
    Module({ controllers: [Payments] })(Root);
    const platform = adapter();
    const silent = () => undefined;
    const logger = { log: silent, warn: silent, error: (error: unknown) => errors.push(error) };
    const options = { rawBody, logger };
    const app = await (platform === undefined
      ? NestFactory.create(Root, options)
      : NestFactory.create(Root, platform, options));
    if (before !== undefined) app.use(before);
    await app.listen(0, '127.0.0.1');
    onTestFinished(async () => {
      app.getHttpServer().closeAllConnections();
      await app.close();
    });
    return (app.getHttpServer().address() as AddressInfo).port;
  }

  const pay = (port: number, more = {}) => send(port, { key: 'key', body: '{"amount":1000}', ...more });
  const seen = ({ status, body }: Received) => ({ status, text: body.toString() });
  const codeOf = ({ body }: Received) => JSON.parse(body.toString()).code;
  const withResponse: readonly Decorator[] = [Post('pay'), (target, name) => Res()(target, name, 0)];

  test('a handler that answers by itself is replayed', async () => {
    const port = await start({
      decorators: withResponse,
      handler: (response: Response) => void response.status(202).send('accepted'),
    });
    expect(seen(await pay(port))).toEqual({ status: 202, text: 'accepted' });
    const again = await pay(port);
    expect(seen(again)).toEqual({ status: 202, text: 'accepted' });
    expect(again.headers['idempotency-replayed']).toBe('true');
  });

  test('what interceptors around it make of an answer is what is stored, and they may be slow', async () => {
    let runs = 0;
    const envelope: NestInterceptor = {
      intercept: (_context, next) =>
        next.handle().pipe(
          delay(20),
          map((data) => ({ data })),
        ),
    };
    const port = await start({ outer: [envelope], handler: async () => ({ bill: ++runs }) });
    const first = await pay(port);
    expect(seen(first)).toEqual({ status: 201, text: '{"data":{"bill":1}}' });
    expect(seen(await pay(port))).toEqual(seen(first));
    expect(seen(await pay(port))).toEqual(seen(first));
    expect(runs).toBe(1);
    expect(errors).toEqual([]);
  });

  test('what an interceptor around it answers when it gives up is what is sent', async () => {
    const impatient: NestInterceptor = {
      intercept: (_context, next) =>
        next
          .handle()
          .pipe(timeout({ each: 20, with: () => throwError(() => new GatewayTimeoutException()) })),
    };
    const port = await start({ outer: [impatient], handler: () => new Promise(() => undefined) });
    expect((await pay(port)).status).toBe(504);
    expect((await pay(port)).status).toBe(409);
  });

  test('what is set on the response before it is on every answer', async () => {
    const serving: NestInterceptor = {
      intercept(context, next) {
        context.switchToHttp().getResponse<Response>().header('x-served-by', 'this service');
        return next.handle();
      },
    };
    const port = await start({ outer: [serving], handler: () => 'paid' });
    for (const key of ['key', 'key', '']) {
      expect((await pay(port, { key })).headers).toMatchObject({ 'x-served-by': 'this service' });
    }
  });

  test.each([
    ['and says nothing', undefined],
    ['and what the store cannot do at all is written to the log', new TypeError('no such table')],
  ])(
    'middleware that answers while the store is asked: the handler does not run, %s',
    async (_name, failure) => {
      const asked = Promise.withResolvers<void>();
      const answered = Promise.withResolvers<void>();
      const over = Promise.withResolvers<void>();
      const inMemory = idempotencyKeys(memoryIdempotencyStore());
      const keys: IdempotencyKeys = {
        ...inMemory,
        async run(request, work) {
          asked.resolve();
          await answered.promise;
          try {
            const outcome = await inMemory.run(request, work);
            if (failure !== undefined) throw failure;
            return outcome;
          } finally {
            over.resolve();
          }
        },
      };
      let runs = 0;
      const port = await start({
        keys,
        before: (_request, response, next) => {
          void asked.promise.then(() => response.writeHead(503).end());
          next();
        },
        handler: () => ++runs,
      });
      expect((await pay(port)).status).toBe(503);
      answered.resolve();
      await over.promise;
      await nextTurn();
      expect({ runs, errors }).toEqual({ runs: 0, errors: failure === undefined ? [] : [failure] });
    },
  );

  test('what a pipe refuses is an answer, and kept', async () => {
    let checks = 0;
    const check = {
      transform: () => {
        throw new BadRequestException(`refused ${++checks}`);
      },
    };
    const port = await start({
      decorators: [Post('pay'), (target, name) => Body(check)(target, name, 0)],
      handler: () => 'paid',
    });
    const first = await pay(port);
    expect(first.status).toBe(400);
    expect(seen(await pay(port))).toEqual(seen(first));
    expect(checks).toBe(1);
  });

  test('events are a stream, whose source is torn down', async () => {
    let torn = 0;
    const port = await start({
      decorators: [Sse('pay'), Post('pay')],
      handler: () =>
        new Observable<MessageEvent>((subscriber) => {
          subscriber.next({ data: 'hello' });
          return () => torn++;
        }),
    });
    for (const received of [await pay(port), await pay(port)]) {
      expect(received.status).toBe(500);
      expect(codeOf(received)).toBe('streaming-answer');
    }
    await expect.poll(() => torn).toBe(1);
  });

  test('an Observable is torn down when its client goes, and its key is taken until the lease is over', async () => {
    const keys = idempotencyKeys(memoryIdempotencyStore(), { leaseMs: 300, retentionMs: 60_000 });
    const running = Promise.withResolvers<void>();
    let runs = 0;
    const port = await start({
      keys,
      handler: () => {
        running.resolve();
        return ++runs === 1 ? NEVER : of('paid');
      },
    });
    const socket = await open(port);
    socket.write(requestBytes('', ['Idempotency-Key: key'], '{"amount":1000}'));
    await running.promise;
    socket.destroy();
    await once(socket, 'close');
    expect((await pay(port)).status).toBe(409);
    await expect.poll(async () => seen(await pay(port))).toEqual({ status: 201, text: 'paid' });
    expect(runs).toBe(2);
  });

  test('what the store cannot do at all is an internal error, with nothing of the handler’s', async () => {
    const keys: IdempotencyKeys = {
      ...idempotencyKeys(memoryIdempotencyStore()),
      run: async (_request, work) => {
        await work({ attempt: 1, signal: new AbortController().signal });
        throw new TypeError('no such table');
      },
    };
    const port = await start({ keys, handler: () => ({ paid: true }) });
    expect(seen(await pay(port))).toEqual({
      status: 500,
      text: '{"statusCode":500,"message":"Internal server error"}',
    });
    expect(errors).toEqual([new TypeError('no such table')]);
  });

  test('without the bytes of its body nothing runs', async () => {
    let runs = 0;
    const port = await start({ rawBody: false, handler: () => ++runs });
    expect((await pay(port)).status).toBe(500);
    expect(runs).toBe(0);
    // There are none to be kept.
    expect((await pay(port, { body: undefined })).status).toBe(201);
  });

  test('text is a body too', async () => {
    let runs = 0;
    const port = await start({ handler: () => ({ bill: ++runs }) });
    const received = await pay(port, { body: 'pay', headers: { 'content-type': 'text/plain' } });
    // Fastify reads text by itself; Express is given no parser for it.
    if (adapter() === undefined) expect(codeOf(received)).toBe('unsupported-media-type');
    else expect(seen(received)).toEqual({ status: 201, text: '{"bill":1}' });
  });
});
