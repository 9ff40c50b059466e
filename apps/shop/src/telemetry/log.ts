import type { FastifyRequest } from 'fastify';

/** What must not stand in a log, should anybody ever log it: the serializers below let none of it through. */
const SECRETS = [
  'authorization',
  'cookie',
  '["set-cookie"]',
  '["idempotency-key"]',
  'paymentKey',
  'password',
  'secret',
  'token',
];
/** Where an object of the log may have it: at the top, or in something that it holds. */
const PLACES = ['', '*.', '*.headers.'];

/** Errors are shown to this depth of causes. */
const MOST_CAUSES = 5;

/**
 * Settings of the log, which is JSON, a line each. Errors and requests are shown by what is named here: drivers hang statements with
 * their values, and commands with their passwords, on the errors that they throw, and an address may carry anything.
 */
export function logOptions(level: string, serverName: string) {
  return {
    level,
    name: serverName,
    redact: {
      paths: PLACES.flatMap((place) => SECRETS.map((name) => pathOf(place, name))),
      censor: '***',
    },
    serializers: {
      req: shownRequest,
      err: (error: unknown) => shownError(error),
      cause: (error: unknown) => shownError(error),
    },
  };
}

function pathOf(place: string, name: string): string {
  return name.startsWith('[') ? place.replace(/\.$/, '') + name : place + name;
}

/** By the pattern of its route, not by its address. */
function shownRequest(request: FastifyRequest) {
  return {
    method: request.method,
    route: request.is404 ? undefined : request.routeOptions?.url,
    remoteAddress: request.ip,
  };
}

interface ShownError {
  readonly type: string;
  readonly message: string;
  readonly stack: string;
  readonly [more: string]: unknown;
}

function shownError(error: unknown, causes = MOST_CAUSES): ShownError {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error), stack: '' };
  const { name, message, stack = '' } = error;
  const { code, effect } = error as { code?: unknown; effect?: unknown };
  const shown = { type: name, message, stack, code, effect };
  if (causes === 0) return shown;
  const errors: readonly unknown[] = error instanceof AggregateError ? error.errors : [];
  return {
    ...shown,
    ...(error.cause === undefined ? {} : { cause: shownError(error.cause, causes - 1) }),
    ...(errors.length === 0 ? {} : { errors: errors.map((one) => shownError(one, causes - 1)) }),
  };
}
