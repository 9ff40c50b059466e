import { isAscii } from 'node:buffer';
import type { Context, Env, MiddlewareHandler } from 'hono';
import { MisuseError } from '../errors.ts';
import {
  guardedRoute,
  type Handled,
  type HttpIdempotencyOptions,
  type OtherAnswer,
} from './guarded-route.ts';

/**
 * Runs what comes after it on a route once for an `Idempotency-Key`: put it behind the route's authentication and its validators,
 * before its handler. Of the body the handler reads what it likes, through `context.req`; `context.req.raw` has been read.
 *
 * What is stored is what the handler answers, and what the middleware between has made of it. An answer whose body is not
 * there at once is a stream, and is refused: give text or bytes.
 *
 * @throws MisuseError  Keys or member are missing.
 */
export function idempotentRoute<E extends Env = Env>(
  options: HttpIdempotencyOptions<Context<E>>,
): MiddlewareHandler<E> {
  const guarded = guardedRoute(options);

  return async (context, next) => {
    const { pathname, search } = new URL(context.req.url);
    const wasFinalized = context.finalized;
    const begun = await guarded.begin({
      request: context,
      method: context.req.method,
      route: routeOf(context, pathname),
      target: `${pathname}${search}`,
      header: context.req.header('idempotency-key'),
      body: await bodyOf(context),
    });
    if (begun.run && begun.end === undefined) return next();
    // A time-out, say, while the store was asked.
    if (context.finalized && !wasFinalized) {
      if (begun.run) await begun.end({ notRun: true });
      return;
    }
    // What the service has set before the handler: request ids, CORS. It is on every answer. A copy, since Hono adds to these.
    const before = [...context.body(null).headers];
    if (!begun.run) return responseOf(begun.answer, before);

    let whole: Whole;
    try {
      await begun.within(next);
      whole = await wholeAnswer(context, guarded.maxAnswerBytes);
    } catch (error) {
      // It goes to the error handler of the service, which answers something of the kind.
      await begun.end(FAILED);
      throw error;
    }
    const other = await begun.end(whole.handled);
    if (whole.isOutOfReach) return;
    const response = other === undefined ? whole.response : responseOf(other, before);
    // Else the headers of the one that is there would be put on it.
    context.res = undefined;
    context.res = response;
  };
}

const FAILED: Handled = { answer: { status: 500, body: new Uint8Array() } };

/** On a response that a handler has written to its connection itself, past Hono (`@hono/node-server`). */
const ALREADY_SENT = 'x-hono-already-sent';

interface Whole {
  readonly handled: Handled;
  /** The same answer, since its body has been read. */
  readonly response: Response | undefined;
  /** Nothing can be sent in its place. */
  readonly isOutOfReach: boolean;
}

/** The pattern, unless it stands for many routes (`app.use('*', …)`), whose keys are not the same. */
function routeOf({ req: { routePath } }: Context, path: string): string {
  return routePath.split('/').includes('*') ? path : routePath;
}

/** @throws MisuseError  It has been parsed to what has lost its bytes. */
async function bodyOf({ req }: Context): Promise<Uint8Array> {
  const { bodyCache } = req;
  const isRead = Object.keys(bodyCache).length > 0;
  // Of a form it would make a new one, with another boundary each time.
  if (isRead && bodyCache.arrayBuffer === undefined && bodyCache.text === undefined) {
    throw new MisuseError(
      'the body of a guarded route must be read as bytes or text first: await context.req.arrayBuffer() before it is parsed',
    );
  }
  const bytes = new Uint8Array(await req.arrayBuffer());
  // Whoever reads it as JSON or as text would have it made of the bytes by way of a Response.
  if (isAscii(bytes)) {
    const text = Promise.resolve(Buffer.from(bytes.buffer).toString('latin1'));
    // What its types call a text is the promise of one.
    (bodyCache as { text?: unknown }).text ??= text;
  }
  return bytes;
}

