import { createStrictServer, type RegisteredRoute } from '@pawl/service-kit';
import { answerToError, refusal, send } from './answer.ts';
import { guardRoutes } from './auth.ts';
import { createBook } from './book.ts';
import { systemClock } from './clock.ts';
import { createExchange } from './exchange.ts';
import { createFaultRules } from './faults/rules.ts';
import { createIdempotencyKeys } from './idempotency.ts';
import { createLatency } from './latency.ts';
import { openLedger } from './ledger.ts';
import { autoSessionByDefault, defaults, type SandboxOptions } from './options.ts';
import { registerFaults } from './routes/faults.ts';
import { registerLab } from './routes/lab.ts';
import { registerPayments } from './routes/payments.ts';
import { registerTransactions } from './routes/transactions.ts';

export interface Sandbox {
  /** Where it listens, without a slash at the end. */
  readonly url: string;
  readonly routes: readonly RegisteredRoute[];
  /**
   * Answers what is in flight, syncs the ledger, and frees the port and the file. A client whom a fault rule
   * keeps waiting loses its connection; what was to be decided after that wait is not decided.
   */
  close(): Promise<void>;
}

/**
 * Starts a payment provider of its own: the ledger is read, the port is open.
 *
 * @throws LedgerError  The ledger's file is corrupt.
 * @throws Error        The file cannot be opened, or the port cannot be bound (the system's `code`). Nothing
 *                      stays open.
 */
export async function createSandbox(options: SandboxOptions): Promise<Sandbox> {
  const settings = { ...defaults, clock: systemClock, ...options };
  const { mode, clock, secretKey, sessionMs, alreadyProcessedGuard } = settings;
  const autoSession = options.autoSession ?? autoSessionByDefault(mode);

  const { app, routes } = createStrictServer({
    bodyLimitBytes: 64 * 1024,
    requestTimeoutMs: 10_000,
    logger: { level: settings.logLevel },
    errorBody: (_status, _code, message) => ({ code: 'INVALID_REQUEST', message }),
  });
  const book = createBook();
  const idempotencyKeys = createIdempotencyKeys();
  const ledger = await openLedger({
    file: settings.ledgerFile,
    clock,
    apply(event) {
      book.apply(event);
      idempotencyKeys.apply(event);
    },
    onFailure: (error) => app.log.fatal(error),
  });
  const faultRules = createFaultRules(settings.seed);
  const closing = new AbortController();
  app.addHook('preClose', async () => closing.abort());
  const exchange = createExchange({
    ledger,
    idempotencyKeys,
    clock,
    nextLatencyMs: createLatency(settings.latencyMinMs, settings.latencyMaxMs, settings.seed),
    honoursIdempotencyKeys: mode === 'toss',
    replayErrors: settings.replayErrors,
    secretKey,
    faultRules,
    closing: closing.signal,
  });

  guardRoutes(app, secretKey);
  app.setNotFoundHandler((_request, reply) => send(reply, refusal('NOT_FOUND', 'There is no such route.')));
  app.setErrorHandler(async (error: Error, request, reply) => {
    const answer = answerToError(error);
    if (answer.status >= 500) request.log.error(error);
    await send(reply, answer);
  });
  registerPayments(app, exchange, book, { mode, autoSession, sessionMs, alreadyProcessedGuard }, faultRules);
  registerTransactions(app, exchange, book, faultRules);
  registerLab(app, ledger, book, sessionMs);
  registerFaults(app, faultRules);

  const close = async () => {
    await app.close();
    await ledger.close();
  };
  try {
    return { url: await app.listen({ host: settings.host, port: settings.port }), routes, close };
  } catch (error) {
    await close();
    throw error;
  }
}
