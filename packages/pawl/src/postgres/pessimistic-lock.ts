import { merge } from '../columns.ts';
import type { SqlDialect } from '../ports.ts';
import { quote, SqlText } from './sql.ts';

/** As a function, because SET takes no parameters; `true` makes it LOCAL, so it ends with the transaction. */
export const limitLockWait: SqlDialect['limitLockWait'] = (waitMs) => {
  const sql = new SqlText();
  return sql.statement(`SELECT set_config('lock_timeout', ${sql.value(`${waitMs}ms`)}, true)`);
};

/** The limit ends with the transaction by itself. */
export const restoreLockWait: SqlDialect['restoreLockWait'] = undefined;

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
