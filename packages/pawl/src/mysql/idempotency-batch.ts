import {
  encodedHeaders,
  type IdempotencyClaim,
  type IdempotencyRecordId,
  LONGEST_BODY,
  RETENTION_SLACK,
  recordKey,
  rowKey,
  textOf,
} from '../idempotency-record.ts';
import type {
  ChangedRecord,
  IdempotencyBatchStatements,
  IdempotencyChange,
  RecordCompletion,
  Row,
  SqlStatement,
  SqlValue,
} from '../ports.ts';
import { EXPIRED, fingerprintOf, recordColumns, release } from './idempotency-key.ts';
import { NOW, quote, SqlText, utf8 } from './sql.ts';

export const find: IdempotencyBatchStatements['find'] = (table, ids) => {
  const sql = new SqlText();
  const isLong = `coalesce(length(body) > ${LONGEST_BODY}, 0)`;
  const record = recordColumns(`IF(${isLong}, NULL, body) AS body`);
  return sql.statement(
    `SELECT scope, idempotency_key, ${record}, ${EXPIRED} AS expired, ${isLong} AS is_long
     FROM ${quote(table)} WHERE ${named(sql, ids)}`,
  );
};

export const foundOf: IdempotencyBatchStatements['foundOf'] = (ids, found) => {
  const rows = new Map(found?.rows.map((row) => [rowKey(row), row]));
  return ids.map((id) => rows.get(keyOf(id)));
};

/** One that is there is locked while it is found to be. */
export const insertsWaitForLocks = true;

/**
 * None of the records is to be there: those that are have been found before, and for one that was inserted since then all are looked for
 * again. (`INSERT IGNORE` would store values that do not fit.)
 */
export const insert: IdempotencyBatchStatements['insert'] = (table, claims) => ({
  writes: [insertion(table, claims)],
  result: () => claims.map(() => true),
});

export const insertAll: IdempotencyBatchStatements['insertAll'] = (table, claims) => [
  insertion(table, claims, WITHOUT_WAITING),
];

/** Where it is known: MySQL has no such thing, and takes it for a comment. */
const WITHOUT_WAITING = '/*M! SET STATEMENT innodb_lock_wait_timeout = 0 FOR */ ';

/** In the order of their keys: two batches that share several records wait for one another in one direction only. */
function insertion(table: string, claims: readonly IdempotencyClaim[], how = ''): SqlStatement {
  const sorted = claims.toSorted((a, b) => compare(a.scope, b.scope) || compare(a.key, b.key));
  const sql = new SqlText();
  const rows = sorted.map((claim) => {
    const { leaseMs, retentionMs } = claim;
    const id = `${sql.value(utf8(claim.scope))}, ${sql.value(utf8(claim.key))}`;
    const holder = `${sql.value(fingerprintOf(claim))}, ${sql.value(claim.owner)}`;
    return `(${id}, 'leased', ${holder}, 1, ${sql.later(leaseMs)}, ${sql.later(slackened(retentionMs))}, ${NOW})`;
  });
  return sql.statement(
    `${how}INSERT INTO ${quote(table)}
       (scope, idempotency_key, mode, fingerprint, owner, attempt, lease_until, expires_at, created_at)
     VALUES ${rows.join(', ')}`,
  );
}

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
  const its = `${named(sql, ids)} AND status IS NULL AND NOT ${EXPIRED}`;
  // Never the whole table, however small: rows are locked on the way, also such as are others'.
  const rows = `${quote(table)} FORCE INDEX (PRIMARY)`;
  return sql.statement(`SELECT scope, idempotency_key, owner FROM ${rows} WHERE ${its} ${lock}`);
}

/** What is set in the records, of which each is there, and locked. */
function written(table: string, changes: readonly IdempotencyChange[]): readonly SqlStatement[] {
  const completed = changes.filter((one) => one.change === 'complete');
  const renewed = changes.filter((one) => one.change === 'renew');
  const released = changes.filter((one) => one.change === 'release');
  const statements = [...completions(table, completed, (sql, those) => named(sql, those))];
  const alike = Map.groupBy(renewed, ({ leaseMs, retentionMs }) => `${leaseMs} ${retentionMs}`);
  for (const those of alike.values()) {
    const sql = new SqlText();
    const [{ leaseMs, retentionMs }] = those as [(typeof renewed)[number]];
    const until = `lease_until = ${sql.later(leaseMs)}, expires_at = ${sql.later(retentionMs)}`;
    const its = named(sql, those);
    statements.push(sql.statement(`UPDATE ${quote(table)} SET ${until} WHERE ${its}`));
  }
  // By its key each: one that found them all by reading the table would wait for the rows of others in it.
  for (const one of released) statements.push(release(table, one, one.owner));
  return statements;
}

