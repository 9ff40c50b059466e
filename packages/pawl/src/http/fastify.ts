import type { Http2ServerRequest } from 'node:http2';
import type { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify';
import { MisuseError } from '../errors.ts';
import { type CopiedBody, copiedBody, watchBody } from './copied-body.ts';
import {
  type GuardedRoute,
  guardedRoute,
  type Handled,
  type HttpIdempotencyOptions,
  type OtherAnswer,
} from './guarded-route.ts';

/** Of all guarded routes; a route's own `config: { idempotent: { … } }` goes before. */
export type IdempotentRoutesOptions = HttpIdempotencyOptions<FastifyRequest>;

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether the handler runs once for an `Idempotency-Key`, and what is different on this route. */
    readonly idempotent?: boolean | Partial<IdempotentRoutesOptions>;
  }
}

/**
 * Runs the handlers of the routes that say `config: { idempotent: true }` once for an `Idempotency-Key`. Register it before
 * these routes are added, with `await`, and before plugins that change answers by hooks that they add to routes, as
 * compression does: what is stored must be whole.
 *
 * It begins after the last `preHandler`, and what is stored is what comes out of its `onSend`, after those of the instance and
 * of the route. A route that asks for it and is not guarded is not served: each request is a `MisuseError` (500).
 *
 * @throws MisuseError  From `register`: keys or member are missing, or an option is none.
 */
export const idempotentRoutes = Object.assign(
  async (app: FastifyInstance, options: IdempotentRoutesOptions): Promise<void> => {
    // For what it throws, before there is a route.
    guardedRoute(options);
    app.addHook('onRoute', (route) => {
      const own = route.config?.idempotent;
      if (!own) return;
      const guarded = guardedRoute({ ...options, ...(own === true ? {} : own) });
      const outer = guardOf(route.config);
      // Two registrations reach the same route, the outer one first: the inner one counts.
      if (outer !== undefined) outer.guarded = guarded;
      else {
        const guardian = { guarded };
        guard(route, guardian);
        route.config = Object.assign({ ...route.config }, { [GUARDED]: guardian });
      }
    });
    watchRequests(rootOf(app));
  },
  {
    // Its hooks are for the routes of whoever registers it, not for those of a context of its own.
    [Symbol.for('skip-override')]: true,
    [Symbol.for('fastify.display-name')]: 'pawl-idempotent-routes',
    [Symbol.for('plugin-meta')]: { name: 'pawl-idempotent-routes', fastify: '5.x' },
  },
);

/** In the config of a route that is guarded. */
const GUARDED = Symbol('pawl.guarded');

/** What guards a route. */
interface Guard {
  guarded: GuardedRoute<FastifyRequest>;
}

function guardOf(config: object | undefined): Guard | undefined {
  return (config as { readonly [GUARDED]?: Guard } | undefined)?.[GUARDED];
}

const watched = new WeakSet<object>();

/**
 * A route is told of once, when it is added. One that was added before the plugin was there, or where it does not reach, would be
 * served without a guard, and nobody would know.
 */
function watchRequests(root: FastifyInstance): void {
  if (watched.has(root)) return;
  watched.add(root);
  root.addHook('onRequest', (request, _, done) => {
    const { config, method, url, bodyLimit } = request.routeOptions;
    if (!config.idempotent) return done();
    if (guardOf(config) !== undefined) {
      // Now, and not when it is to be parsed: while hooks wait for something, it comes.
      watchBody(request.raw, bodyLimit);
      return done();
    }
    done(
      new MisuseError(
        `${method} ${url} asks to be idempotent, and idempotentRoutes did not see it: await app.register(idempotentRoutes, …) first, where the route is added or above`,
      ),
    );
  });
}

/** Instances inherit from the one in which they were made. */
function rootOf(app: FastifyInstance): FastifyInstance {
  const above = Object.getPrototypeOf(app) as Partial<FastifyInstance> | null;
  return typeof above?.addHook === 'function' ? rootOf(above as FastifyInstance) : app;
}

type Headers = ReturnType<FastifyReply['getHeaders']>;

/** How a guarded request is answered. */
interface Answering {
  /** What the service has set before the handler: request ids, CORS. It is on every answer. */
  readonly before: Headers;
  readonly conclude: (handled: Handled) => Promise<OtherAnswer | undefined>;
  state: 'open' | 'concluding' | 'concluded';
  /** The handler wanted the connection for itself. */
  isStreaming: boolean;
  /** The handler has returned the reply: it is sent later. */
  isAwaited: boolean;
  /** The reply's own `then`. */
  readonly wait: FastifyReply['then'];
}

