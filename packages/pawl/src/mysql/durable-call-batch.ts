import { newColumns } from '../durable-call-row.ts';
import {
  encodedHeaders,
  type IdempotencyRecordId,
  LONGEST_BODY,
  type StoredAnswer,
} from '../idempotency-record.ts';
import type { DurableCallBatchStatements } from '../ports.ts';
import { anyOf, lockRows, updatesOf } from './batch.ts';
import { lockingAll } from './change-rows.ts';
import { callColumns } from './durable-call.ts';
import { NOW, quote, SqlText } from './sql.ts';

export const lock: DurableCallBatchStatements['lock'] = (table, ids, wait) =>
  lockRows({
    table,
    keys: ids.map(idColumns),
    columns: ['scope', 'idempotency_key', 'fence', 'expires_at'],
    wait,
  });

export const find: DurableCallBatchStatements['find'] = (table, ids) => {
  const sql = new SqlText();
  const isLong = `coalesce(length(body) > ${LONGEST_BODY}, 0)`;
  const call = callColumns(`IF(${isLong}, NULL, body) AS body`);
  return sql.statement(
    `SELECT ${call}, ${isLong} AS is_long FROM ${quote(table)} WHERE ${anyOf(sql, ids.map(idColumns))}`,
  );
};

export const attempts: DurableCallBatchStatements['attempts'] = (table, name, subjects) => {
  const sql = new SqlText();
  const named = sql.value(Buffer.from(name));
  const given = [...new Set(subjects)].map((subject) => sql.value(Buffer.from(subject)));
  return sql.statement(
    `SELECT subject, attempt FROM ${quote(table)} WHERE name = ${named} AND subject IN (${given.join(', ')})`,
  );
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

export const complete: DurableCallBatchStatements['complete'] = (table, calls) => {
  const kept = Map.groupBy(calls, ({ retentionMs }) => retentionMs);
  return [...kept].flatMap(([retentionMs, calls]) =>
    updatesOf(
      table,
      { keys: calls.map(({ id }) => idColumns(id)), set: calls.map(({ answer }) => answerColumns(answer)) },
      (sql) => [`expires_at = ${sql.later(retentionMs)}`, 'lease_until = NULL', `changed_at = ${NOW}`],
    ),
  );
};

export const completeFenced: DurableCallBatchStatements['completeFenced'] = (table, calls) => [
  ...[...Map.groupBy(calls, ({ fence }) => fence)].map(([fence, those]) =>
    lockingAll(
      table,
      those.map(({ id }) => idColumns(id)),
      { fence, expires_at: null },
    ),
  ),
  ...complete(table, calls),
];

function answerColumns(answer: StoredAnswer) {
  const { status } = answer;
  return { state: 'done', status, headers: encodedHeaders(answer), body: Buffer.from(answer.body) };
}

function idColumns({ scope, key }: IdempotencyRecordId) {
  return { scope: Buffer.from(scope), idempotency_key: Buffer.from(key) };
}