/**
 * Each record that is there must be its completer's, and in progress: for one that is not so, a number is made that none can be, in every
 * mode of a session (1690). It depends on the row, so that no server makes it before it looks at one.
 *
 * One statement, so that it is a transaction by itself.
 */
export const completeAll: NonNullable<IdempotencyBatchStatements['completeAll']> = (table, changes) =>
  completions(
    table,
    changes,
    (sql, those) => {
      const its = named(sql, those);
      const isMine = `status IS NULL AND NOT ${EXPIRED} AND ${owned(sql, those)}`;
      return `${its} AND IF(${isMine}, 1, 0 * (attempt + 18446744073709551615))`;
    },
    WITHOUT_WAITING,
  );

/** A record finds its answer by looking through those of all in its statement, so these are not too many. */
const MOST_CHOICES = 64;

function completions(
  table: string,
  changes: readonly RecordCompletion[],
  condition: (sql: SqlText, those: readonly RecordCompletion[]) => string,
  how = '',
): readonly SqlStatement[] {
  const statements: SqlStatement[] = [];
  for (const [retentionMs, alike] of Map.groupBy(changes, (one) => one.retentionMs)) {
    for (let first = 0; first < alike.length; first += MOST_CHOICES) {
      const those = alike.slice(first, first + MOST_CHOICES);
      const sql = new SqlText();
      const set = [
        `status = ${chosen(sql, those, ({ answer }) => answer.status)}`,
        `headers = ${chosen(sql, those, ({ answer }) => encodedHeaders(answer))}`,
        `body = ${chosen(sql, those, ({ answer }) => answer.body)}`,
        `expires_at = ${kept(sql, retentionMs)}`,
      ].join(', ');
      // Never the whole table, however small: rows are locked on the way, also such as are others'.
      const update = `${how}UPDATE ${quote(table)} FORCE INDEX (PRIMARY) SET ${set}`;
      statements.push(sql.statement(`${update} WHERE ${condition(sql, those)}`));
    }
  }
  return statements;
}

/** What each record is set to. */
function chosen(
  sql: SqlText,
  those: readonly RecordCompletion[],
  toValue: (one: RecordCompletion) => SqlValue,
): string {
  const values = those.map(toValue);
  const [value = null] = values;
  if (values.every((other) => isSame(other, value))) return sql.value(value);
  const [{ scope }] = those as [RecordCompletion];
  const isOfOneScope = those.every((one) => one.scope === scope);
  const choices = those.map((one, index) => {
    const key = sql.value(utf8(one.key));
    const its = isOfOneScope ? key : `idempotency_key = ${key} AND scope = ${sql.value(utf8(one.scope))}`;
    return `WHEN ${its} THEN ${sql.value(values[index] ?? null)}`;
  });
  return `CASE ${isOfOneScope ? 'idempotency_key ' : ''}${choices.join(' ')} END`;
}

function isSame(one: SqlValue, other: SqlValue): boolean {
  if (one instanceof Uint8Array && other instanceof Uint8Array) return Buffer.compare(one, other) === 0;
  return one === other;
}

/** As it was claimed, where that is enough: then no index changes. */
function kept(sql: SqlText, retentionMs: number): string {
  const [least, most] = [sql.later(retentionMs), sql.later(slackened(retentionMs))];
  return `IF(expires_at BETWEEN ${least} AND ${most}, expires_at, ${least})`;
}

/** A condition: one of these records. No index is used for a list of rows (MariaDB). */
function named(sql: SqlText, ids: readonly IdempotencyRecordId[]): string {
  return ofScopes(sql, ids, 'idempotency_key', ({ key }) => key);
}

/** A condition: one of these records, and its owner. No UUID has a space. */
function owned(sql: SqlText, those: readonly RecordCompletion[]): string {
  return ofScopes(sql, those, `CONCAT(owner, ' ', idempotency_key)`, ({ owner, key }) => `${owner} ${key}`);
}

function ofScopes<Id extends IdempotencyRecordId>(
  sql: SqlText,
  ids: readonly Id[],
  its: string,
  textOf: (id: Id) => string,
): string {
  const conditions = [...Map.groupBy(ids, ({ scope }) => scope)].map(([scope, those]) => {
    const shared = `scope = ${sql.value(utf8(scope))}`;
    return `(${shared} AND ${its} IN (${those.map((id) => sql.value(utf8(textOf(id)))).join(', ')}))`;
  });
  return `(${conditions.join(' OR ')})`;
}

const keyOf = ({ scope, key }: IdempotencyRecordId) => recordKey(scope, key);

function ownersOf(rows: readonly Row[] = []): ReadonlyMap<string, string> {
  return new Map(rows.map((row) => [rowKey(row), textOf(row.owner)]));
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
