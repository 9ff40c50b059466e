import { randomUUID } from 'node:crypto';
import { createStrictServer, type RunningService } from '@pawl/service-kit';
import { Redis } from 'ioredis';
import { sql } from 'kysely';
import { ioredisPort, ioredisSubscriber } from 'pawl/ioredis';
import type { Settings } from './config.ts';
import { issues } from './coupons/issue/issue.ts';
import { publishedLocks } from './coupons/issue/published-locks.ts';
import { stockReconciler } from './coupons/issue/reconcile-stock.ts';
import { stockCounter } from './coupons/issue/stock-counter.ts';
import { couponRoutes } from './http/coupon-routes.ts';
import { problem } from './http/envelope.ts';
import { answerFailures } from './http/failures.ts';
import { stampArrivals } from './http/lab-headers.ts';
import { labRoutes } from './http/lab-routes.ts';
import { memberLimit } from './http/member-limit.ts';
import { memberRoutes } from './http/member-routes.ts';
import { identifyMembers } from './http/members.ts';
import { orderRoutes } from './http/order-routes.ts';
import { purchaseAnswers } from './http/purchase-answers.ts';
import { serviceRoutes } from './http/service-routes.ts';
import { ticketRoutes } from './http/ticket-routes.ts';
import { openLocks } from './locks.ts';
import { findPurchased } from './lotto/bill.ts';
import { durablePurchases } from './lotto/purchase/durable/durable-purchases.ts';
import { reconcileLoop } from './lotto/purchase/durable/reconcile-loop.ts';
import { publishedKeys } from './lotto/purchase/published-keys.ts';
import { purchases } from './lotto/purchase/purchase.ts';
import { tossClient } from './payment/toss-client.ts';
import { openDatabase, openLockSessions } from './store/database.ts';
import { readIsolation } from './store/isolation.ts';
import { migrate, openDemoRound } from './store/migrate.ts';

