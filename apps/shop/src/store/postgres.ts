import { PostgresDialect } from 'kysely';
import { classifiedPgPool, pgPort, pgSessions } from 'pawl/pg';
import { postgres } from 'pawl/postgres';
import pg from 'pg';
import {
  ANSWER_MARGIN_MS,
  type Driver,
  type DriverOptions,
  type Groups,
  type LockSessionOptions,
  type LockSessions,
} from './driver.ts';

const INT8_OID = 20;
const DATE_OID = 1082;
/** How the values of some types are read, by their ids; all others as the driver reads them. */
const PARSERS: Readonly<Record<number, (text: string) => unknown>> = {
  // Ids are 64 bit there and stay far below 2^53.
  [INT8_OID]: Number,
  // A day on a calendar. The driver would make a point in time of it, by the time zone of this process.
  [DATE_OID]: (text) => text,
};

/** PostgreSQL, with limits for everything that could wait for ever. */
export function postgresDriver(options: DriverOptions): Driver {
  const pool = openPool(options, options.applicationName);
  return { kysely: new PostgresDialect({ pool: classifiedPgPool(pool) }), guards: postgres };
}

/** With the same limits. */
export function postgresGroups(options: DriverOptions): Groups {
  const pool = openPool(options, `${options.applicationName} groups`);
  return { sql: pgPort(pool, { forGroups: true }), end: () => pool.end() };
}

function openPool(options: DriverOptions, applicationName: string): pg.Pool {
  const pool = new pg.Pool({
    connectionString: options.url,
    application_name: applicationName,
    max: options.poolSize,
    connectionTimeoutMillis: options.connectTimeoutMs,
    lock_timeout: options.lockWaitMs,
    statement_timeout: options.statementTimeoutMs,
    query_timeout: options.statementTimeoutMs + ANSWER_MARGIN_MS,
    idle_in_transaction_session_timeout: options.idleInTransactionTimeoutMs,
    // Chosen, not inherited. A transaction of the port sets its own besides.
    options: '-c default_transaction_isolation=read\\ committed',
    types: {
      getTypeParser: (oid, format) => PARSERS[oid] ?? pg.types.getTypeParser(oid, format),
    },
  });
  // Without a listener, a connection that breaks while it is idle ends the process.
  pool.on('error', options.onIdleError);
  return pool;
}

/** Without the limits of statements and of locks: whoever waits for a lock is in a statement, and knows when to leave. */
export function postgresLockSessions(options: LockSessionOptions): LockSessions {
  const pool = new pg.Pool({
    connectionString: options.url,
    application_name: `${options.applicationName} locks`,
    max: options.poolSize,
    connectionTimeoutMillis: options.connectTimeoutMs,
    keepAlive: true,
    options: '-c statement_timeout=0 -c lock_timeout=0',
  });
  return { sessions: pgSessions(pool), end: () => pool.end() };
}
