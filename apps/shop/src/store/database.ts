import { type ColumnType, type Generated, Kysely, PostgresDialect } from 'kysely';
import type { SqlPort } from 'pawl';
import { type KyselyTransaction, kyselyPort } from 'pawl/kysely';
import { classifiedPgPool } from 'pawl/pg';
import { postgres } from 'pawl/postgres';
import pg from 'pg';

export type PublishStatus = 'WAITING' | 'PENDING' | 'COMPLETE';

/** What is known of the last attempt to pay a publish. */
export type PaymentOutcome = 'in-progress' | 'unknown' | 'declined' | 'not-sent' | 'captured';

type Timestamp = ColumnType<Date, Date | undefined, Date>;

export interface Database {
  lotto_round_info: { id: number; sales_open_at: Date; sales_close_at: Date };
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
  };
  lotto_ticket: { id: Generated<number>; lotto_publish_id: number; numbers: string };
  purchase_key: { payment_key: string; order_id: string; claimed_at: Timestamp };
  purchase: {
    id: Generated<number>;
    order_id: string;
    payment_key: string;
    total_amount: number;
    currency: string;
    status: 'SUCCESS';
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
}

export type ShopDatabase = Kysely<Database>;
export type ShopTransaction = KyselyTransaction<Database>;
export type ShopSql = SqlPort<ShopTransaction>;

const CONNECT_TIMEOUT_MS = 10_000;
const STATEMENT_TIMEOUT_MS = 10_000;
/** A server that has fallen silent does not end its statements: then the client gives up, this much later. */
const ANSWER_MARGIN_MS = 2_000;
/** Beyond the longest wait for the provider: `pessimistic-held` waits inside a transaction. */
const IDLE_IN_TRANSACTION_MARGIN_MS = 30_000;

const INT8_OID = 20;

export interface DatabaseOptions {
  readonly url: string;
  readonly poolSize: number;
  /** The longest that a transaction waits for something outside the database, in milliseconds. */
  readonly longestWaitMs: number;
  onIdleError(error: Error): void;
}

export function openDatabase(options: DatabaseOptions): { db: ShopDatabase; sql: ShopSql } {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.poolSize,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: STATEMENT_TIMEOUT_MS + ANSWER_MARGIN_MS,
    idle_in_transaction_session_timeout: options.longestWaitMs + IDLE_IN_TRANSACTION_MARGIN_MS,
    // Ids are 64 bit there and stay far below 2^53.
    types: {
      getTypeParser: (oid, format) => (oid === INT8_OID ? Number : pg.types.getTypeParser(oid, format)),
    },
  });
  // Without a listener, a connection that breaks while it is idle ends the process.
  pool.on('error', options.onIdleError);
  const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool: classifiedPgPool(pool) }) });
  return { db, sql: kyselyPort(db, postgres) };
}
