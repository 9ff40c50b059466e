import { encodedHeaders, LONGEST_BODY, RETENTION_SLACK } from '../idempotency-record.ts';
import type {
  ChangedRecord,
  Columns,
  ColumnType,
  Decision,
  IdempotencyBatchStatements,
  IdempotencyChange,
  SqlStatement,
} from '../ports.ts';
import { MOMENT } from './change-rows.ts';
import { recordColumns } from './idempotency-key.ts';
import { listed } from './listed.ts';
import { NOW, quote } from './sql.ts';

/*
 * Records come as a list for each column: the statement is the same for a batch of every size, and is prepared once. LATERAL, with what keeps
 * it from being flattened, has one record found after the other by the primary key.
 */
const ID = { scope: 'text', idempotency_key: 'text' } as const;

const ITS = 'own.scope = given.scope AND own.idempotency_key = given.idempotency_key';
const later = (ms: string) => `${NOW} + ${ms} * interval '1 millisecond'`;

export const find: IdempotencyBatchStatements['find'] = (table, ids) => {
  const isLong = `octet_length(body) > ${LONGEST_BODY}`;
  const record = recordColumns(`CASE WHEN ${isLong} THEN NULL ELSE body END AS body`);
  const columns = `${record}, (expires_at <= ${NOW})::int AS expired, coalesce(${isLong}, false)::int AS is_long`;
  const given = listed(
    ID,
    ids.map(({ scope, key }) => ({ scope, idempotency_key: key })),
  );
  return {
    text: `SELECT own.* FROM ${given.text} CROSS JOIN LATERAL (
        SELECT scope, idempotency_key, ${columns} FROM ${quote(table)} AS own WHERE ${ITS} OFFSET 0
      ) AS own`,
    values: given.values,
    prepared: true,
  };
};

/** A record that is there is left alone, and who has locked it is not waited for. */
export const insertsWaitForLocks = false;

/** In the order of their keys: two batches that share several records wait for one another in one direction only. */
export const insert: IdempotencyBatchStatements['insert'] = (table, claims, wait) => {
  const given = listed(
    {
      ...ID,
      ...{ item: 'integer', fingerprint: 'bytea', owner: 'text' },
      ...{ lease_ms: 'double precision', expires_ms: 'double precision' },
    },
    claims.map(({ scope, key, fingerprint, owner, leaseMs, retentionMs }, item) => ({
      ...{ scope, idempotency_key: key, item, fingerprint: Buffer.from(fingerprint, 'hex'), owner },
      ...{ lease_ms: leaseMs, expires_ms: retentionMs * RETENTION_SLACK },
    })),
  );
  const text = `WITH given AS MATERIALIZED (SELECT * FROM ${given.text}),
     inserted AS (
       INSERT INTO ${quote(table)} (scope, idempotency_key, mode, fingerprint, owner, attempt, lease_until, expires_at)
       SELECT scope, idempotency_key, 'leased', fingerprint, owner::uuid, 1, ${later('lease_ms')}, ${later('expires_ms')}
       FROM given ${wait ? '' : `WHERE ${MOMENT}`} ORDER BY scope, idempotency_key
       ON CONFLICT DO NOTHING
       RETURNING scope, idempotency_key
     )
     SELECT item FROM given WHERE (scope, idempotency_key) NOT IN (SELECT scope, idempotency_key FROM inserted)`;
  return {
    writes: [{ text, values: given.values, prepared: true }],
    result([found]) {
      const late = new Set(found?.rows.map(({ item }) => Number(item)));
      return claims.map((_, item) => !late.has(item));
    },
  };
};

/** As it was claimed, where that is enough: an update that changes no index costs less than half (HOT). */
const KEPT = `CASE WHEN own.expires_at BETWEEN ${later('given.retention_ms')}
    AND ${later(`given.retention_ms * ${RETENTION_SLACK}`)}
  THEN own.expires_at ELSE ${later('given.retention_ms')} END`;

const CHANGES: Readonly<Record<IdempotencyChange['change'], (table: string) => string>> = {
  complete: (table) =>
    `UPDATE ${table} AS own SET status = given.status, headers = given.headers, body = given.body,
       expires_at = ${KEPT}
     FROM locked AS given`,
  renew: (table) =>
    `UPDATE ${table} AS own SET lease_until = ${later('given.lease_ms')}, expires_at = ${later('given.retention_ms')}
     FROM locked AS given`,
  release: (table) => `DELETE FROM ${table} AS own USING locked AS given`,
};

