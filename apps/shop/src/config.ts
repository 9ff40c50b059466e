import { readSettings, SettingsError } from '@pawl/service-kit';
import Type, { type Static } from 'typebox';
import {
  type CouponStrategyName,
  strategies as couponStrategies,
  couponStrategyNames,
} from './coupons/issue/index.ts';
import { type StrategyName, strategies, strategyNames } from './lotto/purchase/index.ts';

const LOOPBACK = ['127.0.0.1', '::1', 'localhost'];

export const settingsSchema = Type.Object({
  SERVER_NAME: Type.String({
    default: 'lotto-back-1',
    description: 'The name of this instance, as `GET /ping` tells it.',
  }),
  HOST: Type.String({
    default: '127.0.0.1',
    description: 'The address to listen on: in demo mode a loopback address, unless `DEMO_MODE=1`.',
  }),
  DEMO_MODE: Type.Optional(
    Type.Boolean({
      description:
        'Demo mode is the mode without `JWT_SECRET`: whoever asks is whom he says in `X-Member-Id`, and an operator. 1 lets it listen beyond loopback, for a container whose port only this machine can reach; 0 refuses to start without `JWT_SECRET`.',
    }),
  ),
  JWT_SECRET: Type.Optional(
    Type.String({
      pattern: '^[\\x21-\\x7e]{32,512}$',
      writeOnly: true,
      rule: 'at least 32 printable ASCII characters',
      description: 'The key of the tokens (HS256) by which members and operators are known.',
    }),
  ),
  METRICS_TOKEN: Type.Optional(
    Type.String({
      pattern: '^[\\x21-\\x7e]{32,512}$',
      writeOnly: true,
      rule: 'at least 32 printable ASCII characters',
      description: 'The bearer token of who reads `GET /metrics`, where members have tokens.',
    }),
  ),
  PORT: Type.Integer({
    minimum: 0,
    maximum: 65_535,
    default: 8081,
    description: 'The port to listen on; 0 takes a free one.',
  }),
  REQUEST_TIMEOUT_MS: Type.Integer({
    minimum: 100,
    maximum: 600_000,
    default: 30_000,
    description: 'How long a client may take to send a request, in milliseconds.',
  }),
  DATABASE_URL: Type.String({
    pattern: '^(postgres(ql)?|mysql)://',
    rule: 'a postgres:// or mysql:// URL (MySQL 8 or MariaDB)',
    description:
      'The database that all instances share. Its tables are made, and brought up to date, at the start.',
  }),
  DATABASE_POOL_SIZE: Type.Integer({
    minimum: 1,
    maximum: 1000,
    default: 10,
    description:
      'The connections that this instance opens at most, beside sixteen for group commit and those of locks in the database.',
  }),
  DATABASE_STATEMENT_TIMEOUT_MS: Type.Integer({
    minimum: 100,
    maximum: 600_000,
    default: 30_000,
    description:
      'How long a statement may take, in milliseconds. Longer than several waits for a lock: a statement may queue for a row, and then wait for who holds it.',
  }),
  GROUP_COMMIT: Type.Boolean({
    default: true,
    description:
      'Whether requests that come at the same time share a transaction, each with an outcome of its own. 0: each has one to itself; the outcomes are the same.',
  }),
  REDIS_URL: Type.Optional(
    Type.String({
      pattern: '^rediss?://',
      rule: 'a redis:// URL',
      description:
        'The Redis or Valkey that all instances share. Without it, strategies that need it are refused.',
    }),
  ),
  PAYMENT_BASE_URL: Type.String({
    pattern: '^https?://',
    rule: 'an http:// or https:// URL',
    description: 'Where the payment provider is.',
  }),
  PAYMENT_SECRET_KEY: Type.String({
    minLength: 1,
    writeOnly: true,
    rule: "the payment provider's secret key",
    description: 'The key that the payment provider knows this shop by.',
  }),
  PAYMENT_TIMEOUT_MS: Type.Integer({
    minimum: 100,
    maximum: 120_000,
    default: 10_000,
    description:
      'How long the payment provider may take to answer, in milliseconds. After that the outcome is unknown.',
  }),
  PURCHASE_STRATEGY: Type.Union(
    strategyNames.map((name) => Type.Literal(name)),
    {
      default: 'durable',
      description:
        'How a purchase is kept from happening twice: one of the published strategies, right or wrong, or `durable`.',
    },
  ),
  PURCHASE_LEASE_MS: Type.Integer({
    minimum: 100,
    maximum: 600_000,
    default: 35_000,
    description:
      'How long who pays may be silent before another instance takes over, in milliseconds; more than `PAYMENT_TIMEOUT_MS`.',
  }),
  PAYMENT_SESSION_MS: Type.Integer({
    minimum: 100,
    maximum: 86_400_000,
    default: 600_000,
    description: 'How long a payment window lives at the provider, in milliseconds.',
  }),
  PAYMENT_MARGIN_MS: Type.Integer({
    minimum: 0,
    maximum: 86_400_000,
    default: 60_000,
    description:
      'How long after the end of its payment window a capture may still come to light, in milliseconds.',
  }),
  PAYMENT_IDEMPOTENCY: Type.Boolean({
    default: true,
    description: 'Whether the payment provider honours idempotency keys.',
  }),
  RECOVERY_EVERY_MS: Type.Integer({
    minimum: 10,
    maximum: 3_600_000,
    default: 1_000,
    description: 'How often this instance looks for purchases that nobody finishes, in milliseconds.',
  }),
  RECOVERY_MOST: Type.Integer({
    minimum: 1,
    maximum: 1000,
    default: 20,
    description: 'How many purchases that nobody finishes it takes up at a time.',
  }),
  RECOVERY_PAUSE_MS: Type.Integer({
    minimum: 10,
    maximum: 3_600_000,
    default: 500,
    description:
      'The pause after the first attempt that settled nothing, in milliseconds; it doubles with each.',
  }),
  RECOVERY_MAX_PAUSE_MS: Type.Integer({
    minimum: 10,
    maximum: 3_600_000,
    default: 30_000,
    description: 'The longest of the pauses between attempts that settle nothing, in milliseconds.',
  }),
  RECONCILE_EVERY_MS: Type.Integer({
    minimum: 0,
    maximum: 86_400_000,
    default: 60_000,
    description: "How often the provider's records are compared with the orders, in milliseconds; 0: never.",
  }),
  RECONCILE_GRACE_MS: Type.Integer({
    minimum: 0,
    maximum: 86_400_000,
    default: 60_000,
    description:
      'How old a capture must be before it is compared, in milliseconds. Longer than any purchase takes that notes nothing before it charges, as some of the wrong ones do.',
  }),
  RECONCILE_LOOK_BACK_MS: Type.Integer({
    minimum: 0,
    maximum: 2_592_000_000,
    default: 86_400_000,
    description: 'How far back the first comparison after a start looks, in milliseconds.',
  }),
  LOCK_WAIT_MS: Type.Integer({
    minimum: 0,
    maximum: 60_000,
    default: 5_000,
    description:
      "How long a statement waits for somebody else's row lock, in milliseconds; whole seconds on MySQL, rounded up.",
  }),
  RETRY_ATTEMPTS: Type.Integer({
    minimum: 1,
    maximum: 100,
    default: 3,
    description: 'How often the optimistic purchases try, the first time included.',
  }),
  RETRY_PAUSE_MS: Type.Integer({
    minimum: 0,
    maximum: 10_000,
    default: 100,
    description: 'The pause between the attempts of an optimistic purchase, in milliseconds.',
  }),
  DISTRIBUTED_LOCK_STORE: Type.Optional(
    Type.Union([Type.Literal('redis'), Type.Literal('database')], {
      description:
        'Where the locks of purchases are kept; by default in Redis where `REDIS_URL` is set, else in the database.',
    }),
  ),
  DISTRIBUTED_LOCK_LEASE_MS: Type.Integer({
    minimum: 10,
    maximum: 600_000,
    default: 10_000,
    description: 'When a distributed lock ends by itself unless it is renewed, in milliseconds.',
  }),
  DISTRIBUTED_LOCK_WAIT_MS: Type.Integer({
    minimum: 0,
    maximum: 600_000,
    default: 20_000,
    description: 'How long a request waits for a distributed lock, in milliseconds.',
  }),
  DISTRIBUTED_LOCK_RENEW_MS: Type.Integer({
    minimum: 0,
    maximum: 86_400_000,
    default: 300_000,
    description: 'How long a distributed lock is renewed at most, in milliseconds.',
  }),
  IDEMPOTENCY_TTL_MS: Type.Integer({
    minimum: 100,
    maximum: 86_400_000,
    default: 120_000,
    description:
      'How long the strategy `idempotency-key` remembers an order, in milliseconds. It must outlast the payment.',
  }),
  COUPON_STRATEGY: Type.Union(
    couponStrategyNames.map((name) => Type.Literal(name)),
    {
      default: 'group-commit',
      description:
        'How a coupon is kept from being issued once too often: one of the published strategies, right or wrong, or `group-commit`.',
    },
  ),
  COUPON_RETRY_ATTEMPTS: Type.Integer({
    minimum: 1,
    maximum: 100_000,
    default: 200,
    description:
      'How often the optimistic coupons try. As many as there may be rivals who get one first, or `optimistic-retry` turns members away while some are left.',
  }),
  COUPON_RETRY_PAUSE_MS: Type.Integer({
    minimum: 0,
    maximum: 10_000,
    default: 10,
    description: 'The pause between the attempts of an optimistic coupon, in milliseconds.',
  }),
  COUPON_SPIN_PAUSE_MS: Type.Integer({
    minimum: 1,
    maximum: 60_000,
    default: 2_000,
    description: 'The pause between two looks of the published spin lock, in milliseconds.',
  }),
  COUPON_SPIN_LEASE_MS: Type.Integer({
    minimum: 1,
    maximum: 600_000,
    default: 3_000,
    description: 'When the published spin lock ends by itself, in milliseconds; nobody renews it.',
  }),
  COUPON_REDIS_LOCK_WAIT_MS: Type.Integer({
    minimum: 0,
    maximum: 600_000,
    default: 100_000,
    description: 'How long a request waits for the published lock with wake-ups, in milliseconds.',
  }),
  COUPON_REDIS_LOCK_LEASE_MS: Type.Integer({
    minimum: 1,
    maximum: 600_000,
    default: 1_000,
    description: 'When the published lock with wake-ups ends by itself, in milliseconds; nobody renews it.',
  }),
  COUPON_RECONCILE_MS: Type.Integer({
    minimum: 10,
    maximum: 3_600_000,
    default: 5_000,
    description: 'How often the counters in Redis are compared with the rows, in milliseconds.',
  }),
  COUPON_RESERVATION_MS: Type.Integer({
    minimum: 100,
    maximum: 3_600_000,
    default: 60_000,
    description:
      'How old a reservation in Redis without an outcome is when the rows are asked for it, in milliseconds. Longer than a request takes from its reservation to the commit, or coupons are given back that are being written.',
  }),
  COUPON_REQUESTS_PER_MEMBER: Type.Integer({
    minimum: 1,
    maximum: 1000,
    default: 5,
    description:
      'How many requests of one member for coupons this instance works on at a time, and begins within the window; less than `DATABASE_POOL_SIZE`.',
  }),
  COUPON_REQUESTS_WINDOW_MS: Type.Integer({
    minimum: 0,
    maximum: 60_000,
    default: 1_000,
    description: 'The window of `COUPON_REQUESTS_PER_MEMBER`, in milliseconds.',
  }),
  ORDERS_PER_MEMBER: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      description:
        'How many orders of one member this instance takes within the window. By default 60 for members with tokens, and no limit in demo mode, where nearly everybody is member 1.',
    }),
  ),
  ORDERS_WINDOW_MS: Type.Integer({
    minimum: 1_000,
    maximum: 3_600_000,
    default: 60_000,
    description: 'The window of `ORDERS_PER_MEMBER`, in milliseconds.',
  }),
  LAB_MODE: Type.Boolean({
    default: false,
    description: 'Lets a request choose its strategy and test codes, and stamps arrivals. In demo mode only.',
  }),
  LOG_LEVEL: Type.Union(
    ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'].map((level) => Type.Literal(level)),
    { default: 'info', description: 'From which level on log lines are written.' },
  ),
});

