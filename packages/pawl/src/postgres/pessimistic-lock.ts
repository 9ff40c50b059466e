import type { SqlDialect } from '../ports.ts';
import { merge, quote, SqlText } from './sql.ts';

/** As a function, because SET takes no parameters; `true` makes it LOCAL, so it ends with the transaction. */
export const limitLockWait: SqlDialect['limitLockWait'] = (waitMs) => {
  const sql = new SqlText();
  return sql.statement(`SELECT set_config('lock_timeout', ${sql.value(`${waitMs}ms`)}, true)`);
};

export const lockRow: SqlDialect['lockRow'] = ({ table, key, expect, columns, noWait }) => {
  const sql = new SqlText();
  const condition = sql.matches(merge(key, expect));
  const wait = noWait ? ' NOWAIT' : '';
  return sql.statement(
    `SELECT ${columns.map(quote).join(', ')} FROM ${quote(table)} WHERE ${condition} FOR UPDATE${wait}`,
  );
};
