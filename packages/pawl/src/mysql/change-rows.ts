import type { BatchStatements, Columns, SqlStatement } from '../ports.ts';
import { anyOf, updateRows } from './batch.ts';
import { quote, SqlText } from './sql.ts';

export const changeRows: BatchStatements['changeRows'] = ({ table, keys, expect, set }) => [
  lockingAll(table, keys, expect),
  ...updateRows({ table, keys, set }),
];

/**
 * Locks the rows, and fails with 1242, "Subquery returns more than 1 row", where not all of them are there, hold what is expected and are
 * nobody else's. The server goes no further in the message.
 *
 * What is expected is no condition: by an index of its columns, rows of others would be locked on the way.
 */
export function lockingAll(table: string, keys: readonly Columns[], expect: Columns): SqlStatement {
  const sql = new SqlText();
  return sql.statement(
    `SELECT IF(COALESCE(SUM(${sql.matches(expect)}), 0) = ${keys.length}, 1, (SELECT 1 UNION ALL SELECT 2)) AS locked
     FROM ${quote(table)} WHERE ${anyOf(sql, keys)} FOR UPDATE SKIP LOCKED`,
  );
}