const BODY = Symbol('pawl.body');
const ANSWERING = Symbol('pawl.answering');

/** What is known of a request; in WeakMaps it would cost the collector more than all else here. */
type Guarded = FastifyRequest & { [BODY]?: CopiedBody; [ANSWERING]?: Answering };

function guard(route: RouteOptions, guardian: Guard): void {
  const { handler } = route;
  route.preParsing = [...hooks(route.preParsing), copyBody];
  route.preHandler = [
    ...hooks(route.preHandler),
    (request, reply, done) => {
      // `done` is not called where the handler must not run: then the answer has been sent.
      begin(guardian.guarded, request, reply).then((within) => within?.(done), done);
    },
  ];
  route.onSend = [...hooks(route.onSend), conclude];
  route.handler = function (request, reply) {
    const handled: unknown = handler.call(this, request, reply);
    if (handled instanceof Promise) sendNothing(handled, request, reply);
    return handled;
  };
}

function hooks<Hook>(given: Hook | Hook[] | undefined): Hook[] {
  if (given === undefined) return [];
  return Array.isArray(given) ? given : [given];
}

function copyBody(
  request: FastifyRequest,
  _: FastifyReply,
  payload: Readable,
  done: (error: Error | null, payload?: Readable) => void,
): void {
  const copied = copiedBody(payload, request.routeOptions.bodyLimit);
  (request as Guarded)[BODY] = copied;
  done(null, copied.payload);
}

