import {
  encodedHeaders,
  type IdempotencyRecordId,
  LONGEST_BODY,
  RETENTION_SLACK,
  recordKey,
  rowKey,
  textOf,
} from '../idempotency-record.ts';
import type {
  ChangedRecord,
  Columns,
  IdempotencyBatchStatements,
  IdempotencyChange,
  Row,
  SqlStatement,
} from '../ports.ts';
import { anyOf, updatesOf } from './batch.ts';
import { EXPIRED, fingerprintOf, recordColumns, release } from './idempotency-key.ts';
import { NOW, quote, SqlText } from './sql.ts';

export const find: IdempotencyBatchStatements['find'] = (table, ids) => {
  const sql = new SqlText();
  const isLong = `coalesce(length(body) > ${LONGEST_BODY}, 0)`;
  const record = recordColumns(`IF(${isLong}, NULL, body) AS body`);
  return sql.statement(
    `SELECT scope, idempotency_key, ${record}, ${EXPIRED} AS expired, ${isLong} AS is_long
     FROM ${quote(table)} WHERE ${anyOf(sql, ids.map(idColumns))}`,
  );
};

/** One that is there is locked while it is found to be. */
export const insertsWaitForLocks = true;

/**
 * None of the records is to be there: those that are have been found before, and for one that was inserted since then all are looked for
 * again. (`INSERT IGNORE` would store values that do not fit.)
 *
 * In the order of their keys: two batches that share several records wait for one another in one direction only.
 */
export const insert: IdempotencyBatchStatements['insert'] = (table, claims) => {
  const sorted = claims.toSorted((a, b) => compare(a.scope, b.scope) || compare(a.key, b.key));
  const sql = new SqlText();
  const rows = sorted.map((claim) => {
    const values = [
      sql.value(Buffer.from(claim.scope)),
      sql.value(Buffer.from(claim.key)),
      `'leased'`,
      sql.value(fingerprintOf(claim)),
      sql.value(claim.owner),
      '1',
      sql.later(claim.leaseMs),
      sql.later(slackened(claim.retentionMs)),
      NOW,
    ];
    return `(${values.join(', ')})`;
  });
  const inserted = sql.statement(
    `INSERT INTO ${quote(table)}
       (scope, idempotency_key, mode, fingerprint, owner, attempt, lease_until, expires_at, created_at)
     VALUES ${rows.join(', ')}`,
  );
  return { writes: [inserted], result: () => claims.map(() => true) };
};

/** Whole, as a moment has microseconds. */
function slackened(retentionMs: number): number {
  return Math.ceil(retentionMs * RETENTION_SLACK);
}

/** Locked first, and changed when it is known which were had: no UPDATE passes over the rows of others. */
export const readForChange: IdempotencyBatchStatements['readForChange'] = (table, changes, wait) => [
  inProgress(table, changes, `ORDER BY scope, idempotency_key FOR UPDATE${wait ? '' : ' SKIP LOCKED'}`),
];

export const change: IdempotencyBatchStatements['change'] = (table, changes, [locked]) => {
  const ours = ownersOf(locked?.rows);
  const isMine = (change: IdempotencyChange) => ours.get(keyOf(change)) === change.owner;
  const mine = changes.filter(isMine);
  const missing = changes.filter((change) => !ours.has(keyOf(change)));
  const writes = [...written(table, mine)];
  // Whether they are another's just now, or not in progress.
  if (missing.length > 0) writes.push(inProgress(table, missing, ''));
  return {
    writes,
    result(results) {
      const present = ownersOf(missing.length > 0 ? results[writes.length - 1]?.rows : []);
      return changes.map((change): ChangedRecord => {
        if (isMine(change)) return 'changed';
        return present.get(keyOf(change)) === change.owner ? 'held' : 'fenced';
      });
    },
  };
};

function inProgress(table: string, ids: readonly IdempotencyRecordId[], lock: string): SqlStatement {
  const sql = new SqlText();
  const its = `(${anyOf(sql, ids.map(idColumns))}) AND status IS NULL AND NOT ${EXPIRED}`;
  // Never the whole table, however small: rows are locked on the way, also such as are others'.
  const rows = `${quote(table)} FORCE INDEX (PRIMARY)`;
  return sql.statement(`SELECT scope, idempotency_key, owner FROM ${rows} WHERE ${its} ${lock}`);
}

/** What is set in the records, of which each is there, and locked. */
function written(table: string, changes: readonly IdempotencyChange[]): readonly SqlStatement[] {
  const completed = changes.filter((one) => one.change === 'complete');
  const renewed = changes.filter((one) => one.change === 'renew');
  const released = changes.filter((one) => one.change === 'release');
  const statements: SqlStatement[] = [];
  for (const [retentionMs, those] of Map.groupBy(completed, (one) => one.retentionMs)) {
    const set = those.map(({ answer }) => ({
      status: answer.status,
      headers: encodedHeaders(answer),
      body: Buffer.from(answer.body),
    }));
    const change = { keys: those.map(idColumns), set };
    statements.push(...updatesOf(table, change, (sql) => [`expires_at = ${kept(sql, retentionMs)}`]));
  }
  const alike = Map.groupBy(renewed, ({ leaseMs, retentionMs }) => `${leaseMs} ${retentionMs}`);
  for (const those of alike.values()) {
    const sql = new SqlText();
    const [{ leaseMs, retentionMs }] = those as [(typeof renewed)[number]];
    const until = `lease_until = ${sql.later(leaseMs)}, expires_at = ${sql.later(retentionMs)}`;
    const its = anyOf(sql, those.map(idColumns));
    statements.push(sql.statement(`UPDATE ${quote(table)} SET ${until} WHERE ${its}`));
  }
  // By its key each: one that found them all by reading the table would wait for the rows of others in it.
  for (const one of released) statements.push(release(table, one, one.owner));
  return statements;
}

/** As it was claimed, where that is enough: then no index changes. */
function kept(sql: SqlText, retentionMs: number): string {
  const [least, most] = [sql.later(retentionMs), sql.later(slackened(retentionMs))];
  return `IF(expires_at BETWEEN ${least} AND ${most}, expires_at, ${least})`;
}

function idColumns({ scope, key }: IdempotencyRecordId): Columns {
  return { scope: Buffer.from(scope), idempotency_key: Buffer.from(key) };
}

const keyOf = ({ scope, key }: IdempotencyRecordId) => recordKey(scope, key);

function ownersOf(rows: readonly Row[] = []): ReadonlyMap<string, string> {
  return new Map(rows.map((row) => [rowKey(row), textOf(row.owner)]));
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
