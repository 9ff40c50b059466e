import { merge } from '../columns.ts';
import type { SqlDialect } from '../ports.ts';
import { quote, SqlText } from './sql.ts';

/**
 * A plain INSERT, which a claim that exists refuses with 1062. Neither of the shorter forms will do: `INSERT IGNORE`
 * also stores values that do not fit, changed, and `ON DUPLICATE KEY UPDATE` reports one affected row to the winner
 * and, where the driver counts found rows (mysql2 does), to everybody else too.
 */
export const claim: SqlDialect['claim'] = ({ table, key, values }) => {
  const sql = new SqlText();
  const row = Object.entries(merge(key, values));
  const columns = row.map(([column]) => quote(column)).join(', ');
  const parameters = row.map(([, value]) => sql.value(value)).join(', ');
  return sql.statement(`INSERT INTO ${quote(table)} (${columns}) VALUES (${parameters})`);
};

export const readClaim: SqlDialect['readClaim'] = ({ table, key }) => {
  const sql = new SqlText();
  return sql.statement(`SELECT * FROM ${quote(table)} WHERE ${sql.matches(key)}`);
};

export const releaseClaim: SqlDialect['releaseClaim'] = ({ table, key, owner }) => {
  const sql = new SqlText();
  return sql.statement(`DELETE FROM ${quote(table)} WHERE ${sql.matches(merge(key, owner))}`);
};
