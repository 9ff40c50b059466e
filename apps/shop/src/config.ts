import { readSettings, SettingsError } from '@pawl/service-kit';
import Type, { type Static } from 'typebox';
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
    { default: 'conditional-update' },
  ),
  LOCK_WAIT_MS: Type.Integer({ minimum: 0, maximum: 60_000, default: 5_000 }),
  RETRY_ATTEMPTS: Type.Integer({ minimum: 1, maximum: 100, default: 3 }),
  RETRY_PAUSE_MS: Type.Integer({ minimum: 0, maximum: 10_000, default: 100 }),
  IDEMPOTENCY_TTL_MS: Type.Integer({ minimum: 100, maximum: 86_400_000, default: 120_000 }),
  LAB_MODE: Type.Boolean({
    default: false,
    description: 'Lets a request choose its strategy and test codes, and stamps arrivals',
  }),
  LOG_LEVEL: Type.Union(
    ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'].map((level) => Type.Literal(level)),
    { default: 'info' },
  ),
});

export type Settings = Omit<Static<typeof settingsSchema>, 'PURCHASE_STRATEGY'> & {
  PURCHASE_STRATEGY: StrategyName;
};

/** @throws SettingsError  Naming every setting that is missing or bad. */
export function shopSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  const settings = readSettings(settingsSchema, env) as Settings;
  const problems: string[] = [];
  if (!LOOPBACK.includes(settings.HOST)) {
    // Anybody may claim to be any member here, so nobody from outside may ask.
    problems.push(`HOST must be a loopback address in demo mode, got ${JSON.stringify(settings.HOST)}`);
  }
  if (strategies[settings.PURCHASE_STRATEGY].needs === 'redis' && settings.REDIS_URL === undefined) {
    problems.push(`REDIS_URL must be set for PURCHASE_STRATEGY=${settings.PURCHASE_STRATEGY}`);
  }
  if (problems.length > 0) throw new SettingsError(problems);
  return settings;
}
