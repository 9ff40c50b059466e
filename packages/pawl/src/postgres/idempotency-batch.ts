import {
  encodedHeaders,
  type IdempotencyClaim,
  LONGEST_BODY,
  RETENTION_SLACK,
  recordKey,
  rowKey,
} from '../idempotency-record.ts';
import type {
  ChangedRecord,
  Columns,
  ColumnType,
  Decision,
  IdempotencyBatchStatements,
  IdempotencyChange,
  RecordCompletion,
  Row,
  SqlStatement,
} from '../ports.ts';
import { MOMENT } from './change-rows.ts';
import { recordColumns } from './idempotency-key.ts';
import { listed, listedText, listedValues } from './listed.ts';
import { NOW, quote } from './sql.ts';
import { madeOnce } from './texts.ts';

/*
 * Records come as a list for each column: the statement is the same for a batch of every size, and is prepared once. LATERAL, with what keeps
 * it from being flattened, has one record found after the other by the primary key.
 */
const ID = { scope: 'text', idempotency_key: 'text' } as const;

const ITS = 'own.scope = given.scope AND own.idempotency_key = given.idempotency_key';
const later = (ms: string) => `${NOW} + ${ms} * interval '1 millisecond'`;

const ASKED = { ...ID, item: 'integer' } as const;

export const find: IdempotencyBatchStatements['find'] = (table, ids) => {
  const columns = columnsOf(ASKED);
  const text = madeOnce(`find keys ${table} ${ids.length === 1}`, () => {
    const isLong = `octet_length(body) > ${LONGEST_BODY}`;
    const record = recordColumns(`CASE WHEN ${isLong} THEN NULL ELSE body END AS body`);
    const its = `${record}, (expires_at <= ${NOW})::int AS expired, coalesce(${isLong}, false)::int AS is_long`;
    return `SELECT own.* FROM ${listedText(columns, ids.length)} CROSS JOIN LATERAL (
        SELECT given.item, ${its} FROM ${quote(table)} AS own WHERE ${ITS} OFFSET 0
      ) AS own`;
  });
  const rows = ids.map(({ scope, key }, item) => ({ scope, idempotency_key: key, item }));
  return { text, values: listedValues(columns, rows), prepared: true };
};

export const foundOf: IdempotencyBatchStatements['foundOf'] = (ids, found) => {
  const rows: (Row | undefined)[] = ids.map(() => undefined);
  for (const row of found?.rows ?? []) rows[Number(row.item)] = row;
  return rows;
};

/** A record that is there is left alone, and who has locked it is not waited for. */
export const insertsWaitForLocks = false;

const NEW = columnsOf({ ...ID, fingerprint: 'bytea', owner: 'uuid' });

/**
 * In the order of their keys: two batches that share several records, kept for as long, wait for one another in one direction only.
 *
 * What is the same for all is made once: when it is now, and when the leases are over.
 */
export const insert: IdempotencyBatchStatements['insert'] = (table, claims, wait) => ({
  writes: insertions(table, claims, wait ? 'waiting' : 'those that are not there'),
  result(results) {
    const count = results.reduce((sum, { affectedRows }) => sum + affectedRows, 0);
    if (count === claims.length) return claims.map(() => true);
    const inserted = new Set(results.flatMap(({ rows }) => rows.map(rowKey)));
    return claims.map(({ scope, key }) => inserted.has(recordKey(scope, key)));
  },
});

/** To be ready for one that is there costs a fifth more for each. */
export const insertAll: IdempotencyBatchStatements['insertAll'] = (table, claims) =>
  insertions(table, claims, 'all');

type Insertion = 'all' | 'those that are not there' | 'waiting';

function insertions(
  table: string,
  claims: readonly IdempotencyClaim[],
  how: Insertion,
): readonly SqlStatement[] {
  const alike = Map.groupBy(claims, ({ leaseMs, retentionMs }) => `${leaseMs} ${retentionMs}`);
  return [...alike.values()].map((those) => {
    const [{ leaseMs, retentionMs }] = those as [IdempotencyClaim];
    const rows = those.map(({ scope, key, fingerprint, owner }) => ({
      ...{ scope, idempotency_key: key, fingerprint: Buffer.from(fingerprint, 'hex'), owner },
    }));
    const values = [...listedValues(NEW, rows), interval(leaseMs), interval(retentionMs * RETENTION_SLACK)];
    return { text: insertText(table, rows.length, how), values, prepared: true };
  });
}

