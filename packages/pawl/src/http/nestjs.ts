import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type CallHandler,
  type ExecutionContext,
  Logger,
  type NestInterceptor,
  ServiceUnavailableException,
} from '@nestjs/common';
import { Observable, of, tap } from 'rxjs';
import { MisuseError } from '../errors.ts';
import { arrivedBody } from './arrived-body.ts';
import { captureAnswer, isAnswered, sendAnswer } from './captured-answer.ts';
import {
  type GuardedRoute,
  guardedRoute,
  type HttpIdempotencyOptions,
  type OtherAnswer,
} from './guarded-route.ts';

/** What Nest gives of a request, on Express or on Fastify, with what guards have put there. */
export interface NestRequest {
  readonly method: string;
  readonly url: string;
  readonly originalUrl?: string;
  readonly headers: IncomingMessage['headers'];
  readonly rawBody?: Uint8Array;
  readonly body?: unknown;
  /** Express. */
  readonly route?: { readonly path: unknown };
  /** Fastify. */
  readonly routeOptions?: { readonly url?: string | undefined };
  readonly raw?: IncomingMessage;
}

/** Fastify's reply: what has been set there is not in Node's response yet. */
interface FastifyReply {
  readonly raw: ServerResponse;
  getHeaders(): Readonly<Record<string, number | string | string[] | undefined>>;
}

/**
 * Runs the handler of a route once for each `Idempotency-Key`: `@UseInterceptors(new IdempotencyInterceptor({ … }))`.
 * Interceptors run after guards, so whoever asks has been authenticated. Name it before other interceptors.
 *
 * Needs `NestFactory.create(…, { rawBody: true })`. Pipes run behind it, so that what they refuse is an answer too.
 */
export class IdempotencyInterceptor<Request extends object = NestRequest> implements NestInterceptor {
  readonly #guarded: GuardedRoute<Request>;
  readonly #log = new Logger(IdempotencyInterceptor.name);

  /** @throws MisuseError  The keys or the member are not given, or an option is none. */
  constructor(options: HttpIdempotencyOptions<Request>) {
    this.#guarded = guardedRoute(options);
  }

  /**
   * @throws MisuseError  The bytes of the body have not been kept, or it is not a request over HTTP.
   * @throws ServiceUnavailableException  Somebody else has answered while the store was asked, and the handler does not run.
   */
  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    if (context.getType() !== 'http')
      throw new MisuseError('only requests over HTTP have an Idempotency-Key');
    const http = context.switchToHttp();
    const request = http.getRequest<Request & NestRequest>();
    const response = nodeResponse(http.getResponse<ServerResponse | FastifyReply>());
    const begun = await this.#guarded.begin({
      request,
      method: request.method,
      route: routeOf(request),
      target: request.originalUrl ?? request.url,
      header: request.headers['idempotency-key']?.toString(),
      body: bodyOf(request),
    });
    if (begun.run && begun.end === undefined) return next.handle();
    if (isAnswered(response)) {
      if (begun.run) await begun.end({ notRun: true }).catch((error: unknown) => this.#log.error(error));
      throw new ServiceUnavailableException();
    }
    if (!begun.run) return inPlaceOfHandler(response, begun.answer);
    let refuse: (() => void) | undefined;
    const captured = captureAnswer(response, {
      end: begun.end,
      refused: () => refuse?.(),
      failed: (error) => {
        // Nest has done with the request: no filter of exceptions hears of it any more.
        this.#log.error(error);
        if (!isAnswered(response)) sendAnswer(response, INTERNAL_ERROR);
      },
    });
    // An Observable is torn down when its client goes, and nothing is answered; a promise goes on. Where an interceptor around this
    // one gives up, there is an answer.
    const torn = () => {
      if (response.req.socket.destroyed) captured.abandon();
    };
    const handling = begun.within(() => next.handle()).pipe(tap({ unsubscribe: torn }));
    return new Observable((subscriber) => {
      refuse = () => subscriber.complete();
      return handling.subscribe(subscriber);
    });
  }
}

/** As Nest itself answers what nobody has expected. */
const INTERNAL_ERROR: OtherAnswer = {
  status: 500,
  headers: { 'content-type': 'application/json; charset=utf-8' },
  body: Buffer.from('{"statusCode":500,"message":"Internal server error"}'),
};

/** Nest answers in any case, unless the handler would: whatever it answers, this is sent. */
function inPlaceOfHandler(response: ServerResponse, answer: OtherAnswer): Observable<undefined> {
  const captured = captureAnswer(response, {
    end: async () => answer,
    failed: () => response.destroy(),
  });
  // A handler with @Res() would answer by itself, so nobody does.
  setImmediate(() => captured.abandon());
  return of(undefined);
}

function nodeResponse(response: ServerResponse | FastifyReply): ServerResponse {
  if (!('raw' in response)) return response;
  // They stay, as those do that are set in Node's response already.
  for (const [name, value] of Object.entries(response.getHeaders())) {
    if (value !== undefined) response.raw.setHeader(name, value);
  }
  return response.raw;
}

function routeOf({ route, routeOptions, originalUrl, url }: NestRequest): string {
  const path = (originalUrl ?? url).split('?')[0] ?? '';
  return route === undefined ? (routeOptions?.url ?? path) : String(route.path);
}

function bodyOf(request: NestRequest): Uint8Array | undefined {
  const { rawBody, body, raw } = request;
  // Fastify's own parser of text is not Nest's, and keeps nothing.
  const kept = rawBody ?? (typeof body === 'string' ? Buffer.from(body) : undefined);
  const how = 'NestFactory.create(AppModule, { rawBody: true })';
  return arrivedBody(raw ?? (request as unknown as IncomingMessage), kept, how);
}
