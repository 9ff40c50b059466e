import { type ColumnType, type Generated, Kysely } from 'kysely';
import type { SqlPort } from 'pawl';
import { type KyselyTransaction, kyselyPort } from 'pawl/kysely';
import type { DriverOptions, Groups, LockSessions } from './driver.ts';
import { mysqlDriver, mysqlGroups, mysqlLockSessions } from './mysql.ts';
import { countUse, type PoolUse } from './pool-use.ts';
import { postgresDriver, postgresGroups, postgresLockSessions } from './postgres.ts';

export type PublishStatus = 'WAITING' | 'PENDING' | 'COMPLETE' | 'REFUNDING' | 'REFUNDED' | 'CANCELED';

/** What is known of the last attempt to pay a publish. */
export type PaymentOutcome =
  | 'in-progress'
  | 'unknown'
  | 'declined'
  | 'not-sent'
  | 'not-captured'
  | 'refunded'
  | 'captured';

/** Of whom a coupon is for. */
export type CouponType = 'ALL' | 'MEMBERSHIP' | 'FIRST' | 'VIP';
export type DiscountType = 'PERCENT' | 'WON';
/** How the shop regards a member. Whoever was never given a standing is GENERAL. */
export type Standing = 'GENERAL' | 'FIRST' | 'MEMBERSHIP' | 'VIP';

type Timestamp = ColumnType<Date, Date | undefined, Date>;
/** `yyyy-mm-dd`: a day on a calendar, which is no point in time. */
type CalendarDay = string;

export interface Database {
  lotto_round_info: {
    id: number;
    sales_open_at: Date;
    sales_close_at: Date;
    drawn_at: Date | null;
    called_off_at: Date | null;
  };
  orders: { order_id: string; member_id: number; amount: number; currency: string; created_at: Timestamp };
  lotto_publish: {
    id: Generated<number>;
    order_id: string;
    lotto_round_info_id: number;
    status: PublishStatus;
    version: Generated<number>;
    payment_key: string | null;
    payment_outcome: PaymentOutcome | null;
    payment_code: string | null;
    /** Which attempt to pay it is at, from 1; it grows with every release. */
    attempt: Generated<number>;
    /** The token of the section that registered last. */
    fence: Generated<number>;
  };
  lotto_ticket: { id: Generated<number>; lotto_publish_id: number; numbers: string };
  purchase_key: { payment_key: string; order_id: string; claimed_at: Timestamp };
  purchase: {
    id: Generated<number>;
    order_id: string;
    payment_key: string;
    total_amount: number;
    currency: string;
    status: 'SUCCESS' | 'REFUNDED';
    provider: 'TOSS';
    method: string;
    created_at: Timestamp;
  };
  bill: {
    id: Generated<number>;
    member_id: number;
    purchase_id: number;
    lotto_publish_id: number;
    created_at: Timestamp;
  };
  order_status_audit: {
    id: Generated<number>;
    order_id: string;
    from_status: PublishStatus;
    to_status: PublishStatus;
    strategy: string;
    instance: string;
    request_id: string;
    at: Timestamp;
  };
  stray_capture: {
    payment_key: string;
    order_id: string;
    attempt: number;
    transaction_key: string;
    found_at: Timestamp;
    refunded_at: Date | null;
  };
  coupon: {
    id: string;
    sequence: Generated<number>;
    name: string;
    code: string;
    download_start_date: CalendarDay;
    download_end_date: CalendarDay;
    available_start_date: CalendarDay;
    available_end_date: CalendarDay;
    discount_type: DiscountType;
    cost: number;
    coupon_type: CouponType;
    number_of_coupons: number;
    remaining: number;
    time_zone: string;
    opening_time: string;
    daily_quota: number | null;
    quota_day: CalendarDay | null;
    quota_used: Generated<number>;
    version: Generated<number>;
    created_at: Timestamp;
    /** The token of the section that registered last. */
    fence: Generated<number>;
  };
  issued_coupon: {
    id: Generated<number>;
    coupon_id: string;
    member_id: number;
    serial: number;
    claimed_by: number | null;
    strategy: string;
    instance: string;
    request_id: string;
    issued_at: Date;
  };
  member_standing: { member_id: number; standing: Standing };
}

export type ShopDatabase = Kysely<Database>;
export type ShopTransaction = KyselyTransaction<Database>;
export type ShopSql = SqlPort<ShopTransaction>;

const CONNECT_TIMEOUT_MS = 10_000;
/** Beyond the longest wait for the provider: `pessimistic-held` waits inside a transaction. */
const IDLE_IN_TRANSACTION_MARGIN_MS = 30_000;
/** One instance migrates while the others wait for it. */
const MIGRATION_TIMEOUT_MS = 120_000;

export interface OpenDatabase {
  readonly db: ShopDatabase;
  readonly sql: ShopSql;
  /** Of the connections of both. */
  readonly poolUse: PoolUse;
}

/** Of a shop that serves. */
export interface DatabaseOptions {
  readonly url: string;
  readonly applicationName: string;
  readonly poolSize: number;
  readonly lockWaitMs: number;
  readonly statementTimeoutMs: number;
  /** The longest that a transaction waits for something outside the database, in milliseconds. */
  readonly longestWaitMs: number;
  onIdleError(error: Error): void;
}

/** The database of a shop that serves. */
export function openDatabase(options: DatabaseOptions): OpenDatabase {
  return open(serving(options));
}

/** The same database for group commit, over connections of its own, `poolSize` at most: see `groupCommit`. */
export function openGroups(options: DatabaseOptions): Groups {
  return isMysql(options.url) ? mysqlGroups(serving(options)) : postgresGroups(serving(options));
}

function serving(options: DatabaseOptions): DriverOptions {
  return {
    ...options,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    idleInTransactionTimeoutMs: options.longestWaitMs + IDLE_IN_TRANSACTION_MARGIN_MS,
  };
}

/** The same for its migrations, which wait longer: for each other, and for locks of whole tables. */
export function openForMigration(url: string, applicationName: string): OpenDatabase {
  return open({
    url,
    applicationName,
    poolSize: 2,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    lockWaitMs: MIGRATION_TIMEOUT_MS,
    statementTimeoutMs: MIGRATION_TIMEOUT_MS,
    idleInTransactionTimeoutMs: MIGRATION_TIMEOUT_MS,
    onIdleError: () => undefined, // The next statement fails, and says the same.
  });
}

/** Sessions for locks in the database, `poolSize` at most. They are connections beside those of `openDatabase`. */
export function openLockSessions(options: {
  url: string;
  applicationName: string;
  poolSize: number;
  statementTimeoutMs: number;
}): LockSessions {
  const open = isMysql(options.url) ? mysqlLockSessions : postgresLockSessions;
  return open({ ...options, connectTimeoutMs: CONNECT_TIMEOUT_MS });
}

function isMysql(url: string): boolean {
  return url.startsWith('mysql:');
}

function open(options: DriverOptions): OpenDatabase {
  const driver = isMysql(options.url) ? mysqlDriver(options) : postgresDriver(options);
  const { dialect, use: poolUse } = countUse(driver.kysely, options.poolSize);
  const db = new Kysely<Database>({ dialect });
  // PostgreSQL says it with BEGIN; on MySQL it is a statement, and the sessions are set up so (`mysql.ts`).
  const sessionsAreReadCommitted = driver.guards.name === 'mysql';
  return { db, sql: kyselyPort(db, driver.guards, { sessionsAreReadCommitted }), poolUse };
}
