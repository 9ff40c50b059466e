import type { IncomingMessage } from 'node:http';
import type { Request, RequestHandler } from 'express';
import { arrivedBody } from './arrived-body.ts';
import { captureAnswer, isAnswered, sendAnswer } from './captured-answer.ts';
import { guardedRoute, type HttpIdempotencyOptions } from './guarded-route.ts';

const KEPT_BODY = Symbol('pawl.kept-body');

type Kept = IncomingMessage & { [KEPT_BODY]?: Buffer };

/**
 * Keeps the bytes of a body beside what a parser makes of it, for `idempotentRoute`: `express.json({ verify: keepRawBody })`,
 * and so for `express.urlencoded` and `express.text`. `express.raw` needs it not.
 */
export function keepRawBody(request: IncomingMessage, _response: unknown, body: Buffer): void {
  (request as Kept)[KEPT_BODY] = body;
}

/**
 * Runs the handlers behind it once for each `Idempotency-Key`: `app.post('/pay', authenticated, idempotentRoute({ … }), pay)`.
 * Put it behind whatever authenticates and whatever parses the body.
 *
 * A body that was parsed and not kept (`keepRawBody`), and what the store refuses, goes to the service's error handler.
 *
 * @throws MisuseError  At once: the keys or the member are not given, or an option is none.
 */
export function idempotentRoute<Asked extends Request = Request>(
  options: HttpIdempotencyOptions<Asked>,
): RequestHandler {
  const guarded = guardedRoute(options);
  return async (request, response, next) => {
    const begun = await guarded.begin({
      request: request as unknown as Asked,
      method: request.method,
      route: routeOf(request as unknown as Asked),
      target: request.originalUrl,
      header: request.headers['idempotency-key']?.toString(),
      body: bodyOf(request as unknown as Asked),
    });
    if (begun.run && begun.end === undefined) return next();
    // A time-out, say, while the store was asked.
    if (isAnswered(response)) {
      if (begun.run) await begun.end({ notRun: true });
      return;
    }
    if (!begun.run) return sendAnswer(response, begun.answer);
    captureAnswer(response, { end: begun.end, failed: next });
    begun.within(next);
  };
}

/**
 * The pattern, where the guard stands at one route; what a router is mounted at is known as the path alone. A pattern with `*`, a list and
 * a regular expression may stand for many routes, whose keys are not the same.
 */
function routeOf({ baseUrl, path, route }: Request): string {
  const pattern: unknown = route?.path;
  return baseUrl + (typeof pattern === 'string' && !pattern.includes('*') ? pattern : path);
}

function bodyOf(request: Request): Uint8Array | undefined {
  const kept = (request as Kept)[KEPT_BODY] ?? request.body;
  return arrivedBody(request, kept, 'express.json({ verify: keepRawBody })');
}
