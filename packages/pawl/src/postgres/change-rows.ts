import { requireCondition, wellFormed } from '../columns.ts';
import type { BatchStatements, Columns, SqlStatement, SqlValue } from '../ports.ts';
import { updateRows } from './batch.ts';
import { quote } from './sql.ts';
import { MOST_TEXTS } from './texts.ts';

/**
 * How long a batch waits for others who have one of its rows, in milliseconds: until they commit, if they are a batch too; and not for
 * somebody who keeps it. The limit is in effect from then on, until the transaction ends.
 */
const MOMENT_MS = 50;
export const MOMENT = `(SELECT set_config('lock_timeout', '${MOMENT_MS}ms', true)) IS NOT NULL`;

/** Fails with 22012, `division_by_zero`, where `changed` are not so many. */
const areSo = (parameter: string) => `SELECT 1 / (count(*) = ${parameter}::bigint)::integer FROM changed`;

/**
 * What waits for a row looks at it once more before it changes it, so `expect` is what it holds then.
 *
 * In the order of their keys, as far as the server keeps to it: two batches that share several rows wait for one another in one direction.
 */
export const changeRows: BatchStatements['changeRows'] = ({ table, keys, expect, set, types }) => {
  requireCondition(expect);
  const rows = keys.map((key, index) => ({ key, set: set[index] ?? {} }));
  if (rows.length > 1) rows.sort((one, other) => compareKeys(one.key, other.key));
  const [update] = updateRows({
    table,
    keys: rows.map(({ key }) => key),
    set: rows.map((row) => row.set),
    types,
  }) as [SqlStatement];
  const values: SqlValue[] = [...update.values];
  let conditions = '';
  for (const [name, value] of Object.entries(expect)) {
    if (typeof value === 'string') wellFormed(value);
    conditions += ` AND own.${quote(name)} ${value === null ? 'IS NULL' : `= $${values.push(value)}`}`;
  }
  return [changing(update.text, conditions, values, keys.length)];
};

function compareKeys(one: Columns, other: Columns): number {
  for (const [name, value] of Object.entries(one)) {
    const another = other[name] ?? null;
    if (value === another || value === null || another === null) continue;
    const areText = typeof value === 'string' || typeof another === 'string';
    if (areText ? String(value) < String(another) : value < another) return -1;
    if (areText ? String(value) > String(another) : value > another) return 1;
  }
  return 0;
}

const texts = new Map<string, Map<string, string>>();

/**
 * @param update  Ends in a condition, of which `conditions` are more.
 * @param rows  So many must be changed, or it fails.
 */
export function changing(
  update: string,
  conditions: string,
  values: readonly SqlValue[],
  rows: number,
): SqlStatement {
  if (texts.size > MOST_TEXTS) texts.clear();
  const ofUpdate = texts.get(update) ?? new Map<string, string>();
  texts.set(update, ofUpdate);
  let text = ofUpdate.get(conditions);
  if (text === undefined) {
    const its = `${update}${conditions} AND ${MOMENT}`;
    text = `WITH changed AS (${its} RETURNING 1) ${areSo(`$${values.length + 1}`)}`;
    ofUpdate.set(conditions, text);
  }
  return { text, values: [...values, rows], prepared: true };
}
