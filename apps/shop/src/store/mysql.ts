import { createPool, type PoolOptions, type TypeCastField } from 'mysql2';
import { mysql } from 'pawl/mysql';
import { classifiedMysql2Pool, mysql2Port, mysql2Sessions } from 'pawl/mysql2';
import {
  ANSWER_MARGIN_MS,
  type Driver,
  type DriverOptions,
  type Groups,
  type LockSessionOptions,
  type LockSessions,
} from './driver.ts';
import { ShopMysqlDialect } from './mysql-dialect.ts';

/**
 * MySQL and MariaDB, with limits for everything that could wait for ever. MySQL has fewer of them: there a statement that
 * changes something ends with its locks, or when the client gives it up, and a transaction that stands idle is kept until
 * `wait_timeout`.
 */
export function mysqlDriver(options: DriverOptions): Driver {
  const classified = classifiedMysql2Pool(openPool(options, options.applicationName), limitsOf(options));
  return { kysely: new ShopMysqlDialect({ pool: classified }), guards: mysql };
}

/** With the same limits. */
export function mysqlGroups(options: DriverOptions): Groups {
  const pool = openPool(options, `${options.applicationName} groups`, { multipleStatements: true });
  return {
    sql: mysql2Port(pool, { ...limitsOf(options), forGroups: true }),
    end: () => pool.promise().end(),
  };
}

function openPool(options: DriverOptions, applicationName: string, more: PoolOptions = {}) {
  const pool = createPool({
    ...more,
    uri: options.url,
    connectionLimit: options.poolSize,
    connectTimeout: options.connectTimeoutMs,
    timezone: 'Z',
    typeCast: asText,
    connectAttributes: { program_name: applicationName },
  });
  pool.on('connection', (connection) => connection.on('error', options.onIdleError));
  return pool;
}

function limitsOf(options: DriverOptions) {
  return {
    acquireTimeoutMs: options.connectTimeoutMs,
    queryTimeoutMs: options.statementTimeoutMs + ANSWER_MARGIN_MS,
    setUp: sessionOf(options),
  };
}

/** Without a limit of statements: whoever waits for a lock is in one, and knows when to leave. */
export function mysqlLockSessions(options: LockSessionOptions): LockSessions {
  const pool = createPool({
    uri: options.url,
    connectionLimit: options.poolSize,
    connectTimeout: options.connectTimeoutMs,
    connectAttributes: { program_name: `${options.applicationName} locks` },
  });
  const sessions = mysql2Sessions(pool, {
    acquireTimeoutMs: options.connectTimeoutMs,
    queryTimeoutMs: options.statementTimeoutMs,
    setUp: [
      'SET SESSION autocommit = 1 /*M! , SESSION max_statement_time = 0 */ /*!80000 , SESSION max_execution_time = 0 */',
    ],
  });
  return { sessions, end: () => pool.promise().end() };
}

/** Chosen, not inherited from a server whose settings nobody here knows. The port leaves the isolation level to the session. */
function sessionOf(options: DriverOptions): string[] {
  const lockWaitSeconds = secondsOf(options.lockWaitMs);
  const settings = {
    time_zone: "'+00:00'",
    // Strict: a value that does not fit is an error, and is not stored changed.
    sql_mode: "'TRADITIONAL,ONLY_FULL_GROUP_BY'",
    innodb_lock_wait_timeout: lockWaitSeconds,
    lock_wait_timeout: lockWaitSeconds,
  };
  const assignments = Object.entries(settings).map(([name, value]) => `SESSION ${name} = ${value}`);
  const { statementTimeoutMs, idleInTransactionTimeoutMs } = options;
  // What only one of the two has is in a comment that only that one runs.
  const mariadb = [
    `SESSION max_statement_time = ${statementTimeoutMs / 1_000}`,
    `SESSION idle_transaction_timeout = ${secondsOf(idleInTransactionTimeoutMs)}`,
  ];
  const mysql = `SESSION max_execution_time = ${statementTimeoutMs}`;
  return [
    `SET ${assignments.join(', ')} /*M! , ${mariadb.join(', ')} */ /*!80000 , ${mysql} */`,
    'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
  ];
}

function secondsOf(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1_000));
}

/**
 * Keys are VARBINARY, because every collation that both servers know takes some different keys for the same. And a day on
 * a calendar is no point in time, which the driver would make of it.
 */
function asText(field: TypeCastField, next: () => unknown): unknown {
  return field.type === 'VAR_STRING' || field.type === 'DATE' ? field.string('utf8') : next();
}
