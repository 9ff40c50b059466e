import { newColumns } from '../durable-call-row.ts';
import { encodedHeaders, type IdempotencyRecordId, type StoredAnswer } from '../idempotency-record.ts';
import type { DurableCallBatchStatements } from '../ports.ts';
import { lockRows, readRows } from './batch.ts';
import { NOW, quote, SqlText } from './sql.ts';

export const lock: DurableCallBatchStatements['lock'] = (table, ids, wait) =>
  lockRows({
    table,
    keys: ids.map(idColumns),
    columns: ['scope', 'idempotency_key', 'fence', 'expires_at'],
    wait,
  });

export const known: DurableCallBatchStatements['known'] = (table, name, calls) => {
  const sql = new SqlText();
  const keys = calls.map(({ id }) => idColumns(id));
  const ids = readRows({ table, keys, columns: ['scope', 'idempotency_key'] });
  const named = sql.value(Buffer.from(name));
  const subjects = [...new Set(calls.map(({ subject }) => subject))];
  const given = subjects.map((subject) => sql.value(Buffer.from(subject)));
  const last = sql.statement(
    `SELECT NULL, NULL, subject, max(attempt) FROM ${quote(table)}
     WHERE name = ${named} AND subject IN (${given.join(', ')}) GROUP BY subject`,
  );
  return {
    text: `SELECT own.*, NULL AS subject, NULL AS attempt FROM (${ids.text}) AS own UNION ALL ${last.text}`,
    values: [...ids.values, ...last.values],
  };
};

export const insert: DurableCallBatchStatements['insert'] = (table, calls) => {
  const sql = new SqlText();
  const moment = (ms: number | undefined) => (ms === undefined ? 'NULL' : sql.later(ms));
  let names: readonly string[] = [];
  const rows = calls.map((call) => {
    const columns = {
      ...idColumns(call.id),
      name: Buffer.from(call.name),
      subject: Buffer.from(call.subject),
      ...newColumns(call),
    };
    names = Object.keys(columns);
    const values = Object.values(columns).map((value) => sql.value(value));
    return `(${values.join(', ')}, ${moment(call.leaseMs)}, ${moment(call.finalAfterMs)}, ${NOW}, ${NOW})`;
  });
  return sql.statement(
    `INSERT INTO ${quote(table)} (${names.map(quote).join(', ')}, lease_until, final_after, created_at, changed_at)
     VALUES ${rows.join(', ')}`,
  );
};

/**
 * Of many as an insertion that finds each of them there, which costs a third of as many updates: the key of the record is looked at first,
 * and then nothing is inserted. What else would have to be in a row is of a call that there cannot be.
 */
export const complete: DurableCallBatchStatements['complete'] = (table, calls) => {
  const [call, another] = calls;
  const sql = new SqlText();
  if (call !== undefined && another === undefined) {
    const assignments = [
      ...sql.assigns(answerColumns(call.answer)),
      `expires_at = ${sql.later(call.retentionMs)}`,
      ...ENDED,
    ];
    const its = sql.matches(idColumns(call.id));
    return [sql.statement(`UPDATE ${quote(table)} SET ${assignments.join(', ')} WHERE ${its}`)];
  }
  const rows = calls.map(({ id, answer, retentionMs }) => {
    const values = Object.values({ ...idColumns(id), ...answerColumns(answer) }).map((value) =>
      sql.value(value),
    );
    return `(${values.join(', ')}, ${sql.later(retentionMs)}, '', '', '', 0, 0, '', 0, ${NOW}, ${NOW})`;
  });
  const assignments = ANSWERED.map((column) => `${column} = VALUES(${column})`);
  return [
    sql.statement(
      `INSERT INTO ${quote(table)} (scope, idempotency_key, ${ANSWERED.join(', ')},
         fingerprint, name, subject, attempt, fence, request, compensation_try, created_at, changed_at)
       VALUES ${rows.join(', ')} ON DUPLICATE KEY UPDATE ${[...assignments, ...ENDED].join(', ')}`,
    ),
  ];
};

const ANSWERED = ['state', 'status', 'headers', 'body', 'expires_at'];

const ENDED = ['lease_until = NULL', `changed_at = ${NOW}`];

function answerColumns(answer: StoredAnswer) {
  const { status } = answer;
  return { state: 'done', status, headers: encodedHeaders(answer), body: Buffer.from(answer.body) };
}

function idColumns({ scope, key }: IdempotencyRecordId) {
  return { scope: Buffer.from(scope), idempotency_key: Buffer.from(key) };
}
