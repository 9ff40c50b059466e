import { newColumns } from '../durable-call-row.ts';
import { encodedHeaders, type IdempotencyRecordId, LONGEST_BODY } from '../idempotency-record.ts';
import type { ColumnType, CompletedCall, DurableCallBatchStatements } from '../ports.ts';
import { lockRows } from './batch.ts';
import { changing } from './change-rows.ts';
import { callColumns } from './durable-call.ts';
import { listed, listedText, listedValues } from './listed.ts';
import { NOW, quote } from './sql.ts';
import { madeOnce } from './texts.ts';

/*
 * What is given is a list for each column, so that the statement is the same for a batch of every size, and is prepared once. Records
 * are found one after the other.
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
  const text = madeOnce(`claim ${table} ${rows.length === 1}`, () => {
    const columns = Object.keys(NEW).join(', ');
    return `INSERT INTO ${quote(table)} (${columns}, lease_until, final_after, created_at, changed_at)
      SELECT ${columns}, ${later('lease_ms')}, ${later('final_after_ms')}, ${NOW}, ${NOW}
      FROM ${listedText(CLAIMED, rows.length)}`;
  });
  return { text, values: listedValues(CLAIMED, rows), prepared: true };
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

const CLAIMED: readonly [string, ColumnType][] = [
  ...Object.entries(NEW),
  ['lease_ms', 'double precision'],
  ['final_after_ms', 'double precision'],
];

const DONE: readonly [string, ColumnType][] = [
  ...Object.entries(ID),
  ['status', 'integer'],
  ['headers', 'text'],
  ['body', 'bytea'],
  ['retention_ms', 'double precision'],
];

const FENCED: typeof DONE = [...DONE, ['fence', 'integer']];

export const complete: DurableCallBatchStatements['complete'] = (table, calls) => [
  {
    text: completing(table, DONE, calls.length),
    values: listedValues(DONE, calls.map(doneColumns)),
    prepared: true,
  },
];

export const completeFenced: DurableCallBatchStatements['completeFenced'] = (table, calls) => {
  const rows = calls.map((call) => ({ ...doneColumns(call), fence: call.fence }));
  // Not `expires_at IS NULL`: a partial index has that, and all calls that are not settled would be looked through for each.
  const unsettled = ' AND own.fence = given.fence AND num_nulls(own.expires_at) = 1';
  const values = listedValues(FENCED, rows);
  return [changing(completing(table, FENCED, rows.length), unsettled, values, rows.length)];
};

/** No id is NULL: that makes the planner expect few, and so find each by itself. */
function completing(table: string, columns: typeof DONE, rows: number): string {
  return madeOnce(
    `complete ${table} ${columns.length} ${rows === 1}`,
    () => `UPDATE ${quote(table)} AS own SET state = 'done', status = given.status, headers = given.headers,
      body = given.body, lease_until = NULL, changed_at = ${NOW}, expires_at = ${later('retention_ms')}
    FROM (SELECT * FROM ${listedText(columns, rows)} WHERE num_nonnulls(scope, idempotency_key) = 2) AS given
    WHERE ${ITS}`,
  );
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
