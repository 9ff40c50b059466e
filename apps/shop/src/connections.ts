import type { StrictServer } from '@pawl/service-kit';
import { Redis } from 'ioredis';
import { defaultGroupCommit, type RedisPort, type RedisSubscriber, type SqlPort } from 'pawl';
import { ioredisPort, ioredisSubscriber } from 'pawl/ioredis';
import type { Settings } from './config.ts';
import type { PaymentProvider } from './payment/provider.ts';
import { tossClient } from './payment/toss-client.ts';
import { type OpenDatabase, openDatabase, openGroups } from './store/database.ts';

/** How long a command to Redis may take, in milliseconds: money waits for nobody who has fallen silent. */
const REDIS_TIMEOUT_MS = 3_000;

/** What has a group commit of its own: the coupons, the claims of purchases, and their settlements. */
const GROUPS = 3;
/**
 * So that none of them ever waits for a connection: one each for its batches, and one for each row that it waits for; and one for looks at
 * claims, which wait for none.
 */
const GROUP_POOL_SIZE = GROUPS * (1 + defaultGroupCommit.maxHeldKeys) + 1;

/** Whom an instance talks to. */
export interface Connections extends OpenDatabase {
  /** The same database, over connections for group commit alone. */
  readonly groups: SqlPort;
  /** Undefined where there is none. */
  readonly redis:
    | {
        readonly port: RedisPort;
        readonly subscriber: RedisSubscriber;
        /** The connection of `subscriber`, for what listens by itself. */
        readonly listener: Redis;
      }
    | undefined;
  readonly provider: PaymentProvider;
  /** Those to Redis; the others are made when they are needed. */
  connect(): Promise<void>;
  close(): Promise<void>;
}

/** Nobody has been connected to yet. */
export function openConnections(settings: Settings, log: StrictServer['log']): Connections {
  const options = {
    url: settings.DATABASE_URL,
    applicationName: settings.SERVER_NAME,
    poolSize: settings.DATABASE_POOL_SIZE,
    lockWaitMs: Math.max(1, settings.LOCK_WAIT_MS),
    statementTimeoutMs: settings.DATABASE_STATEMENT_TIMEOUT_MS,
    longestWaitMs: settings.PAYMENT_TIMEOUT_MS,
    onIdleError: (error: Error) => log.error({ err: error }, 'an idle connection to the database broke'),
  };
  const database = openDatabase(options);
  // Where each caller has a transaction of his own, as many at once as anywhere else.
  const groups = openGroups(settings.GROUP_COMMIT ? { ...options, poolSize: GROUP_POOL_SIZE } : options);
  const redis = settings.REDIS_URL === undefined ? undefined : redisClient(settings.REDIS_URL);
  redis?.on('error', (error) => log.error({ err: error }, 'the connection to Redis failed'));
  const subscriber = redis?.duplicate({ autoResubscribe: false });
  subscriber?.on('error', (error) => log.error({ err: error }, 'the subscriber of Redis failed'));
  const provider = tossClient({
    baseUrl: settings.PAYMENT_BASE_URL,
    secretKey: settings.PAYMENT_SECRET_KEY,
    timeoutMs: settings.PAYMENT_TIMEOUT_MS,
    onMisconfigured: (code) => log.fatal({ code }, 'the payment provider refuses our credentials'),
  });
  return {
    ...database,
    groups: groups.sql,
    redis: redis &&
      subscriber && {
        port: ioredisPort(redis, { commandTimeoutMs: REDIS_TIMEOUT_MS }),
        subscriber: ioredisSubscriber(subscriber),
        listener: subscriber,
      },
    provider,
    async connect() {
      await Promise.all([redis?.connect(), subscriber?.connect()]);
    },
    async close() {
      subscriber?.disconnect();
      redis?.disconnect();
      await provider.close();
      await Promise.all([database.db.destroy(), groups.end()]);
    },
  };
}

/** A client that never sends a command twice and never keeps one for later. */
function redisClient(url: string): Redis {
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
