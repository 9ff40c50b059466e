import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import type { EVERYBODY, HttpIdempotencyOptions } from '../../src/http/guarded-route.ts';

/**
 * A framework, as the table of cases sees it: something that starts a small service on a port of 127.0.0.1. One module for each
 * in `frameworks`, whose routes, authentication and error handling are written as its users would write them; and one test file
 * for each, which gives it to `testGuardedServices`.
 *
 * What every service does, in this order:
 *
 * 1. It sets the header `X-Served-By: this service` on every answer, before anything else (as a middleware for CORS or
 *    request ids would). It is the service's own, so it is on replays and problems too.
 * 2. It parses JSON (`application/json`), takes `application/octet-stream` as bytes, and takes requests without a body.
 * 3. It authenticates with `authenticated`; where that says so it answers 401 with `UNAUTHENTICATED` as JSON, before the guard.
 * 4. A time-out, where the route has one (`timesOut`), in the way that is usual there: it answers 503 when `Service.gaveUp` resolves.
 * 5. The guard of the route, if it has one, with `member` as authentication left it on the request.
 * 6. `Service.handle`, whose `Reply` it gives in the framework's own way. What `handle` throws goes to the framework's own
 *    error handler, which answers 500.
 */
export interface Framework {
  readonly name: string;
  /** It inflates bodies that come with `Content-Encoding: gzip`. */
  readonly inflates: boolean;
  /** The ways in which its handlers stream; each is tried with a source that sends a little and then waits. */
  readonly streams: readonly StreamKind[];
  /** @throws MisuseError  A route is guarded without keys: the service does not start. */
  start(service: Service): Promise<RunningService>;
}

export interface StreamKind {
  readonly name: string;
  /** The framework was given the stream itself, so that it is destroyed when it is not sent. */
  readonly destroys: boolean;
}

export interface Service {
  readonly routes: readonly Route[];
  /** The handler of every route. */
  handle(call: Call): Promise<Reply>;
  /** When a time-out has waited long enough for the answer to a request of this case. */
  gaveUp(caseId: string): Promise<void>;
}

export interface Route {
  readonly method: 'GET' | 'POST';
  /** With parameters as `:id`, which all four frameworks write the same way. */
  readonly path: string;
  /** Absent: the route is not guarded. */
  readonly guard?: Guard;
  readonly timesOut?: boolean;
}

/** As `idempotentRoute` takes it; `member` is the framework's to fill in, unless it is everybody. */
export type Guard = Omit<HttpIdempotencyOptions<never>, 'member'> & { readonly member?: typeof EVERYBODY };

/** A request that has reached its handler. */
export interface Call {
  /** The value of the header `X-Case`. */
  readonly caseId: string;
  readonly params: Readonly<Record<string, string>>;
  /** What the handler is given as the body: bytes as they are, JSON written again, and nothing as no bytes. */
  readonly body: Buffer;
  /** What `leaseOf` and `transactionOf` take. */
  readonly request: object;
  /** Node's own request, underneath the framework's. */
  readonly incoming: IncomingMessage;
}

export type Reply = WholeReply | StreamingReply;

export interface WholeReply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  /** Sent as it is. */
  readonly body?: Uint8Array;
  /** Given to the framework as a value, which it writes as JSON. */
  readonly json?: unknown;
}

export interface StreamingReply {
  /** The name of one of the framework's `streams`. */
  readonly stream: string;
  readonly source: Readable;
}

export interface RunningService {
  readonly port: number;
  /** Ends it, with its connections. Resolves when the port is closed. */
  close(): Promise<void>;
}

export const SERVED_BY = { 'x-served-by': 'this service' };

/** What the services answer, with status 401, to whom they do not know. */
export const UNAUTHENTICATED = { error: 'who are you?' };

/**
 * Who sent `Authorization: Bearer <name>`. `expired` is nobody whom the service lets in; `nameless` is let in without a name.
 *
 * @returns undefined where the service answers 401.
 */
export function authenticated(authorization: string | undefined): { user: string | undefined } | undefined {
  const name = /^Bearer (.+)$/.exec(authorization ?? '')?.[1];
  if (name === undefined || name === 'expired') return undefined;
  return { user: name === 'nameless' ? undefined : name };
}
