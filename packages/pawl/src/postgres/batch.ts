import { columnsOf } from '../columns.ts';
import type { BatchStatements, Columns, SqlStatement, SqlValue } from '../ports.ts';
import { NOW, quote } from './sql.ts';

/**
 * The rows of a batch come as one parameter, JSON, and have the types of their table's columns: so the statement is the same for a
 * batch of every size, and is prepared once. LATERAL, with what keeps it from being flattened, has one row found after the other by an
 * index, whatever the planner thinks of the size of a parameter and of a table that was small when it was asked.
 */
const given = (table: string) => `json_populate_recordset(NULL::${quote(table)}, $1::json)`;

export const lockRows: BatchStatements['lockRows'] = ({ table, keys, columns, wait }) => {
  const names = columnsOf(keys);
  const order = names.map(quote).join(', ');
  const its = `SELECT ${list(columns)} FROM ${quote(table)} AS own WHERE ${matches(names)}`;
  return statement(
    `SELECT own.* FROM (SELECT * FROM ${given(table)} ORDER BY ${order}) AS given
     CROSS JOIN LATERAL (${its} FOR UPDATE${wait ? '' : ' SKIP LOCKED'}) AS own`,
    keys,
  );
};

export const readRows: BatchStatements['readRows'] = ({ table, keys, columns, nowAs }) => {
  const now = nowAs === undefined ? '' : `, extract(epoch FROM ${NOW}) * 1000 AS ${quote(nowAs)}`;
  const its = `SELECT ${list(columns)}${now} FROM ${quote(table)} AS own WHERE ${matches(columnsOf(keys))}`;
  return statement(
    `SELECT own.* FROM ${given(table)} AS given CROSS JOIN LATERAL (${its} OFFSET 0) AS own`,
    keys,
  );
};

export const updateRows: BatchStatements['updateRows'] = ({ table, keys, set }) => {
  const assignments = columnsOf(set).map((name) => `${quote(name)} = given.${quote(name)}`);
  const text = `UPDATE ${quote(table)} AS own SET ${assignments.join(', ')}
    FROM ${given(table)} AS given WHERE ${matches(columnsOf(keys))}`;
  return [
    statement(
      text,
      keys.map((key, index) => ({ ...key, ...set[index] })),
    ),
  ];
};

export const insertRows: BatchStatements['insertRows'] = ({ table, rows }) => {
  const columns = columnsOf(rows).map(quote).join(', ');
  return statement(`INSERT INTO ${quote(table)} (${columns}) SELECT ${columns} FROM ${given(table)}`, rows);
};

function matches(names: readonly string[]): string {
  return names.map((name) => `own.${quote(name)} = given.${quote(name)}`).join(' AND ');
}

function list(names: readonly string[]): string {
  return names.map((name) => `own.${quote(name)}`).join(', ');
}

function statement(text: string, rows: readonly Columns[]): SqlStatement {
  return { text, values: [JSON.stringify(rows.map(asJson))], prepared: true };
}

/** What JSON has no form for is written as the database writes it. */
function asJson(row: Columns): Readonly<Record<string, unknown>> {
  if (!Object.values(row).some(hasNoJson)) return row;
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, textOf(value)]));
}

function hasNoJson(value: SqlValue): boolean {
  if (typeof value === 'number') return !Number.isFinite(value);
  return typeof value === 'bigint' || value instanceof Uint8Array;
}

function textOf(value: SqlValue): unknown {
  if (!hasNoJson(value)) return value;
  return value instanceof Uint8Array ? `\\x${Buffer.from(value).toString('hex')}` : String(value);
}
