import {
  encodedHeaders,
  type IdempotencyRecordId,
  LONGEST_BODY,
  recordKey,
  rowKey,
  textOf,
} from '../idempotency-record.ts';
import type {
  ChangedRecord,
  IdempotencyBatchStatements,
  IdempotencyChange,
  Row,
  SqlStatement,
} from '../ports.ts';
import { EXPIRED, fingerprintOf, its, recordColumns, release } from './idempotency-key.ts';
import { NOW, quote, SqlText } from './sql.ts';

export const find: IdempotencyBatchStatements['find'] = (table, ids) => {
  const sql = new SqlText();
  const isLong = `coalesce(length(body) > ${LONGEST_BODY}, 0)`;
  const record = recordColumns(`IF(${isLong}, NULL, body) AS body`);
  return sql.statement(
    `SELECT scope, idempotency_key, ${record}, ${EXPIRED} AS expired, ${isLong} AS is_long
     FROM ${quote(table)} WHERE ${anyOf(sql, ids)}`,
  );
};

/**
 * How long a batch waits for others who insert one of its records: InnoDB counts whole seconds. MySQL, which passes over the comment,
 * waits as long as its session says.
 */
const MOMENT = '/*M! SET STATEMENT innodb_lock_wait_timeout = 1 FOR */';

/**
 * A record that is there is left as it is: an assignment of what it holds changes nothing, and unlike `INSERT IGNORE` it refuses values
 * that do not fit. Whose the records are is read afterwards, in the same message.
 *
 * In the order of their keys: two batches that share several records wait for one another in one direction only.
 */
export const insert: IdempotencyBatchStatements['insert'] = (
  table,
  claims,
  wait,
): readonly SqlStatement[] => {
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
      sql.later(claim.retentionMs),
      NOW,
    ];
    return `(${values.join(', ')})`;
  });
  const inserted = sql.statement(
    `${wait ? '' : `${MOMENT} `}INSERT INTO ${quote(table)}
       (scope, idempotency_key, mode, fingerprint, owner, attempt, lease_until, expires_at, created_at)
     VALUES ${rows.join(', ')}
     ON DUPLICATE KEY UPDATE ${quote(table)}.owner = ${quote(table)}.owner`,
  );
  const read = new SqlText();
  const others = sorted.map((claim) => {
    return `(${its(read, claim)} AND NOT (owner = ${read.value(claim.owner)} AND status IS NULL AND attempt = 1))`;
  });
  const lost = read.statement(
    `SELECT scope, idempotency_key FROM ${quote(table)} WHERE ${others.join(' OR ')}`,
  );
  return [inserted, lost];
};

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
  const its = `(${anyOf(sql, ids)}) AND status IS NULL AND NOT ${EXPIRED}`;
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
  if (completed.length > 0) {
    statements.push(
      set(table, completed, (sql, { answer, retentionMs }) => ({
        status: sql.value(answer.status),
        headers: sql.value(encodedHeaders(answer)),
        body: sql.value(Buffer.from(answer.body)),
        expires_at: sql.later(retentionMs),
      })),
    );
  }
  if (renewed.length > 0) {
    statements.push(
      set(table, renewed, (sql, { leaseMs, retentionMs }) => ({
        lease_until: sql.later(leaseMs),
        expires_at: sql.later(retentionMs),
      })),
    );
  }
  // By its key each: one that found them all by reading the table would wait for the rows of others in it.
  for (const one of released) statements.push(release(table, one, one.owner));
  return statements;
}

/** What a record must have besides, and none is given. */
const UNUSED = {
  mode: `''`,
  fingerprint: `''`,
  attempt: '0',
  lease_until: NOW,
  expires_at: NOW,
  created_at: NOW,
};

/**
 * One statement that sets many rows to different values: it would insert them, and finds each of them there. A third of the time of as
 * many UPDATEs, and of one that joins JSON. (The word VALUES is deprecated in MySQL, and what replaces it unknown to MariaDB.)
 */
function set<Change extends IdempotencyChange>(
  table: string,
  changes: readonly Change[],
  valuesOf: (sql: SqlText, change: Change) => Readonly<Record<string, string>>,
): SqlStatement {
  const sql = new SqlText();
  let names: readonly string[] = [];
  let assigned: readonly string[] = [];
  const rows = changes.map((change) => {
    const id = [sql.value(Buffer.from(change.scope)), sql.value(Buffer.from(change.key))];
    const owner = sql.value(change.owner);
    const values = valuesOf(sql, change);
    assigned = Object.keys(values);
    const row = { ...UNUSED, ...values };
    names = Object.keys(row);
    return `(${[...id, owner, ...Object.values(row)].join(', ')})`;
  });
  const assignments = assigned.map((name) => `${name} = VALUES(${name})`);
  return sql.statement(
    `INSERT INTO ${quote(table)} (${['scope', 'idempotency_key', 'owner', ...names].join(', ')})
     VALUES ${rows.join(', ')} ON DUPLICATE KEY UPDATE ${assignments.join(', ')}`,
  );
}

const keyOf = ({ scope, key }: IdempotencyRecordId) => recordKey(scope, key);

function ownersOf(rows: readonly Row[] = []): ReadonlyMap<string, string> {
  return new Map(rows.map((row) => [rowKey(row), textOf(row.owner)]));
}

/** The keys of a scope are a list: no index is used for a list of rows (MariaDB). */
function anyOf(sql: SqlText, ids: readonly IdempotencyRecordId[]): string {
  const scopes = Map.groupBy(ids, ({ scope }) => scope);
  const conditions = [...scopes].map(([scope, those]) => {
    const its = sql.value(Buffer.from(scope));
    const keys = those.map(({ key }) => sql.value(Buffer.from(key)));
    return `scope = ${its} AND idempotency_key IN (${keys.join(', ')})`;
  });
  return conditions.join(' OR ');
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