/** @returns in what the handler runs; undefined when it must not. */
async function begin(
  guarded: GuardedRoute<FastifyRequest>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<((handler: () => void) => void) | undefined> {
  const begun = await guarded.begin({
    request,
    method: request.method,
    route: request.routeOptions.url ?? request.originalUrl,
    target: request.originalUrl,
    header: headerOf(request),
    body: bodyOf(request),
  });
  if (begun.run && begun.end === undefined) return (handler) => handler();
  // Somebody else has answered while the store was asked, a time-out say. Fastify would not call the handler.
  if (reply.sent || reply.raw.headersSent) {
    if (begun.run) await begun.end({ notRun: true });
    return undefined;
  }
  const answering: Answering = {
    before: reply.getHeaders(),
    conclude: begun.run ? begun.end : async () => begun.answer,
    state: 'open',
    isStreaming: false,
    isAwaited: false,
    wait: reply.then,
  };
  (request as Guarded)[ANSWERING] = answering;
  if (!begun.run) {
    reply.send(Buffer.alloc(0));
    return undefined;
  }
  watchReply(answering, request, reply);
  return begun.within;
}

function headerOf({ headers }: FastifyRequest): string | undefined {
  const value = headers['idempotency-key'];
  return Array.isArray(value) ? value.join(', ') : value;
}

/** @throws MisuseError */
function bodyOf(request: FastifyRequest): Uint8Array {
  const bytes = (request as Guarded)[BODY]?.bytes();
  if (bytes !== undefined) return bytes;
  // It is not read then.
  if (hasNoBody(request)) return Buffer.alloc(0);
  throw new MisuseError(
    'the body of a guarded route must have been read before its handler runs: a parser must take all of it',
  );
}

function hasNoBody({ headers, raw }: FastifyRequest): boolean {
  const { 'content-length': length, 'transfer-encoding': coding } = headers;
  if (length !== undefined || coding !== undefined) return length === '0' && coding === undefined;
  // In HTTP/2 a body needs neither of them.
  const { stream } = raw as unknown as Partial<Http2ServerRequest>;
  return stream === undefined || stream.endAfterHeaders;
}

// The same functions for all replies: those with closures of their own would not have one shape, and were half of what the guard costs.

function refusedHijack(this: FastifyReply): never {
  const answering = (this.request as Guarded)[ANSWERING];
  if (answering !== undefined) answering.isStreaming = true;
  throw new MisuseError('the answer of a guarded route cannot be hijacked, since it is kept');
}

function watchedThen(this: FastifyReply, ...heard: Parameters<FastifyReply['then']>): void {
  const answering = (this.request as Guarded)[ANSWERING];
  if (answering === undefined) return;
  answering.isAwaited = true;
  answering.wait.apply(this, heard);
}

/** What goes past `onSend`, or has yet to come there. */
function watchReply(answering: Answering, request: FastifyRequest, reply: FastifyReply): void {
  reply.hijack = refusedHijack;
  // biome-ignore lint/suspicious/noThenProperty: a reply has one, by which it can be awaited.
  reply.then = watchedThen;
  const { raw } = reply;
  const concludeWritten = () => {
    if (answering.state !== 'open') return;
    answering.state = 'concluded';
    // What was sent is not known, but a server error is one: Fastify's last resort where a hook fails.
    const { statusCode: status } = raw;
    const written: Handled =
      status >= 500 ? { answer: { status, body: Buffer.alloc(0) } } : { unstorable: 'streaming-answer' };
    answering
      .conclude(written)
      .catch((err: unknown) => request.log.error({ err }, 'the end of a request could not be stored'));
  };
  raw.once('close', () => {
    if (raw.headersSent) return concludeWritten();
    // The client has gone, and the handler goes on, until somebody answers or breaks off.
    for (const name of ['end', 'destroy'] as const) {
      const beneath = raw[name].bind(raw) as (...parameters: unknown[]) => typeof raw;
      raw[name] = (...parameters: unknown[]) => {
        concludeWritten();
        return beneath(...parameters);
      };
    }
  });
}

/**
 * When its client has gone, Fastify does not send what a handler answers that returns nothing. It has answered all the same,
 * unless it has returned the reply, and so waits for somebody to send it.
 */
function sendNothing(handled: Promise<unknown>, request: FastifyRequest, reply: FastifyReply): void {
  const answering = (request as Guarded)[ANSWERING];
  if (answering === undefined) return;
  handled.then(
    (payload) => {
      const isOpen = answering.state === 'open' && !reply.raw.headersSent;
      if (payload === undefined && isOpen && !answering.isAwaited) reply.send();
    },
    () => undefined,
  );
}

async function conclude(request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<unknown> {
  const answering = (request as Guarded)[ANSWERING];
  if (answering === undefined || answering.state === 'concluded') return payload;
  // Another answer of the same handler, whose first is on its way.
  if (answering.state === 'concluding') return new Promise<never>(() => undefined);
  answering.state = 'concluding';
  const { statusCode } = reply;
  const headers = reply.getHeaders();
  try {
    const handled = answering.isStreaming ? streaming(payload) : handledOf(reply, headers, payload);
    const other = await answering.conclude(handled);
    // Also of its own: somebody may have answered a second time meanwhile.
    if (other === undefined) {
      if (!hasHead(reply, statusCode, headers)) put(reply, statusCode, headers);
      return payload;
    }
    put(reply, other.status, { ...answering.before, ...other.headers });
    return other.body.byteLength === 0 ? null : Buffer.from(other.body);
  } catch (error) {
    // The error handler of the service answers, and nothing of what the handler has set is its.
    put(reply, 500, answering.before);
    throw error;
  } finally {
    answering.state = 'concluded';
  }
}

function hasHead(reply: FastifyReply, status: number, headers: Headers): boolean {
  const now = reply.getHeaders();
  const names = Object.keys(now);
  return (
    reply.statusCode === status &&
    names.length === Object.keys(headers).length &&
    names.every((name) => now[name] === headers[name])
  );
}

function put(reply: FastifyReply, status: number, headers: Headers): void {
  for (const name of Object.keys(reply.getHeaders())) {
    reply.removeHeader(name);
    reply.raw.removeHeader(name);
  }
  reply.code(status).headers(headers);
}

function handledOf({ statusCode: status }: FastifyReply, headers: Headers, payload: unknown): Handled {
  const body = bytesOf(payload);
  if (body === undefined) return streaming(payload);
  const single = Object.entries(headers).map(([name, value]) => [name, String(value)]);
  return { answer: { status, headers: Object.fromEntries(single), body } };
}

/** @returns undefined for what is not there yet. */
function bytesOf(payload: unknown): Uint8Array | undefined {
  if (payload === undefined || payload === null) return Buffer.alloc(0);
  if (typeof payload === 'string') return Buffer.from(payload);
  return payload instanceof Uint8Array ? payload : undefined;
}

function streaming(payload: unknown): Handled {
  discard(payload);
  return { unstorable: 'streaming-answer' };
}

/** Ends a stream of Node's, one of the Web, or the one in a `Response`. */
function discard(payload: unknown): void {
  const stream = payload as Partial<Readable & ReadableStream & Response> | null | undefined;
  if (typeof stream?.destroy === 'function') {
    // It may fail when it is destroyed, and there is nobody whom that concerns.
    stream.on?.('error', () => undefined);
    stream.destroy();
    return;
  }
  const ofTheWeb = typeof stream?.cancel === 'function' ? stream : stream?.body;
  // Not at once: one that Node has made of a stream of its own (`Readable.toWeb`) throws, to nobody, where it is cancelled in
  // the turn in which it begins to flow.
  setImmediate(() => ofTheWeb?.cancel?.().catch(() => undefined));
}