const CHANGE = {
  ...ID,
  item: 'integer',
  owner: 'text',
  change: 'text',
  lease_ms: 'double precision',
  retention_ms: 'double precision',
  status: 'integer',
  headers: 'text',
  body: 'bytea',
} as const satisfies Record<string, ColumnType>;

/** Records in progress that are their changers'. */
const mine = (table: string) =>
  `FROM ${quote(table)} AS own
   WHERE ${ITS} AND own.owner = given.owner::uuid AND own.status IS NULL AND own.expires_at > ${NOW}`;

const locked = (table: string, lock: string) =>
  `SELECT given.* FROM (SELECT * FROM given ORDER BY scope, idempotency_key) AS given
   CROSS JOIN LATERAL (SELECT 1 ${mine(table)} ${lock}) AS own`;

export const readForChange: IdempotencyBatchStatements['readForChange'] = (table, changes, wait) =>
  wait ? [withGiven(changes, locked(table, 'FOR UPDATE'))] : [];

/**
 * Locks, changes and tells in one statement. `locked` takes rows as they are when they are locked, and `present` as they were when the
 * statement began: what is present and was not changed is another's now, or was changed by somebody in between.
 *
 * The name of the change is looked for among few: the planner expects one row, and finds each by the primary key.
 *
 * Completions alone are an update, and no more: nobody locks the record that its owner completes, but whoever takes it over, for a
 * moment. (A renewal meets the transaction in which its own operation is being completed.)
 */
export const change: IdempotencyBatchStatements['change'] = (table, changes) => {
  if (changes.every(({ change }) => change === 'complete')) return completions(table, changes);
  const kinds = (Object.keys(CHANGES) as IdempotencyChange['change'][]).filter((kind) =>
    changes.some(({ change }) => change === kind),
  );
  const written = kinds.map(
    (kind) => `do_${kind} AS (
       ${CHANGES[kind](quote(table))} WHERE ${ITS} AND given.change = '${kind}' RETURNING given.item
     )`,
  );
  const changed = kinds.map((kind) => `SELECT item FROM do_${kind}`).join(' UNION ALL ');
  const text = `present AS MATERIALIZED (SELECT item FROM given CROSS JOIN LATERAL (SELECT 1 ${mine(table)} OFFSET 0) AS own),
     locked AS MATERIALIZED (${locked(table, 'FOR UPDATE SKIP LOCKED')}),
     ${written.join(', ')},
     changed AS MATERIALIZED (${changed})
     SELECT item, 1 AS changed FROM changed
     UNION ALL
     SELECT item, 0 FROM present WHERE item NOT IN (SELECT item FROM changed)`;
  return {
    writes: [withGiven(changes, text)],
    result([found]) {
      const told: ChangedRecord[] = changes.map(() => 'fenced');
      for (const { item, changed } of found?.rows ?? []) {
        told[Number(item)] = Number(changed) ? 'changed' : 'held';
      }
      return told;
    },
  };
};

function asRow(change: IdempotencyChange, item: number): Columns {
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
        body: answer.body,
      };
    }
    case 'renew':
      return { ...row, lease_ms: change.leaseMs, retention_ms: change.retentionMs };
    case 'release':
      return row;
  }
}

function completions(
  table: string,
  changes: readonly IdempotencyChange[],
): Decision<readonly ChangedRecord[]> {
  const given = listed(CHANGE, changes.map(asRow));
  const some = `SELECT * FROM ${given.text} WHERE num_nonnulls(scope, idempotency_key) = 2 AND ${MOMENT}`;
  const text = `UPDATE ${quote(table)} AS own SET status = given.status, headers = given.headers, body = given.body,
      expires_at = ${KEPT}
    FROM (${some}) AS given
    WHERE ${ITS} AND own.owner = given.owner::uuid AND own.status IS NULL AND own.expires_at > ${NOW}
    RETURNING given.item`;
  return {
    writes: [{ text, values: given.values, prepared: true }],
    result([changed]) {
      const done = new Set(changed?.rows.map(({ item }) => Number(item)));
      return changes.map((_, item) => (done.has(item) ? 'changed' : 'fenced'));
    },
  };
}

/** @param more  The rest of the statement, from its second common table expression on, or its query. */
function withGiven(changes: readonly IdempotencyChange[], more: string): SqlStatement {
  const { text, values } = listed(CHANGE, changes.map(asRow));
  const separator = more.startsWith('SELECT') ? '' : ',';
  return {
    text: `WITH given AS MATERIALIZED (SELECT * FROM ${text})${separator} ${more}`,
    values,
    prepared: true,
  };
}
