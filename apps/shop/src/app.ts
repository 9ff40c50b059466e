import { randomUUID } from 'node:crypto';
import { createStrictServer, type RegisteredRoute, type RunningService } from '@pawl/service-kit';
import { sql } from 'kysely';
import type { Settings } from './config.ts';
import { openConnections } from './connections.ts';
import { openCouponIssues } from './coupon-issues.ts';
import { couponRoutes } from './http/coupon-routes.ts';
import { describeRoutes, showDescription } from './http/docs.ts';
import { problem } from './http/envelope.ts';
import { answerFailures } from './http/failures.ts';
import { stampArrivals } from './http/lab-headers.ts';
import { labRoutes } from './http/lab-routes.ts';
import { memberLimit } from './http/member-limit.ts';
import { memberRoutes } from './http/member-routes.ts';
import { identifyMembers } from './http/members.ts';
import { metricsRoute } from './http/metrics-route.ts';
import { orderRoutes } from './http/order-routes.ts';
import { serviceRoutes } from './http/service-routes.ts';
import { ticketRoutes } from './http/ticket-routes.ts';
import { openLocks } from './locks.ts';
import { openPayments } from './payments.ts';
import { openLockSessions } from './store/database.ts';
import { readIsolation } from './store/isolation.ts';
import { migrate, openDemoRound } from './store/migrate.ts';
import { logOptions } from './telemetry/log.ts';
import { openTelemetry } from './telemetry/telemetry.ts';
import { underWay } from './under-way.ts';

/** An order of 100 tickets is 2 KB. */
const BODY_LIMIT_BYTES = 32 * 1024;
/** What the end of the service may take beyond the longest wait for the provider, in milliseconds. */
const CLOSE_MARGIN_MS = 10_000;
/** In front of every key in Redis. */
const REDIS_PREFIX = 'shop:';
/** Where members have tokens and nobody says otherwise. */
const ORDERS_PER_MEMBER = 60;

export interface RunningShop extends RunningService {
  readonly url: string;
  readonly routes: readonly RegisteredRoute[];
}

/** Starts one instance of the shop: migrates its database, then listens. */
export async function startShop(settings: Settings): Promise<RunningShop> {
  const hasTokens = settings.JWT_SECRET !== undefined;
  const { app, routes } = createStrictServer({
    bodyLimitBytes: BODY_LIMIT_BYTES,
    requestTimeoutMs: settings.REQUEST_TIMEOUT_MS,
    logger: logOptions(settings.LOG_LEVEL, settings.SERVER_NAME),
    errorBody: problem,
    requestId: (given) => (settings.LAB_MODE && given !== undefined ? given : randomUUID()),
  });
  const connections = openConnections(settings, app.log);
  const { db, sql: store, poolUse } = connections;
  const telemetry = openTelemetry(app, { serverName: settings.SERVER_NAME, poolUse });

  const locks = openLocks({
    redis: connections.redis,
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
  const shared = { settings, connections, redisPrefix: REDIS_PREFIX, log: app.log };
  const payments = openPayments({ ...shared, locks: locks.purchases });
  const coupons = openCouponIssues({ ...shared, locks: locks.coupons });
  const { untilDone, ended } = underWay();
  const couponLimit = memberLimit({
    most: settings.COUPON_REQUESTS_PER_MEMBER,
    windowMs: settings.COUPON_REQUESTS_WINDOW_MS,
  });
  const mostOrders = settings.ORDERS_PER_MEMBER ?? (hasTokens ? ORDERS_PER_MEMBER : undefined);
  const orderLimit =
    mostOrders === undefined
      ? undefined
      : memberLimit({ most: mostOrders, windowMs: settings.ORDERS_WINDOW_MS });

  const close = async () => {
    // Who waits for a lock is refused, so that nobody is waited for who waits; the server waits for every answer.
    coupons.refuseWaiting();
    for (const limit of [couponLimit, orderLimit]) limit?.close();
    const unlocked = locks.close();
    await app.close();
    await Promise.all([ended(), payments.close(), coupons.close(), unlocked]);
    await connections.close();
    await telemetry.close();
  };
  try {
    await describeRoutes(app, { hasTokens });
    if (settings.LAB_MODE) stampArrivals(app, settings.SERVER_NAME);
    await identifyMembers(app, {
      jwtSecret: settings.JWT_SECRET,
      metricsToken: settings.METRICS_TOKEN,
    });
    answerFailures(app);
    serviceRoutes(app, {
      serverName: settings.SERVER_NAME,
      isReady: () => answers(() => sql`select 1`.execute(db)),
      ...(settings.LAB_MODE ? { isolation: () => readIsolation(store) } : {}),
    });
    metricsRoute(app, telemetry.read);
    orderRoutes(app, { db, sql: store, cancel: untilDone(payments.cancel), limit: orderLimit });
    ticketRoutes(app, {
      db,
      purchase: untilDone(telemetry.purchases(payments.pay)),
      defaultStrategy: settings.PURCHASE_STRATEGY,
      labMode: settings.LAB_MODE,
    });
    couponRoutes(app, {
      db,
      sql: store,
      issue: untilDone(telemetry.issues(coupons.issue)),
      limit: couponLimit,
      defaultStrategy: settings.COUPON_STRATEGY,
      labMode: settings.LAB_MODE,
    });
    memberRoutes(app, { db, sql: store });
    if (settings.LAB_MODE) labRoutes(app, { counter: coupons.counter });
    await showDescription(app);

    await connections.connect();
    await migrate(settings.DATABASE_URL, settings.SERVER_NAME);
    await openDemoRound({ db, sql: store });
    const url = await app.listen({ host: settings.HOST, port: settings.PORT });
    // Always: what a purchase left behind is finished, whatever strategy has been chosen since.
    payments.start();
    coupons.start();
    return { url, routes, close, closeLimitMs: settings.PAYMENT_TIMEOUT_MS + CLOSE_MARGIN_MS };
  } catch (error) {
    await close();
    throw error;
  }
}

async function answers(question: () => Promise<unknown>): Promise<boolean> {
  try {
    await question();
    return true;
  } catch {
    return false;
  }
}
