import { merge } from '../columns.ts';
import type { SqlDialect } from '../ports.ts';
import { NOW, quote, SqlText } from './sql.ts';

/**
 * A plain INSERT, which a claim that exists refuses with 1062. Neither of the shorter forms will do: `INSERT IGNORE`
 * also stores values that do not fit, changed, and `ON DUPLICATE KEY UPDATE` reports one affected row to the winner
 * and, where the driver counts found rows (mysql2 does), to everybody else too.
 */
export const claim: SqlDialect['claim'] = ({ table, key, values, expiry }) => {
  const sql = new SqlText();
  const row = Object.entries(merge(key, values));
  const columns = row.map(([column]) => quote(column));
  const parameters = row.map(([, value]) => sql.value(value));
  if (expiry !== undefined) {
    columns.push(quote(expiry.column));
    parameters.push(sql.later(expiry.leaseMs));
  }
  return sql.statement(
    `INSERT INTO ${quote(table)} (${columns.join(', ')}) VALUES (${parameters.join(', ')})`,
  );
};

export const readClaim: SqlDialect['readClaim'] = ({ table, key, lease }) => {
  const sql = new SqlText();
  const over = lease === undefined ? '' : `, ${quote(lease.column)} <= ${NOW} AS ${quote(lease.overAs)}`;
  return sql.statement(`SELECT *${over} FROM ${quote(table)} WHERE ${sql.matches(key)}`);
};

export const takeOverClaim: SqlDialect['takeOverClaim'] = ({ table, key, values, expiry }) => {
  const sql = new SqlText();
  const assignments = [...sql.assigns(values), `${quote(expiry.column)} = ${sql.later(expiry.leaseMs)}`];
  const condition = `${sql.matches(key)} AND ${quote(expiry.column)} <= ${NOW}`;
  return sql.statement(`UPDATE ${quote(table)} SET ${assignments.join(', ')} WHERE ${condition}`);
};

export const renewClaim: SqlDialect['renewClaim'] = ({ table, key, owner, expiry }) => {
  const sql = new SqlText();
  const assignment = `${quote(expiry.column)} = ${sql.later(expiry.leaseMs)}`;
  return sql.statement(`UPDATE ${quote(table)} SET ${assignment} WHERE ${sql.matches(merge(key, owner))}`);
};

export const releaseClaim: SqlDialect['releaseClaim'] = ({ table, key, owner }) => {
  const sql = new SqlText();
  return sql.statement(`DELETE FROM ${quote(table)} WHERE ${sql.matches(merge(key, owner))}`);
};

/** A duplicate key undoes its own statement alone. */
export const savepoint: SqlDialect['savepoint'] = undefined;