/** An order of 100 tickets is 2 KB. */
const BODY_LIMIT_BYTES = 32 * 1024;
const REQUEST_TIMEOUT_MS = 30_000;
/** What the end of the service may take beyond the longest wait for the provider, in milliseconds. */
const CLOSE_MARGIN_MS = 10_000;
/** In front of every key in Redis. */
const REDIS_PREFIX = 'shop:';
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
  const subscriber = redis?.duplicate({ autoResubscribe: false });
  subscriber?.on('error', (error) => app.log.error({ err: error }, 'the subscriber of Redis failed'));
  const redisPort = redis && ioredisPort(redis, { commandTimeoutMs: REDIS_TIMEOUT_MS });
  const provider = tossClient({
    baseUrl: settings.PAYMENT_BASE_URL,
    secretKey: settings.PAYMENT_SECRET_KEY,
    timeoutMs: settings.PAYMENT_TIMEOUT_MS,
    onMisconfigured: (code) => app.log.fatal({ code }, 'the payment provider refuses our credentials'),
  });

  const underWay = new Set<Promise<unknown>>();
  const onTrouble = (message: string, details: Readonly<Record<string, unknown>>) =>
    app.log.error(details, message);

  const locks = openLocks({
    redis: redisPort && subscriber && { port: redisPort, subscriber: ioredisSubscriber(subscriber) },
    prefix: REDIS_PREFIX,
    purchasesIn: settings.DISTRIBUTED_LOCK_STORE ?? 'redis',
    openSessions: () =>
      openLockSessions({
        url: settings.DATABASE_URL,
        applicationName: settings.SERVER_NAME,
        poolSize: settings.DATABASE_POOL_SIZE,
        statementTimeoutMs: settings.DATABASE_STATEMENT_TIMEOUT_MS,
      }),
    times: {
      leaseMs: settings.DISTRIBUTED_LOCK_LEASE_MS,
      waitMs: settings.DISTRIBUTED_LOCK_WAIT_MS,
      renewForMs: settings.DISTRIBUTED_LOCK_RENEW_MS,
    },
    onEvent: (message, details) => app.log.warn(details, message),
  });

  const durable = durablePurchases({
    db,
    sql: store,
    provider,
    answers: purchaseAnswers,
    serverName: settings.SERVER_NAME,
    settings: {
      leaseMs: settings.PURCHASE_LEASE_MS,
      sessionMs: settings.PAYMENT_SESSION_MS,
      marginMs: settings.PAYMENT_MARGIN_MS,
      isIdempotent: settings.PAYMENT_IDEMPOTENCY,
      recovery: {
        everyMs: settings.RECOVERY_EVERY_MS,
        most: settings.RECOVERY_MOST,
        pauseMs: settings.RECOVERY_PAUSE_MS,
        maxPauseMs: settings.RECOVERY_MAX_PAUSE_MS,
      },
    },
    onEvent: ({ kind, call, code, cause }) => {
      const details = {
        err: cause,
        code,
        subject: call?.subject,
        attempt: call?.attempt,
        fence: call?.fence,
      };
      if (kind === 'unknown') app.log.warn(details, 'the outcome of a purchase is not known yet');
      else app.log.error(details, `a purchase could not be settled: ${kind}`);
    },
  });
  const reconciliation = reconcileLoop({
    provider,
    calls: durable.calls,
    rows: durable.rows,
    purchased: (paymentKeys) => findPurchased(db, paymentKeys),
    serverName: settings.SERVER_NAME,
    everyMs: settings.RECONCILE_EVERY_MS,
    graceMs: settings.RECONCILE_GRACE_MS,
    lookBackMs: settings.RECONCILE_LOOK_BACK_MS,
    onFound: (found) => app.log.error(found, 'payments were captured that no order waits for'),
    onTrouble: (cause) => app.log.error({ err: cause }, "the provider's records could not be compared"),
  });

  const pay = purchases({
    db,
    sql: store,
    provider,
    locks: locks.purchases,
    publishedKeys:
      redisPort &&
      publishedKeys(redisPort, {
        ttlMs: settings.IDEMPOTENCY_TTL_MS,
        prefix: REDIS_PREFIX,
        onOutcomeNotStored: (event) => app.log.warn(event, 'an outcome could not be stored under its key'),
      }),
    durable,
    serverName: settings.SERVER_NAME,
    settings: {
      lockWaitMs: settings.LOCK_WAIT_MS,
      retryAttempts: settings.RETRY_ATTEMPTS,
      retryPauseMs: settings.RETRY_PAUSE_MS,
    },
    onTrouble,
  });

  const couponRedis = redisPort &&
    subscriber &&
    locks.coupons && {
      locks: locks.coupons,
      publishedLocks: publishedLocks(redisPort, subscriber, {
        prefix: REDIS_PREFIX,
        spin: { leaseMs: settings.COUPON_SPIN_LEASE_MS, pauseMs: settings.COUPON_SPIN_PAUSE_MS },
        waiting: {
          leaseMs: settings.COUPON_REDIS_LOCK_LEASE_MS,
          waitMs: settings.COUPON_REDIS_LOCK_WAIT_MS,
        },
        onTrouble,
      }),
      counter: stockCounter(redisPort, { prefix: REDIS_PREFIX }),
    };
  const reconciler =
    couponRedis &&
    stockReconciler({
      db,
      sql: store,
      counter: couponRedis.counter,
      everyMs: settings.COUPON_RECONCILE_MS,
      reservationMs: settings.COUPON_RESERVATION_MS,
      onMended: (mended) => app.log.warn(mended, 'the counters of coupons were brought to their rows'),
      onTrouble,
    });
  const issue = issues({
    db,
    sql: store,
    redis: couponRedis,
    serverName: settings.SERVER_NAME,
    settings: {
      lockWaitMs: settings.LOCK_WAIT_MS,
      retryAttempts: settings.COUPON_RETRY_ATTEMPTS,
      retryPauseMs: settings.COUPON_RETRY_PAUSE_MS,
    },
    onTrouble,
  });

  /** Work goes on when its client has gone, so the end of the service waits for work, not for clients. */
  const untilDone =
    <Request, Outcome>(work: (request: Request) => Promise<Outcome>) =>
    (request: Request): Promise<Outcome> => {
      const working = work(request);
      const ended: Promise<unknown> = working.then(
        () => underWay.delete(ended),
        () => underWay.delete(ended),
      );
      underWay.add(ended);
      return working;
    };

  const limit = memberLimit({
    most: settings.COUPON_REQUESTS_PER_MEMBER,
    windowMs: settings.COUPON_REQUESTS_WINDOW_MS,
  });

  if (settings.LAB_MODE) stampArrivals(app, settings.SERVER_NAME);
  identifyMembers(app);
  answerFailures(app);
  serviceRoutes(app, {
    serverName: settings.SERVER_NAME,
    isReady: () => answers(() => sql`select 1`.execute(db)),
    ...(settings.LAB_MODE ? { isolation: () => readIsolation(store) } : {}),
  });
  orderRoutes(app, { db, sql: store, cancel: untilDone(durable.cancel) });
  ticketRoutes(app, {
    db,
    purchase: untilDone(pay),
    defaultStrategy: settings.PURCHASE_STRATEGY,
    labMode: settings.LAB_MODE,
  });
  couponRoutes(app, {
    db,
    sql: store,
    issue: untilDone(issue),
    limit,
    defaultStrategy: settings.COUPON_STRATEGY,
    labMode: settings.LAB_MODE,
  });
  memberRoutes(app, { db, sql: store });
  if (settings.LAB_MODE) labRoutes(app, { counter: couponRedis?.counter });

  const close = async () => {
    // Who waits for a lock is refused, so that nobody is waited for who waits; the server waits for every answer.
    couponRedis?.publishedLocks.close();
    const unlocked = locks.close();
    await app.close();
    const idle = [durable.calls.close(), reconciliation.close(), reconciler?.close(), unlocked];
    await Promise.all([...underWay, ...idle]);
    subscriber?.disconnect();
    redis?.disconnect();
    await provider.close();
    await db.destroy();
  };
  try {
    await Promise.all([redis?.connect(), subscriber?.connect()]);
    await migrate(settings.DATABASE_URL, settings.SERVER_NAME);
    await openDemoRound({ db, sql: store });
    const url = await app.listen({ host: settings.HOST, port: settings.PORT });
    // Always: what a purchase left behind is finished, whatever strategy has been chosen since.
    durable.calls.start();
    reconciliation.start();
    // In lab mode a request may choose the strategy that has counters.
    if (settings.LAB_MODE || settings.COUPON_STRATEGY === 'redis-counter') reconciler?.start();
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
