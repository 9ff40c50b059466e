import type { SqlDialect } from '../ports.ts';
import { NOW, quote, SqlText } from './sql.ts';

/** A DELETE knows no SKIP LOCKED here: it waits for a row that others hold, and then reads the condition again. */
export const sweepExpired: SqlDialect['sweepExpired'] = ({ table, column, limit }) =>
  new SqlText().statement(
    `DELETE FROM ${quote(table)} WHERE ${quote(column)} <= ${NOW} ORDER BY ${quote(column)} LIMIT ${limit}`,
  );
