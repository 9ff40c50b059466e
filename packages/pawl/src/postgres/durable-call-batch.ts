import { newColumns } from '../durable-call-row.ts';
import { encodedHeaders, type IdempotencyRecordId } from '../idempotency-record.ts';
import type { DurableCallBatchStatements, SqlStatement } from '../ports.ts';
import { lockRows } from './batch.ts';
import { NOW, quote } from './sql.ts';

/*
 * As in `batch.ts`: what is given is one parameter, JSON, so that the statement is the same for a batch of every size, and is prepared
 * once. Records are found one after the other by their index, whatever the planner thought of the table when it was small.
 */

const ITS = 'own.scope = given.scope AND own.idempotency_key = given.idempotency_key';

export const lock: DurableCallBatchStatements['lock'] = (table, ids, wait) =>
  lockRows({
    table,
    keys: ids.map(idColumns),
    columns: ['scope', 'idempotency_key', 'fence', 'expires_at'],
    wait,
  });

export const known: DurableCallBatchStatements['known'] = (table, name, calls) =>
  statement(
    `SELECT own.* FROM json_to_recordset($1::json) AS given (
       scope text COLLATE "C", idempotency_key text COLLATE "C", name text COLLATE "C", subject text COLLATE "C"
     ) CROSS JOIN LATERAL (
       SELECT own.scope, own.idempotency_key, NULL AS subject, NULL::integer AS attempt
       FROM ${quote(table)} AS own WHERE ${ITS}
       UNION ALL (
         SELECT NULL, NULL, own.subject, own.attempt FROM ${quote(table)} AS own
         WHERE own.name = given.name AND own.subject = given.subject ORDER BY own.attempt DESC LIMIT 1
       )
     ) AS own`,
    calls.map(({ id, subject }) => ({ ...idColumns(id), name, subject })),
  );

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
};

/** Without ON CONFLICT: what the caller's rows say of a call whose record is not inserted must vanish with it. */
export const insert: DurableCallBatchStatements['insert'] = (table, calls) => {
  const columns = Object.keys(NEW).join(', ');
  const types = Object.entries({ ...NEW, lease_ms: 'double precision', final_after_ms: 'double precision' });
  return statement(
    `INSERT INTO ${quote(table)} (${columns}, lease_until, final_after, created_at, changed_at)
     SELECT ${columns}, ${later('lease_ms')}, ${later('final_after_ms')}, ${NOW}, ${NOW}
     FROM json_to_recordset($1::json) AS given (${types.map((type) => type.join(' ')).join(', ')})`,
    calls.map((call) => ({
      ...idColumns(call.id),
      name: call.name,
      subject: call.subject,
      ...newColumns(call),
      fingerprint: `\\x${call.fingerprint}`,
      lease_ms: call.leaseMs ?? null,
      final_after_ms: call.finalAfterMs ?? null,
    })),
  );
};

/** No id is NULL: that makes the planner expect few, and so find them by their index, and never read the whole table. */
export const complete: DurableCallBatchStatements['complete'] = (table, calls) => [
  statement(
    `UPDATE ${quote(table)} AS own SET state = 'done', status = given.status, headers = given.headers, body = given.body,
       lease_until = NULL, changed_at = ${NOW}, expires_at = ${later('retention_ms')}
     FROM (
       SELECT * FROM json_to_recordset($1::json) AS given (
         scope text COLLATE "C", idempotency_key text COLLATE "C", status integer, headers text, body bytea,
         retention_ms double precision
       ) WHERE num_nonnulls(scope, idempotency_key) = 2
     ) AS given WHERE ${ITS}`,
    calls.map(({ id, answer, retentionMs }) => ({
      ...idColumns(id),
      status: answer.status,
      headers: encodedHeaders(answer),
      body: `\\x${Buffer.from(answer.body).toString('hex')}`,
      retention_ms: retentionMs,
    })),
  ),
];

function later(column: string): string {
  return `${NOW} + given.${column} * interval '1 millisecond'`;
}

function idColumns({ scope, key }: IdempotencyRecordId) {
  return { scope, idempotency_key: key };
}

function statement(text: string, rows: readonly object[]): SqlStatement {
  return { text, values: [JSON.stringify(rows)], prepared: true };
}
