import { readSettings, SettingsError } from '@pawl/service-kit';
import Type, { type Static } from 'typebox';
import {
  type CouponStrategyName,
  strategies as couponStrategies,
  couponStrategyNames,
} from './coupons/issue/index.ts';
import { type StrategyName, strategies, strategyNames } from './lotto/purchase/index.ts';

const LOOPBACK = ['127.0.0.1', '::1', 'localhost'];

const settingsSchema = Type.Object({
  SERVER_NAME: Type.String({
    default: 'lotto-back-1',
    description: 'The name of this instance, as GET /ping tells it',
  }),
  HOST: Type.String({
    default: '127.0.0.1',
    description: 'The address to listen on; loopback only in demo mode',
  }),
  PORT: Type.Integer({ minimum: 0, maximum: 65_535, default: 8081 }),
  DATABASE_URL: Type.String({
    pattern: '^(postgres(ql)?|mysql)://',
    description: 'a postgres:// or mysql:// URL (MySQL 8 or MariaDB)',
  }),
  DATABASE_POOL_SIZE: Type.Integer({ minimum: 1, maximum: 1000, default: 10 }),
  // Longer than several waits for a lock: a statement may queue for a row, and then wait for who holds it.
  DATABASE_STATEMENT_TIMEOUT_MS: Type.Integer({ minimum: 100, maximum: 600_000, default: 30_000 }),
  REDIS_URL: Type.Optional(Type.String({ pattern: '^rediss?://', description: 'a redis:// URL' })),
  PAYMENT_BASE_URL: Type.String({ pattern: '^https?://', description: 'an http:// or https:// URL' }),
  PAYMENT_SECRET_KEY: Type.String({ minLength: 1, description: "the payment provider's secret key" }),
  PAYMENT_TIMEOUT_MS: Type.Integer({ minimum: 100, maximum: 120_000, default: 10_000 }),
  PURCHASE_STRATEGY: Type.Union(
    strategyNames.map((name) => Type.Literal(name)),
    { default: 'durable' },
  ),
  // How long who pays may be silent before another instance takes over. Who recovers asks the provider up to three times.
  PURCHASE_LEASE_MS: Type.Integer({ minimum: 100, maximum: 600_000, default: 35_000 }),
  // How long a payment window lives at the provider, and how long after its end a capture may still come to light.
  PAYMENT_SESSION_MS: Type.Integer({ minimum: 100, maximum: 86_400_000, default: 600_000 }),
  PAYMENT_MARGIN_MS: Type.Integer({ minimum: 0, maximum: 86_400_000, default: 60_000 }),
  PAYMENT_IDEMPOTENCY: Type.Boolean({
    default: true,
    description: 'Whether the payment provider honours idempotency keys',
  }),
  RECOVERY_EVERY_MS: Type.Integer({ minimum: 10, maximum: 3_600_000, default: 1_000 }),
  RECOVERY_MOST: Type.Integer({ minimum: 1, maximum: 1000, default: 20 }),
  RECOVERY_PAUSE_MS: Type.Integer({ minimum: 10, maximum: 3_600_000, default: 500 }),
  RECOVERY_MAX_PAUSE_MS: Type.Integer({ minimum: 10, maximum: 3_600_000, default: 30_000 }),
  // 0: never.
  RECONCILE_EVERY_MS: Type.Integer({ minimum: 0, maximum: 86_400_000, default: 60_000 }),
  // Longer than any purchase takes that notes nothing before it charges, as some of the wrong ones do.
  RECONCILE_GRACE_MS: Type.Integer({ minimum: 0, maximum: 86_400_000, default: 60_000 }),
  RECONCILE_LOOK_BACK_MS: Type.Integer({ minimum: 0, maximum: 2_592_000_000, default: 86_400_000 }),
  LOCK_WAIT_MS: Type.Integer({ minimum: 0, maximum: 60_000, default: 5_000 }),
  RETRY_ATTEMPTS: Type.Integer({ minimum: 1, maximum: 100, default: 3 }),
  RETRY_PAUSE_MS: Type.Integer({ minimum: 0, maximum: 10_000, default: 100 }),
  DISTRIBUTED_LOCK_STORE: Type.Optional(
    Type.Union([Type.Literal('redis'), Type.Literal('database')], {
      description: 'Where the locks of purchases are kept; by default in Redis where REDIS_URL is set',
    }),
  ),
  DISTRIBUTED_LOCK_LEASE_MS: Type.Integer({ minimum: 10, maximum: 600_000, default: 10_000 }),
  DISTRIBUTED_LOCK_WAIT_MS: Type.Integer({ minimum: 0, maximum: 600_000, default: 20_000 }),
  DISTRIBUTED_LOCK_RENEW_MS: Type.Integer({ minimum: 0, maximum: 86_400_000, default: 300_000 }),
  IDEMPOTENCY_TTL_MS: Type.Integer({ minimum: 100, maximum: 86_400_000, default: 120_000 }),
  COUPON_STRATEGY: Type.Union(
    couponStrategyNames.map((name) => Type.Literal(name)),
    { default: 'conditional-update' },
  ),
  // As many as there may be rivals who get one first, or optimistic-retry turns members away while some are left.
  COUPON_RETRY_ATTEMPTS: Type.Integer({ minimum: 1, maximum: 100_000, default: 200 }),
  COUPON_RETRY_PAUSE_MS: Type.Integer({ minimum: 0, maximum: 10_000, default: 10 }),
  COUPON_SPIN_PAUSE_MS: Type.Integer({ minimum: 1, maximum: 60_000, default: 2_000 }),
  COUPON_SPIN_LEASE_MS: Type.Integer({ minimum: 1, maximum: 600_000, default: 3_000 }),
  COUPON_REDIS_LOCK_WAIT_MS: Type.Integer({ minimum: 0, maximum: 600_000, default: 100_000 }),
  COUPON_REDIS_LOCK_LEASE_MS: Type.Integer({ minimum: 1, maximum: 600_000, default: 1_000 }),
  COUPON_RECONCILE_MS: Type.Integer({ minimum: 10, maximum: 3_600_000, default: 5_000 }),
  // Longer than a request takes from its reservation to the commit, or coupons are given back that are being written.
  COUPON_RESERVATION_MS: Type.Integer({ minimum: 100, maximum: 3_600_000, default: 60_000 }),
  // How many requests for coupons of one member an instance works on at a time, and begins within the window.
  COUPON_REQUESTS_PER_MEMBER: Type.Integer({ minimum: 1, maximum: 1000, default: 5 }),
  COUPON_REQUESTS_WINDOW_MS: Type.Integer({ minimum: 0, maximum: 60_000, default: 1_000 }),
  LAB_MODE: Type.Boolean({
    default: false,
    description: 'Lets a request choose its strategy and test codes, and stamps arrivals',
  }),
  LOG_LEVEL: Type.Union(
    ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'].map((level) => Type.Literal(level)),
    { default: 'info' },
  ),
});

export type Settings = Omit<Static<typeof settingsSchema>, 'PURCHASE_STRATEGY' | 'COUPON_STRATEGY'> & {
  PURCHASE_STRATEGY: StrategyName;
  COUPON_STRATEGY: CouponStrategyName;
};

/** @throws SettingsError  Naming every setting that is missing or bad. */
export function shopSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  const settings = readSettings(settingsSchema, env) as Settings;
  const problems: string[] = [];
  if (!LOOPBACK.includes(settings.HOST)) {
    // Anybody may claim to be any member here, so nobody from outside may ask.
    problems.push(`HOST must be a loopback address in demo mode, got ${JSON.stringify(settings.HOST)}`);
  }
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
