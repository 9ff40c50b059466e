import { merge } from '../columns.ts';
import type { SqlDialect } from '../ports.ts';
import { quote, SqlText } from './sql.ts';

/** How the statement begins that changes the session's limits, and the whole of the one that gives them back. */
export const LIMIT_LOCK_WAIT =
  'SET @pawl_row_wait = @@SESSION.innodb_lock_wait_timeout, @pawl_metadata_wait = @@SESSION.lock_wait_timeout';
export const RESTORE_LOCK_WAIT =
  'SET SESSION innodb_lock_wait_timeout = @pawl_row_wait, SESSION lock_wait_timeout = @pawl_metadata_wait';

/**
 * Both limits are the session's, so what they were is kept and given back: the next to use the connection must not
 * inherit them. The second is that of metadata locks, or a lock behind an ALTER TABLE would wait for a day.
 *
 * InnoDB counts whole seconds; ours round up. Written out, because the servers refuse a parameter of a driver that
 * sends numbers as DOUBLE.
 */
export const limitLockWait: SqlDialect['limitLockWait'] = (waitMs) => {
  const seconds = Math.max(1, Math.ceil(waitMs / 1_000));
  const limits = `SESSION innodb_lock_wait_timeout = ${seconds}, SESSION lock_wait_timeout = ${seconds}`;
  return { text: `${LIMIT_LOCK_WAIT}, ${limits}`, values: [] };
};

export const restoreLockWait: SqlDialect['restoreLockWait'] = { text: RESTORE_LOCK_WAIT, values: [] };

/**
 * MySQL 8 knows `FOR SHARE NOWAIT` and MariaDB `LOCK IN SHARE MODE NOWAIT`, neither the other's. Each runs the comment
 * that is meant for it: MariaDB passes over the numbers from 50700 to 99999.
 */
const SHARE_NO_WAIT = '/*!80001 FOR SHARE NOWAIT */ /*M! LOCK IN SHARE MODE NOWAIT */';

const CLAUSES = {
  update: { wait: 'FOR UPDATE', noWait: 'FOR UPDATE NOWAIT' },
  share: { wait: 'LOCK IN SHARE MODE', noWait: SHARE_NO_WAIT },
} as const;

export const lockRow: SqlDialect['lockRow'] = ({ table, key, expect, columns, mode, noWait }) => {
  const sql = new SqlText();
  const condition = sql.matches(merge(key, expect));
  const clause = CLAUSES[mode][noWait ? 'noWait' : 'wait'];
  return sql.statement(
    `SELECT ${columns.map(quote).join(', ')} FROM ${quote(table)} WHERE ${condition} ${clause}`,
  );
};

export const lockAvailableRows: SqlDialect['lockAvailableRows'] = ({
  table,
  expect,
  columns,
  orderBy,
  limit,
}) => {
  const sql = new SqlText();
  const condition = sql.matches(expect);
  // LIMIT is written out for the same reason as above; it is a whole number.
  return sql.statement(
    `SELECT ${columns.map(quote).join(', ')} FROM ${quote(table)} WHERE ${condition} ` +
      `ORDER BY ${quote(orderBy)} LIMIT ${limit} FOR UPDATE SKIP LOCKED`,
  );
};
