import { changedColumns, givenValue, newColumns } from '../durable-call-row.ts';
import type { IdempotencyRecordId } from '../idempotency-record.ts';
import type { DurableCallStatements } from '../ports.ts';
import { NOW, quote, SqlText } from './sql.ts';

const NAMED = `scope, idempotency_key, name, subject, attempt, state, fence, compensation_try, code, verdict,
  extract(epoch FROM lease_until - ${NOW}) * 1000 AS lease_left_ms,
  (final_after <= ${NOW})::int AS is_final,
  extract(epoch FROM ${NOW} - created_at) * 1000 AS age_ms`;

/** A call's columns, as it is read. @param body  The column of that name. */
export const callColumns = (body: string) =>
  `${NAMED}, fingerprint, request, value, status, headers, ${body}`;

const CALL = callColumns('body');

const UNCHANGED = `extract(epoch FROM ${NOW} - changed_at) * 1000 AS unchanged_ms`;

/** What is settled, and nothing else, is to be forgotten one day. */
const UNSETTLED = 'expires_at IS NULL';

/**
 * What it came to is being undone, or is to be: a compensation has begun, or it was recorded as an effect that nobody meant. The
 * value that an operator gave with his verdict says nothing of the kind.
 */
const TO_BE_UNDONE = `value IS NOT NULL AND (compensation_try > 0 OR coalesce(verdict, '') <> 'done')`;

/**
 * No conflict target: the record's id refuses, and so does the attempt at its subject. An error would say the same, and fill the
 * server's log with lost races.
 */
export const insert: DurableCallStatements['insert'] = (table, call) => {
  const sql = new SqlText();
  const { scope, key: idempotency_key } = call.id;
  const { name, subject } = call;
  const columns = { scope, idempotency_key, name, subject, ...newColumns(call) };
  const names = Object.keys(columns).map(quote);
  const values = Object.values(columns).map((value) => sql.value(value));
  return sql.statement(
    `INSERT INTO ${quote(table)} (${names.join(', ')}, lease_until, final_after, created_at, changed_at)
     VALUES (${values.join(', ')}, ${moment(sql, call.leaseMs)}, ${moment(sql, call.finalAfterMs)}, ${NOW}, ${NOW})
     ON CONFLICT DO NOTHING`,
  );
};

export const change: DurableCallStatements['change'] = (table, id, fence, change) => {
  const sql = new SqlText();
  const assignments = [...sql.assigns(changedColumns(change)), `changed_at = ${NOW}`];
  if ('retentionMs' in change) {
    assignments.push('lease_until = NULL', `expires_at = ${sql.later(change.retentionMs)}`);
  } else {
    const end = moment(sql, change.leaseMs);
    const beforeFinal = `CASE WHEN final_after > ${NOW} THEN least(${end}, final_after) ELSE ${end} END`;
    const bounded = change.notAfterFinal && change.leaseMs !== undefined;
    assignments.push(`lease_until = ${bounded ? beforeFinal : end}`);
  }
  return sql.statement(
    `UPDATE ${quote(table)} SET ${assignments.join(', ')} WHERE ${unsettledOf(sql, id, fence)}`,
  );
};

export const forget: DurableCallStatements['forget'] = (table, id, fence) => {
  const sql = new SqlText();
  return sql.statement(`DELETE FROM ${quote(table)} WHERE ${unsettledOf(sql, id, fence)}`);
};

export const reopen: DurableCallStatements['reopen'] = async (transaction, table, attempt, values) => {
  const sql = new SqlText();
  const { value, leaseMs } = values;
  const change = changedColumns({ state: 'compensating', value, compensationTry: 1, leaseMs });
  const { name, subject, attempt: number } = attempt;
  const { rows } = await transaction.execute(
    sql.statement(
      `UPDATE ${quote(table)} SET ${sql.assigns(change).join(', ')},
         fence = fence + 1, lease_until = ${sql.later(leaseMs)}, changed_at = ${NOW}, expires_at = NULL
       WHERE ${sql.matches({ name, subject, attempt: number, state: 'done' })}
       RETURNING ${CALL}`,
    ),
  );
  return rows[0];
};

/**
 * The list is made once, and before anything is changed, because it locks. The condition is read again on a row that has
 * changed since the snapshot, and the clock is asked in a subselect: compared with the function itself, no index would be used.
 */