export type Settings = Omit<Static<typeof settingsSchema>, 'PURCHASE_STRATEGY' | 'COUPON_STRATEGY'> & {
  PURCHASE_STRATEGY: StrategyName;
  COUPON_STRATEGY: CouponStrategyName;
};

/** @throws SettingsError  Naming every setting that is missing or bad. */
export function shopSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  const settings = readSettings(settingsSchema, env) as Settings;
  const problems = callerProblems(settings);
  if (settings.COUPON_REQUESTS_PER_MEMBER >= Math.max(2, settings.DATABASE_POOL_SIZE)) {
    // Or one member takes all connections, and everybody waits for whatever he waits for.
    problems.push(
      `COUPON_REQUESTS_PER_MEMBER must be less than DATABASE_POOL_SIZE=${settings.DATABASE_POOL_SIZE}, got ${settings.COUPON_REQUESTS_PER_MEMBER}`,
    );
  }
  if (settings.PURCHASE_LEASE_MS <= settings.PAYMENT_TIMEOUT_MS) {
    // Or a purchase is taken over while its owner still waits for the provider, and nothing that he hears is believed.
    problems.push(
      `PURCHASE_LEASE_MS must be more than PAYMENT_TIMEOUT_MS=${settings.PAYMENT_TIMEOUT_MS}, got ${settings.PURCHASE_LEASE_MS}`,
    );
  }
  const chosen = {
    PURCHASE_STRATEGY: strategies[settings.PURCHASE_STRATEGY],
    COUPON_STRATEGY: couponStrategies[settings.COUPON_STRATEGY],
  };
  for (const name of ['PURCHASE_STRATEGY', 'COUPON_STRATEGY'] as const) {
    if (chosen[name].needs === 'database' || settings.REDIS_URL !== undefined) continue;
    problems.push(`REDIS_URL must be set for ${name}=${settings[name]}`);
  }
  if (settings.DISTRIBUTED_LOCK_STORE === 'redis' && settings.REDIS_URL === undefined) {
    problems.push('REDIS_URL must be set for DISTRIBUTED_LOCK_STORE=redis');
  }
  if (problems.length > 0) throw new SettingsError(problems);
  return settings;
}

/** Who may ask, and who may reach it, have to fit each other. */
function callerProblems({ JWT_SECRET, DEMO_MODE, LAB_MODE, METRICS_TOKEN, HOST }: Settings): string[] {
  const problems: string[] = [];
  if (JWT_SECRET === undefined) {
    if (DEMO_MODE === false) problems.push('JWT_SECRET must be set with DEMO_MODE=0');
    if (DEMO_MODE !== true && !LOOPBACK.includes(HOST)) {
      // Anybody may claim to be any member here, so nobody from outside may ask, unless somebody says that no one can.
      problems.push(
        `HOST must be a loopback address in demo mode, got ${JSON.stringify(HOST)}: set JWT_SECRET, or DEMO_MODE=1 where nobody from outside can reach it`,
      );
    }
    if (METRICS_TOKEN !== undefined) problems.push('METRICS_TOKEN must not be set without JWT_SECRET');
    return problems;
  }
  if (DEMO_MODE === true) problems.push('DEMO_MODE=1 must not be set with JWT_SECRET');
  // What is for tests only does not exist where members are known.
  if (LAB_MODE) problems.push('LAB_MODE=1 must not be set with JWT_SECRET');
  return problems;
}