function insertText(table: string, rows: number, how: Insertion): string {
  return madeOnce(`insert keys ${table} ${rows === 1} ${how}`, () => {
    const [lease, retention] = [`$${NEW.length + 1}::interval`, `$${NEW.length + 2}::interval`];
    const limit = how === 'waiting' ? '' : ` WHERE ${MOMENT}`;
    const passingOver = how === 'all' ? '' : ' ON CONFLICT DO NOTHING RETURNING scope, idempotency_key';
    return `INSERT INTO ${quote(table)}
         (scope, idempotency_key, mode, fingerprint, owner, attempt, lease_until, expires_at, created_at)
       SELECT scope, idempotency_key, 'leased', fingerprint, owner, 1, now + ${lease}, now + ${retention}, now
       FROM (SELECT ${NOW} AS now${limit} OFFSET 0) AS clock CROSS JOIN ${listedText(NEW, rows)}
       ORDER BY scope, idempotency_key${passingOver}`;
  });
}

/** As it was claimed, where that is enough: an update that changes no index costs less than half (HOT). */
const kept = (least: string, most: string) =>
  `CASE WHEN own.expires_at BETWEEN ${least} AND ${most} THEN own.expires_at ELSE ${least} END`;

const CHANGES: Readonly<Record<IdempotencyChange['change'], (table: string) => string>> = {
  complete: (table) =>
    `UPDATE ${table} AS own SET status = given.status, headers = given.headers, body = given.body,
       expires_at = ${kept(later('given.retention_ms'), later(`given.retention_ms * ${RETENTION_SLACK}`))}
     FROM locked AS given`,
  renew: (table) =>
    `UPDATE ${table} AS own SET lease_until = ${later('given.lease_ms')}, expires_at = ${later('given.retention_ms')}
     FROM locked AS given`,
  release: (table) => `DELETE FROM ${table} AS own USING locked AS given`,
};

const CHANGE = {
  ...ID,
  item: 'integer',
  owner: 'uuid',
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
   WHERE ${ITS} AND own.owner = given.owner AND own.status IS NULL AND own.expires_at > ${NOW}`;

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
  if (changes.every(isCompletion)) return completions(table, changes);
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

const isCompletion = (change: IdempotencyChange) => change.change === 'complete';

/** What the answers of one route mostly have in common is sent once. */
const COMMON = { status: 'integer', headers: 'text' } as const;
const ALIKE = columnsOf({ ...ID, item: 'integer', owner: 'uuid', body: 'bytea' });
const UNLIKE = columnsOf({ ...ID, item: 'integer', owner: 'uuid', body: 'bytea', ...COMMON });

function completions(
  table: string,
  changes: readonly RecordCompletion[],
): Decision<readonly ChangedRecord[]> {
  const items = changes.map((change, item) => ({ change, item }));
  const writes = [...Map.groupBy(items, ({ change }) => change.retentionMs)].map(([retentionMs, those]) => {
    const rows = those.map(({ change: { scope, key, owner, answer }, item }) => ({
      ...{ scope, idempotency_key: key, item, owner, body: answer.body },
      ...{ status: answer.status, headers: encodedHeaders(answer) },
    }));
    const [{ status, headers }] = rows as [(typeof rows)[number]];
    const areAlike = rows.every((row) => row.status === status && row.headers === headers);
    const values = [
      ...listedValues(areAlike ? ALIKE : UNLIKE, rows),
      ...[interval(retentionMs), interval(retentionMs * RETENTION_SLACK)],
      ...(areAlike ? [status, headers] : []),
    ];
    return { text: completionText(table, rows.length, areAlike), values, prepared: true };
  });
  return {
    writes,
    result(results) {
      const told: ChangedRecord[] = changes.map(() => 'fenced');
      for (const { rows } of results) for (const { item } of rows) told[Number(item)] = 'changed';
      return told;
    },
  };
}

function completionText(table: string, rows: number, areAlike: boolean): string {
  return madeOnce(`complete keys ${table} ${rows === 1} ${areAlike}`, () => {
    const columns = areAlike ? ALIKE : UNLIKE;
    const parameter = (nth: number, type: string) => `$${columns.length + nth}::${type}`;
    const [least, most] = [`${NOW} + ${parameter(1, 'interval')}`, `${NOW} + ${parameter(2, 'interval')}`];
    const [status, headers] = areAlike
      ? [parameter(3, COMMON.status), parameter(4, COMMON.headers)]
      : ['given.status', 'given.headers'];
    return `UPDATE ${quote(table)} AS own SET status = ${status}, headers = ${headers}, body = given.body,
      expires_at = ${kept(least, most)}
    FROM (
      SELECT * FROM ${listedText(columns, rows)} WHERE num_nonnulls(scope, idempotency_key) = 2 AND ${MOMENT}
    ) AS given
    WHERE ${ITS} AND own.owner = given.owner AND own.status IS NULL AND own.expires_at > ${NOW}
    RETURNING given.item`;
  });
}

/** As text: one that all rows share is read once. In seconds, since before PostgreSQL 15 it has 31 bits. */
function interval(ms: number): string {
  return `${ms / 1_000} seconds`;
}

function columnsOf(types: Readonly<Record<string, ColumnType>>): readonly (readonly [string, ColumnType])[] {
  return Object.entries(types);
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
