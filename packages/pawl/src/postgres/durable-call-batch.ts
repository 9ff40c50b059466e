import { newColumns } from '../durable-call-row.ts';
import { encodedHeaders, type IdempotencyRecordId, LONGEST_BODY } from '../idempotency-record.ts';
import type { ColumnType, CompletedCall, DurableCallBatchStatements } from '../ports.ts';
import { lockRows } from './batch.ts';
import { changing } from './change-rows.ts';
import { callColumns } from './durable-call.ts';
import { listed } from './listed.ts';
import { NOW, quote } from './sql.ts';

/*
 * What is given is a list for each column, so that the statement is the same for a batch of every size, and is prepared once. Records
 * are found one after the other by their index, whatever the planner thought of the table when it was small.
 */

const ID = { scope: 'text', idempotency_key: 'text' } as const;

const ITS = 'own.scope = given.scope AND own.idempotency_key = given.idempotency_key';

export const lock: DurableCallBatchStatements['lock'] = (table, ids, wait) =>
  lockRows({
    table,
    keys: ids.map(idColumns),
    columns: ['scope', 'idempotency_key', 'fence', 'expires_at'],
    wait,
  });

export const find: DurableCallBatchStatements['find'] = (table, ids) => {
  const isLong = `octet_length(body) > ${LONGEST_BODY}`;
  const call = callColumns(`CASE WHEN ${isLong} THEN NULL ELSE body END AS body`);
  const its = `SELECT ${call}, coalesce(${isLong}, false)::int AS is_long FROM ${quote(table)} AS own WHERE ${ITS} OFFSET 0`;
  const given = listed(ID, ids.map(idColumns));
  return {
    text: `SELECT own.* FROM ${given.text} CROSS JOIN LATERAL (${its}) AS own`,
    values: given.values,
    prepared: true,
  };
};

export const attempts: DurableCallBatchStatements['attempts'] = (table, name, subjects) => {
  const given = listed(
    { name: 'text', subject: 'text' },
    [...new Set(subjects)].map((subject) => ({ name, subject })),
  );
  return {
    text: `SELECT own.* FROM ${given.text} CROSS JOIN LATERAL (
        SELECT own.subject, own.attempt FROM ${quote(table)} AS own
        WHERE own.name = given.name AND own.subject = given.subject OFFSET 0
      ) AS own`,
    values: given.values,
    prepared: true,
  };
};

/** Without ON CONFLICT: what the caller's rows say of a call whose record is not inserted must vanish with it. */
export const insert: DurableCallBatchStatements['insert'] = (table, calls) => {
  const rows = calls.map((call) => ({
    ...idColumns(call.id),
    name: call.name,
    subject: call.subject,
    ...newColumns(call),
    lease_ms: call.leaseMs ?? null,
    final_after_ms: call.finalAfterMs ?? null,
  }));
  const columns = Object.keys(NEW).join(', ');
  const given = listed({ ...NEW, lease_ms: 'double precision', final_after_ms: 'double precision' }, rows);
  return {
    text: `INSERT INTO ${quote(table)} (${columns}, lease_until, final_after, created_at, changed_at)
      SELECT ${columns}, ${later('lease_ms')}, ${later('final_after_ms')}, ${NOW}, ${NOW} FROM ${given.text}`,
    values: given.values,
    prepared: true,
  };
};

const NEW = {
  scope: 'text',
  idempotency_key: 'text',
  name: 'text',
  subject: 'text',
  fingerprint: 'bytea',
  attempt: 'integer',
  state: 'text',
  fence: 'integer',
  request: 'text',
  value: 'text',
  compensation_try: 'integer',
  code: 'text',
} as const satisfies Record<string, ColumnType>;

const DONE = {
  ...ID,
  status: 'integer',
  headers: 'text',
  body: 'bytea',
  retention_ms: 'double precision',
} as const satisfies Record<string, ColumnType>;

export const complete: DurableCallBatchStatements['complete'] = (table, calls) => {
  const given = listed(DONE, calls.map(doneColumns));
  return [{ text: completing(table, given.text), values: given.values, prepared: true }];
};

export const completeFenced: DurableCallBatchStatements['completeFenced'] = (table, calls) => {
  const rows = calls.map((call) => ({ ...doneColumns(call), fence: call.fence }));
  const given = listed({ ...DONE, fence: 'integer' }, rows);
  // Not `expires_at IS NULL`: a partial index has that, and all calls that are not settled would be looked through for each.
  const update = `${completing(table, given.text)} AND own.fence = given.fence AND num_nulls(own.expires_at) = 1`;
  return [changing(update, given.values, calls.length)];
};

/** No id is NULL: that makes the planner expect few, and so find them by their index, and never read the whole table. */
function completing(table: string, given: string): string {
  return `UPDATE ${quote(table)} AS own SET state = 'done', status = given.status, headers = given.headers,
      body = given.body, lease_until = NULL, changed_at = ${NOW}, expires_at = ${later('retention_ms')}
    FROM (SELECT * FROM ${given} WHERE num_nonnulls(scope, idempotency_key) = 2) AS given WHERE ${ITS}`;
}

function doneColumns({ id, answer, retentionMs }: CompletedCall) {
  return {
    ...idColumns(id),
    status: answer.status,
    headers: encodedHeaders(answer),
    body: answer.body,
    retention_ms: retentionMs,
  };
}

function later(column: string): string {
  return `${NOW} + given.${column} * interval '1 millisecond'`;
}

function idColumns({ scope, key }: IdempotencyRecordId) {
  return { scope, idempotency_key: key };
}
