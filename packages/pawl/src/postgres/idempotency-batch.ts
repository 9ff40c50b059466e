import { encodedHeaders, LONGEST_BODY } from '../idempotency-record.ts';
import type { ChangedRecord, IdempotencyBatchStatements, IdempotencyChange, SqlStatement } from '../ports.ts';
import { recordColumns } from './idempotency-key.ts';
import { NOW, quote } from './sql.ts';

/**
 * Records come as one parameter, JSON, in the collation of their columns: the statement is the same for a batch of every size, and is
 * prepared once. LATERAL, with what keeps it from being flattened, has one record found after the other by the primary key.
 */
function given(columns: string): string {
  const id = 'scope text COLLATE "C", idempotency_key text COLLATE "C"';
  return `given AS MATERIALIZED (SELECT * FROM json_to_recordset($1::json) AS given(${id}, ${columns}))`;
}

const ITS = 'own.scope = given.scope AND own.idempotency_key = given.idempotency_key';
const later = (ms: string) => `${NOW} + ${ms} * interval '1 millisecond'`;

export const find: IdempotencyBatchStatements['find'] = (table, ids) => {
  const isLong = `octet_length(body) > ${LONGEST_BODY}`;
  const record = recordColumns(`CASE WHEN ${isLong} THEN NULL ELSE body END AS body`);
  const columns = `${record}, (expires_at <= ${NOW})::int AS expired, coalesce(${isLong}, false)::int AS is_long`;
  return statement(
    `WITH ${given('owner uuid')}
     SELECT own.* FROM given CROSS JOIN LATERAL (
       SELECT scope, idempotency_key, ${columns} FROM ${quote(table)} AS own WHERE ${ITS} OFFSET 0
     ) AS own`,
    ids.map(({ scope, key }) => ({ scope, idempotency_key: key })),
  );
};

/**
 * How long a batch waits for others who insert one of its records, in milliseconds: until they commit, if they are a batch too; and
 * not for a transaction of somebody who has it in the other mode. The limit is in effect from then on, within this statement alone.
 */
const MOMENT_MS = 50;
const MOMENT = `(SELECT set_config('lock_timeout', '${MOMENT_MS}ms', true)) IS NOT NULL`;

/** In the order of their keys: two batches that share several records wait for one another in one direction only. */
export const insert: IdempotencyBatchStatements['insert'] = (table, claims, wait) => {
  const text = `WITH ${given('fingerprint bytea, owner uuid, lease_ms double precision, retention_ms double precision')},
     inserted AS (
       INSERT INTO ${quote(table)} (scope, idempotency_key, mode, fingerprint, owner, attempt, lease_until, expires_at)
       SELECT scope, idempotency_key, 'leased', fingerprint, owner, 1, ${later('lease_ms')}, ${later('retention_ms')}
       FROM given ${wait ? '' : `WHERE ${MOMENT}`} ORDER BY scope, idempotency_key
       ON CONFLICT DO NOTHING
       RETURNING scope, idempotency_key
     )
     SELECT scope, idempotency_key FROM given EXCEPT ALL SELECT scope, idempotency_key FROM inserted`;
  const rows = claims.map(({ scope, key, fingerprint, owner, leaseMs, retentionMs }) => ({
    scope,
    idempotency_key: key,
    fingerprint: `\\x${fingerprint}`,
    owner,
    lease_ms: leaseMs,
    retention_ms: retentionMs,
  }));
  return [statement(text, rows)];
};

const CHANGES: Readonly<Record<IdempotencyChange['change'], (table: string) => string>> = {
  complete: (table) =>
    `UPDATE ${table} AS own SET status = given.status, headers = given.headers, body = given.body,
       expires_at = ${later('given.retention_ms')}
     FROM locked AS given`,
  renew: (table) =>
    `UPDATE ${table} AS own SET lease_until = ${later('given.lease_ms')}, expires_at = ${later('given.retention_ms')}
     FROM locked AS given`,
  release: (table) => `DELETE FROM ${table} AS own USING locked AS given`,
};

const COLUMNS = `item integer, owner uuid, change text, lease_ms double precision, retention_ms double precision,
  status integer, headers text, body bytea`;

/** Records in progress that are their changers'. */
const mine = (table: string) =>
  `FROM ${quote(table)} AS own
   WHERE ${ITS} AND own.owner = given.owner AND own.status IS NULL AND own.expires_at > ${NOW}`;

const locked = (table: string, lock: string) =>
  `SELECT given.* FROM (SELECT * FROM given ORDER BY scope, idempotency_key) AS given
   CROSS JOIN LATERAL (SELECT 1 ${mine(table)} ${lock}) AS own`;

export const readForChange: IdempotencyBatchStatements['readForChange'] = (table, changes, wait) =>
  wait ? [statement(`WITH ${given(COLUMNS)} ${locked(table, 'FOR UPDATE')}`, changes.map(asRow))] : [];

/**
 * Locks, changes and tells in one statement. `locked` takes rows as they are when they are locked, and `present` as they were when the
 * statement began: what is present and was not changed is another's now, or was changed by somebody in between.
 *
 * The name of the change is looked for among few: the planner expects one row, and finds each by the primary key.
 */
export const change: IdempotencyBatchStatements['change'] = (table, changes) => {
  const kinds = (Object.keys(CHANGES) as IdempotencyChange['change'][]).filter((kind) =>
    changes.some(({ change }) => change === kind),
  );
  const written = kinds.map(
    (kind) => `do_${kind} AS (
       ${CHANGES[kind](quote(table))} WHERE ${ITS} AND given.change = '${kind}' RETURNING given.item
     )`,
  );
  const changed = kinds.map((kind) => `SELECT item FROM do_${kind}`).join(' UNION ALL ');
  const text = `WITH ${given(COLUMNS)},
     present AS MATERIALIZED (SELECT item FROM given CROSS JOIN LATERAL (SELECT 1 ${mine(table)} OFFSET 0) AS own),
     locked AS MATERIALIZED (${locked(table, 'FOR UPDATE SKIP LOCKED')}),
     ${written.join(', ')},
     changed AS MATERIALIZED (${changed})
     SELECT item, 1 AS changed FROM changed
     UNION ALL
     SELECT item, 0 FROM present WHERE item NOT IN (SELECT item FROM changed)`;
  return {
    writes: [statement(text, changes.map(asRow))],
    result([found]) {
      const told: ChangedRecord[] = changes.map(() => 'fenced');
      for (const { item, changed } of found?.rows ?? []) {
        told[Number(item)] = Number(changed) ? 'changed' : 'held';
      }
      return told;
    },
  };
};

function asRow(change: IdempotencyChange, item: number): Readonly<Record<string, unknown>> {
  const { scope, key, owner } = change;
  const row = { item, scope, idempotency_key: key, owner, change: change.change };
  switch (change.change) {
    case 'complete': {
      const { answer, retentionMs } = change;
      return {
        ...row,
        retention_ms: retentionMs,
        status: answer.status,
        headers: encodedHeaders(answer),
        body: `\\x${Buffer.from(answer.body).toString('hex')}`,
      };
    }
    case 'renew':
      return { ...row, lease_ms: change.leaseMs, retention_ms: change.retentionMs };
    case 'release':
      return row;
  }
}

function statement(text: string, rows: readonly Readonly<Record<string, unknown>>[]): SqlStatement {
  return { text, values: [JSON.stringify(rows)], prepared: true };
}
