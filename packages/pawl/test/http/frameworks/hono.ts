import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { type HttpBindings, serve } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { createMiddleware } from 'hono/factory';
import { HTTPException } from 'hono/http-exception';
import { stream, streamSSE } from 'hono/streaming';
import { idempotentRoute } from '../../../src/http/hono.ts';
import {
  authenticated,
  type Framework,
  SERVED_BY,
  type Service,
  type StreamingReply,
  UNAUTHENTICATED,
} from '../framework.ts';

interface Variables {
  Bindings: HttpBindings;
  Variables: { user: string | undefined };
}

const authentication = createMiddleware<Variables>(async (context, next) => {
  const known = authenticated(context.req.header('authorization'));
  if (known === undefined) return context.json(UNAUTHENTICATED, 401);
  context.set('user', known.user);
  await next();
});

/** As a validator of Hono's does it: the body is parsed before the guard. */
const parsing = createMiddleware<Variables>(async (context, next) => {
  if (context.req.header('content-type')?.startsWith('application/json')) {
    try {
      await context.req.json();
    } catch {
      return context.json({ error: 'no JSON' }, 400);
    }
  }
  await next();
});

export const onHono: Framework = {
  name: 'hono',
  inflates: false,
  streams: [
    { name: 'response of a stream', destroys: true },
    { name: 'stream helper', destroys: true },
    { name: 'server-sent events', destroys: false },
  ],
  async start(service) {
    const app = new Hono<Variables>();
    // Hono's own prints what was thrown.
    app.onError((error, context) =>
      error instanceof HTTPException ? error.getResponse() : context.text('Internal Server Error', 500),
    );
    app.use(async (context, next) => {
      for (const [name, value] of Object.entries(SERVED_BY)) context.header(name, value);
      await next();
    });
    // As `hono/timeout` does it.
    const timeOut = createMiddleware<Variables>(async ({ req }, next) => {
      const gaveUp = service.gaveUp(req.header('x-case') ?? '').then(() => {
        throw new HTTPException(503);
      });
      await Promise.race([next(), gaveUp]);
    });
    for (const { method, path, guard, timesOut = false } of service.routes) {
      const handler = (context: Context<Variables>) => handle(service, context);
      if (guard === undefined) app.on(method, path, authentication, parsing, handler);
      else {
        const guarding = idempotentRoute<Variables>({ member: (context) => context.get('user'), ...guard });
        app.on(method, path, authentication, parsing, ...(timesOut ? [timeOut] : []), guarding, handler);
      }
    }
    const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }) as Server;
    await once(server, 'listening');
    return {
      port: (server.address() as AddressInfo).port,
      async close() {
        const closed = once(server, 'close');
        server.close();
        server.closeAllConnections();
        await closed;
      },
    };
  },
};

async function handle(service: Service, context: Context<Variables>): Promise<Response> {
  const { req } = context;
  const answered = await service.handle({
    caseId: req.header('x-case') ?? '',
    params: req.param(),
    body: await bodyOf(context),
    request: context,
    incoming: context.env.incoming,
  });
  if ('stream' in answered) return streaming(answered, context);
  const { status, headers = {}, body, json } = answered;
  const init = { status: status as 200, headers: pairs(headers) };
  if (json !== undefined) return context.json(json as object, init);
  return context.newResponse(body === undefined ? null : Uint8Array.from(body), init);
}

async function bodyOf({ req }: Context): Promise<Buffer> {
  const isJson = req.header('content-type')?.startsWith('application/json');
  if (isJson) return Buffer.from(JSON.stringify(await req.json()));
  return Buffer.from(await req.arrayBuffer());
}

function pairs(headers: Readonly<Record<string, string | string[]>>): [string, string][] {
  return Object.entries(headers).flatMap(([name, values]) =>
    [values].flat().map((value): [string, string] => [name, value]),
  );
}

function streaming({ stream: kind, source }: StreamingReply, context: Context): Response {
  const web = () => Readable.toWeb(source) as ReadableStream;
  switch (kind) {
    case 'response of a stream':
      return new Response(web());
    case 'stream helper':
      return stream(context, (to) => to.pipe(web()));
    default:
      return streamSSE(context, async (to) => {
        await to.writeSSE({ data: 'one' });
        await once(source, 'close');
      });
  }
}
