import { randomUUID } from 'node:crypto';
import { createStrictServer, type RunningService } from '@pawl/service-kit';
import { Redis } from 'ioredis';
import { sql } from 'kysely';
import { ioredisPort } from 'pawl/ioredis';
import type { Settings } from './config.ts';
import { problem } from './http/envelope.ts';
import { answerFailures } from './http/failures.ts';
import { stampArrivals } from './http/lab-headers.ts';
import { identifyMembers } from './http/members.ts';
import { orderRoutes } from './http/order-routes.ts';
import { serviceRoutes } from './http/service-routes.ts';
import { ticketRoutes } from './http/ticket-routes.ts';
import { publishedKeys } from './lotto/purchase/published-keys.ts';
import { purchases } from './lotto/purchase/purchase.ts';
import { tossClient } from './payment/toss-client.ts';
import { openDatabase } from './store/database.ts';
import { readIsolation } from './store/isolation.ts';
import { migrate, openDemoRound } from './store/migrate.ts';

/** An order of 100 tickets is 2 KB. */
const BODY_LIMIT_BYTES = 32 * 1024;
const REQUEST_TIMEOUT_MS = 30_000;
/** What the end of the service may take beyond the longest wait for the provider, in milliseconds. */
const CLOSE_MARGIN_MS = 10_000;
/** How long a command to Redis may take, in milliseconds: money waits for nobody who has fallen silent. */
const REDIS_TIMEOUT_MS = 3_000;

/** Starts one instance of the shop: migrates its database, then listens. */
export async function startShop(settings: Settings): Promise<RunningService & { readonly url: string }> {
  const app = createStrictServer({
    bodyLimitBytes: BODY_LIMIT_BYTES,
    requestTimeoutMs: REQUEST_TIMEOUT_MS,
    logger: { level: settings.LOG_LEVEL, name: settings.SERVER_NAME },
    errorBody: problem,
    requestId: (given) => (settings.LAB_MODE && given !== undefined ? given : randomUUID()),
  });
  const { db, sql: store } = openDatabase({
    url: settings.DATABASE_URL,
    applicationName: settings.SERVER_NAME,
    poolSize: settings.DATABASE_POOL_SIZE,
    lockWaitMs: Math.max(1, settings.LOCK_WAIT_MS),
    statementTimeoutMs: settings.DATABASE_STATEMENT_TIMEOUT_MS,
    longestWaitMs: settings.PAYMENT_TIMEOUT_MS,
    onIdleError: (error) => app.log.error({ err: error }, 'an idle connection to the database broke'),
  });
  const redis = settings.REDIS_URL === undefined ? undefined : connectRedis(settings.REDIS_URL);
  redis?.on('error', (error) => app.log.error({ err: error }, 'the connection to Redis failed'));
  const provider = tossClient({
    baseUrl: settings.PAYMENT_BASE_URL,
    secretKey: settings.PAYMENT_SECRET_KEY,
    timeoutMs: settings.PAYMENT_TIMEOUT_MS,
    onMisconfigured: (code) => app.log.fatal({ code }, 'the payment provider refuses our credentials'),
  });

  const underWay = new Set<Promise<unknown>>();
  const pay = purchases({
    db,
    sql: store,
    provider,
    publishedKeys:
      redis &&
      publishedKeys(ioredisPort(redis, { commandTimeoutMs: REDIS_TIMEOUT_MS }), {
        ttlMs: settings.IDEMPOTENCY_TTL_MS,
        prefix: 'shop:',
        onOutcomeNotStored: (event) => app.log.warn(event, 'an outcome could not be stored under its key'),
      }),
    serverName: settings.SERVER_NAME,
    settings: {
      lockWaitMs: settings.LOCK_WAIT_MS,
      retryAttempts: settings.RETRY_ATTEMPTS,
      retryPauseMs: settings.RETRY_PAUSE_MS,
    },
    onTrouble: (message, details) => app.log.error(details, message),
  });

  /** A purchase goes on when its client has gone, so the end of the service waits for purchases, not for clients. */
  const purchase: typeof pay = (confirmation) => {
    const paying = pay(confirmation);
    const ended: Promise<unknown> = paying.then(
      () => underWay.delete(ended),
      () => underWay.delete(ended),
    );
    underWay.add(ended);
    return paying;
  };

  if (settings.LAB_MODE) stampArrivals(app, settings.SERVER_NAME);
  identifyMembers(app);
  answerFailures(app);
  serviceRoutes(app, {
    serverName: settings.SERVER_NAME,
    isReady: () => answers(() => sql`select 1`.execute(db)),
    ...(settings.LAB_MODE ? { isolation: () => readIsolation(store) } : {}),
  });
  orderRoutes(app, { db, sql: store });
  ticketRoutes(app, {
    db,
    purchase,
    defaultStrategy: settings.PURCHASE_STRATEGY,
    labMode: settings.LAB_MODE,
  });

  const close = async () => {
    await app.close();
    await Promise.all(underWay);
    redis?.disconnect();
    await provider.close();
    await db.destroy();
  };
  try {
    if (redis !== undefined) await redis.connect();
    await migrate(settings.DATABASE_URL, settings.SERVER_NAME);
    await openDemoRound({ db, sql: store });
    const url = await app.listen({ host: settings.HOST, port: settings.PORT });
    return { url, close, closeLimitMs: settings.PAYMENT_TIMEOUT_MS + CLOSE_MARGIN_MS };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A client that never sends a command twice and never keeps one for later. */
function connectRedis(url: string): Redis {
  return new Redis(url, {
    lazyConnect: true,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    connectTimeout: REDIS_TIMEOUT_MS,
    // For a connection that falls silent while it is being opened; the port gives its commands up before.
    socketTimeout: 2 * REDIS_TIMEOUT_MS,
  });
}

async function answers(question: () => Promise<unknown>): Promise<boolean> {
  try {
    await question();
    return true;
  } catch {
    return false;
  }
}