export const takeOver: DurableCallStatements['takeOver'] = async (sql, table, { name, limit, leaseMs }) => {
  const text = new SqlText();
  const { rows } = await sql.execute(
    text.statement(
      `WITH overdue AS (
         SELECT scope AS its_scope, idempotency_key AS its_key, lease_until AS over_since FROM ${quote(table)}
         WHERE ${UNSETTLED} AND name = ${text.value(name)} AND lease_until <= (SELECT ${NOW})
         ORDER BY lease_until LIMIT ${limit} FOR UPDATE SKIP LOCKED
       ),
       taken AS (
         UPDATE ${quote(table)} SET
           state = CASE state WHEN 'calling' THEN 'unknown' ELSE state END, fence = fence + 1,
           lease_until = ${text.later(leaseMs)}, changed_at = ${NOW}
         FROM overdue WHERE scope = its_scope AND idempotency_key = its_key
         RETURNING over_since, ${CALL}
       )
       SELECT * FROM taken ORDER BY over_since`,
    ),
  );
  return rows;
};

export const read: DurableCallStatements['read'] = (table, id) => {
  const sql = new SqlText();
  return sql.statement(`SELECT ${CALL} FROM ${quote(table)} WHERE ${its(sql, id)}`);
};

export const list: DurableCallStatements['list'] = (table, { name, stuckAfterMs, limit }) => {
  const sql = new SqlText();
  const conditions = [UNSETTLED];
  if (stuckAfterMs !== undefined) {
    const old = `created_at <= ${sql.later(-stuckAfterMs)}`;
    conditions.push(`(state = 'stuck' OR final_after <= ${NOW} OR ${old})`);
  }
  if (name !== undefined) conditions.push(`name = ${sql.value(name)}`);
  return sql.statement(
    `SELECT ${NAMED}, ${UNCHANGED} FROM ${quote(table)} WHERE ${conditions.join(' AND ')}
     ORDER BY created_at LIMIT ${limit}`,
  );
};

export const inspect: DurableCallStatements['inspect'] = (table, { text, scope, limit }) => {
  const sql = new SqlText();
  const conditions = [`(idempotency_key = ${sql.value(text)} OR subject = ${sql.value(text)})`];
  if (scope !== undefined) conditions.push(`scope = ${sql.value(scope)}`);
  return sql.statement(
    `SELECT ${CALL}, ${UNCHANGED} FROM ${quote(table)} WHERE ${conditions.join(' AND ')}
     ORDER BY created_at LIMIT ${limit}`,
  );
};

/**
 * By the next fence: whoever was at it before its lease ended does not write over the verdict. What was only looked up is never sent
 * again, whatever is said of it. And a value that is not to be undone goes with the verdict that it came with.
 */
export const resolve: DurableCallStatements['resolve'] = (table, id, resolution) => {
  const sql = new SqlText();
  const verdict = 'verdict' in resolution ? resolution.verdict : null;
  const given = givenValue(resolution);
  const goesOn = verdict === null || verdict === 'undone';
  const undone = goesOn ? `WHEN ${TO_BE_UNDONE} THEN 'compensating'` : '';
  const assignments = [
    `state = CASE ${undone} WHEN state = 'looking' THEN state ELSE 'unknown' END`,
    verdict === 'done'
      ? `value = coalesce(${sql.value(given)}, value)`
      : `value = CASE WHEN ${TO_BE_UNDONE} THEN value END`,
    ...(goesOn
      ? [
          `compensation_try = CASE WHEN ${TO_BE_UNDONE} THEN greatest(compensation_try, 1) ELSE compensation_try END`,
        ]
      : []),
    `verdict = ${sql.value(verdict)}`,
    ...['fence = fence + 1', `lease_until = ${NOW}`, `changed_at = ${NOW}`],
  ];
  const known = verdict === 'done' && given === null ? ' AND value IS NOT NULL' : '';
  // What is being undone has had its effect, and its subject is not claimed any more: it can neither be given back nor completed.
  const fits = verdict === 'done' || verdict === 'not-done' ? `${known} AND compensation_try = 0` : known;
  return sql.statement(
    `UPDATE ${quote(table)} SET ${assignments.join(', ')}
     WHERE ${its(sql, id)} AND ${UNSETTLED} AND (lease_until IS NULL OR lease_until <= ${NOW})${fits}`,
  );
};

function its(sql: SqlText, { scope, key }: IdempotencyRecordId): string {
  return `scope = ${sql.value(scope)} AND idempotency_key = ${sql.value(key)}`;
}

function unsettledOf(sql: SqlText, id: IdempotencyRecordId, fence: number): string {
  return `${its(sql, id)} AND fence = ${sql.value(fence)} AND ${UNSETTLED}`;
}

function moment(sql: SqlText, ms: number | undefined): string {
  return ms === undefined ? 'NULL' : sql.later(ms);
}
