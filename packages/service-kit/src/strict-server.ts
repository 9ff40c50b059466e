import { randomUUID } from 'node:crypto';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import Fastify, {
  type FastifyError,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify';

import { refuseClient } from './client-errors.ts';
import { drain } from './drain.ts';
import { requestLog } from './request-log.ts';
import { enforceRouteRules } from './route-rules.ts';
import { validatorCompiler } from './validation.ts';

/** How often slow clients are looked for, in milliseconds, or as often as their time ends, if that is less. */
const LOOK_FOR_SLOW_CLIENTS_MS = 5_000;

export interface StrictServerOptions {
  /** Largest request body, in bytes. */
  bodyLimitBytes: number;
  /** How long a client may take to send one request, in milliseconds. */
  requestTimeoutMs: number;
  logger: FastifyServerOptions['logger'];
  /** The body of an error, for what goes wrong before a route is found. */
  errorBody(status: number, code: string, message: string): object;
  /** Names a request, given what it calls itself in `X-Request-Id` (letters, digits and hyphens, at most 64). */
  requestId?(given: string | undefined): string;
}

/**
 * A Fastify server that takes input literally and accepts no route without rules.
 *
 * Nothing is coerced ("1" is not 1) and no unknown field is dropped in silence: the schema accepts the input
 * or the client hears why not. A route without a schema or without an auth rule fails the start. Whoever sends too slowly, or
 * what is no HTTP, is answered in the same words as everybody.
 */
export function createStrictServer(options: StrictServerOptions) {
  const app = Fastify({
    logger: options.logger ?? false,
    childLoggerFactory: requestLog,
    bodyLimit: options.bodyLimitBytes,
    requestTimeout: options.requestTimeoutMs,
    http: {
      // Where it is the longer one, which it is by default, Node.js takes each of the two for the other.
      headersTimeout: options.requestTimeoutMs,
      connectionsCheckingInterval: Math.min(LOOK_FOR_SLOW_CLIENTS_MS, options.requestTimeoutMs),
    },
    clientErrorHandler(error, socket) {
      const { code } = error as { code?: string };
      // Its bytes, which the error carries, are nobody's business.
      if (refuseClient(error, socket, options.errorBody))
        app.log.info({ code }, 'a request could not be read');
    },
    routerOptions: { maxParamLength: 300 },
    frameworkErrors: (error: FastifyError, _request: FastifyRequest, reply: FastifyReply) => {
      const status = error.statusCode ?? 400;
      // The framework's own message repeats the address, however long.
      reply.status(status).send(options.errorBody(status, 'invalid-request', 'The address cannot be read.'));
    },
    // While it closes, what still arrives on an open connection is served and the connection ended.
    return503OnClosing: false,
    requestIdHeader: false,
    genReqId: (request) => {
      const given = request.headers['x-request-id'];
      const usable = typeof given === 'string' && /^[A-Za-z0-9-]{1,64}$/.test(given) ? given : undefined;
      return options.requestId?.(usable) ?? usable ?? randomUUID();
    },
  })
    .withTypeProvider<TypeBoxTypeProvider>()
    .setValidatorCompiler(validatorCompiler);
  // Closing ends the connections that are idle at that moment. One that is busy would be kept alive after its
  // answer, and hold up the close until its client lets go of it (a minute, with most clients).
  let closing = false;
  app.addHook('preClose', async () => {
    closing = true;
  });
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (closing) reply.header('connection', 'close');
    done(null, payload);
  });
  app.addHook('onSend', async (request) => {
    if (!request.raw.complete) await drain(request.raw);
  });
  return { app, routes: enforceRouteRules(app) };
}

export type StrictServer = ReturnType<typeof createStrictServer>['app'];