/** @throws what the body of the answer fails with. */
async function wholeAnswer(context: Context, maxBytes: number): Promise<Whole> {
  // There is none. Hono finds that out, and answers 500.
  if (!context.finalized) return { handled: FAILED, response: undefined, isOutOfReach: true };
  const { res } = context;
  const isOutOfReach = res.headers.has(ALREADY_SENT);
  const text = isOutOfReach ? undefined : keptText(res);
  if (text !== undefined) {
    // Nothing else of it: whoever asks for its status text, say, makes it a stream.
    const { status } = res;
    const headers = new Headers(res.headers);
    const answer = { status, headers: Object.fromEntries(headers), body: Buffer.from(text) };
    return { handled: { answer }, response: new Response(text, { status, headers }), isOutOfReach };
  }
  const body = isOutOfReach ? 'streaming-answer' : await bytesOf(res.body, maxBytes);
  if (typeof body === 'string') return { handled: { unstorable: body }, response: undefined, isOutOfReach };
  const { status, statusText } = res;
  const headers = new Headers(res.headers);
  return {
    handled: { answer: { status, headers: Object.fromEntries(headers), body } },
    // Of its parts: of the response itself the server would make a stream, and read it again.
    response: new Response(textOrBytes(body, headers), { status, statusText, headers }),
    isOutOfReach,
  };
}

/**
 * The text that an answer was made of: `@hono/node-server` keeps it beside status and headers until somebody asks for the stream that it is
 * in a `Response`, and that costs more than all else here. It tells nobody; what does not look so is read as a stream.
 */
function keptText(response: Response): string | undefined {
  for (const key of Object.getOwnPropertySymbols(response)) {
    const kept: unknown = key.description === 'cache' ? Reflect.get(response, key) : undefined;
    if (!Array.isArray(kept) || kept[0] !== response.status) continue;
    if (typeof kept[1] === 'string') return kept[1];
  }
  return undefined;
}

async function bytesOf(
  body: ReadableStream<Uint8Array> | null,
  maxBytes: number,
): Promise<Uint8Array | 'answer-too-large' | 'streaming-answer'> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  const reader = body?.getReader();
  while (reader !== undefined) {
    const read = await atOnce(reader.read());
    if (read === undefined || bytes > maxBytes) {
      reader.cancel().catch(() => undefined);
      return read === undefined ? 'streaming-answer' : 'answer-too-large';
    }
    if (read.done) break;
    chunks.push(read.value);
    bytes += read.value.byteLength;
  }
  return Buffer.concat(chunks);
}

/** So many steps of promises what was there at once has taken before a timer is asked for, which costs more than all of them. */
const STEPS = 24;

/**
 * What is there by the time that everything which was ready has run. What comes later may come at any time, or never.
 *
 * @returns undefined when it is not.
 */
async function atOnce<T>(promised: Promise<T>): Promise<T | undefined> {
  let isThere = false;
  const there = () => {
    isThere = true;
  };
  promised.then(there, there);
  for (let step = 0; step < STEPS && !isThere; step++) await undefined;
  if (isThere) return promised;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const later = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, 0, undefined);
  });
  try {
    return await Promise.race([promised, later]);
  } finally {
    clearTimeout(timer);
  }
}

function responseOf({ status, headers, body }: OtherAnswer, before: [string, string][]): Response {
  const all = new Headers(before);
  for (const [name, value] of Object.entries(headers)) all.set(name, value);
  return new Response(textOrBytes(body, all), { status, headers: all });
}

/** As text it goes out with its head in one piece; but to text without a type a response gives one. */
function textOrBytes(body: Uint8Array, headers: Headers): string | Uint8Array<ArrayBuffer> | null {
  if (body.byteLength === 0 || !headers.has('content-type') || !isAscii(body)) return orNone(body);
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1');
}

/** Some statuses may not have a body, not even an empty one. */
function orNone(body: Uint8Array): Uint8Array<ArrayBuffer> | null {
  return body.byteLength === 0 ? null : Uint8Array.from(body);
}
