import { merge } from '../columns.ts';
import type { SqlDialect } from '../ports.ts';
import { quote, SqlText } from './sql.ts';

/**
 * As a function, because SET takes no parameters; `true` makes it LOCAL, so it ends with the transaction. What it was is
 * kept, in a setting of our own, for the statements after the lock.
 */
export const limitLockWait: SqlDialect['limitLockWait'] = (waitMs) => {
  const sql = new SqlText();
  const keep = `set_config('pawl.lock_timeout', current_setting('lock_timeout'), true)`;
  return sql.statement(`SELECT ${keep}, set_config('lock_timeout', ${sql.value(`${waitMs}ms`)}, true)`);
};

export const restoreLockWait: SqlDialect['restoreLockWait'] = {
  text: `SELECT set_config('lock_timeout', current_setting('pawl.lock_timeout'), true)`,
  values: [],
};

const CLAUSES = {
  update: { wait: 'FOR UPDATE', noWait: 'FOR UPDATE NOWAIT' },
  share: { wait: 'FOR SHARE', noWait: 'FOR SHARE NOWAIT' },
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
  return sql.statement(
    `SELECT ${columns.map(quote).join(', ')} FROM ${quote(table)} WHERE ${condition} ` +
      `ORDER BY ${quote(orderBy)} LIMIT ${limit} FOR UPDATE SKIP LOCKED`,
  );
};
