import type { BatchStatements, SqlStatement, SqlValue } from '../ports.ts';
import { updateRows } from './batch.ts';
import { quote } from './sql.ts';

/**
 * How long a batch waits for others who have one of its rows, in milliseconds: until they commit, if they are a batch too; and not for
 * somebody who keeps it. The limit is in effect from then on, until the transaction ends.
 */
const MOMENT_MS = 50;
export const MOMENT = `(SELECT set_config('lock_timeout', '${MOMENT_MS}ms', true)) IS NOT NULL`;

/** Fails with 22012, `division_by_zero`, where `changed` are not so many. */
const areSo = (parameter: string) => `SELECT 1 / (count(*) = ${parameter}::bigint)::integer FROM changed`;

/** What waits for a row looks at it once more before it changes it, so `expect` is what it holds then. */
export const changeRows: BatchStatements['changeRows'] = ({ table, keys, expect, set, types }) => {
  const [update] = updateRows({ table, keys, set, types }) as [SqlStatement];
  const values: SqlValue[] = [...update.values];
  const conditions = Object.entries(expect).map(([name, value]) => {
    const column = `own.${quote(name)}`;
    return value === null ? `${column} IS NULL` : `${column} = $${values.push(value)}`;
  });
  return [changing([update.text, ...conditions].join(' AND '), values, keys.length)];
};

/** @param update  Ends in a condition. @param rows  So many must be changed, or it fails. */
export function changing(update: string, values: readonly SqlValue[], rows: number): SqlStatement {
  return {
    text: `WITH changed AS (${update} AND ${MOMENT} RETURNING 1) ${areSo(`$${values.length + 1}`)}`,
    values: [...values, rows],
    prepared: true,
  };
}
