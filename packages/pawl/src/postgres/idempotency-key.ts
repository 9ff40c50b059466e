import { StoreError } from '../errors.ts';
import {
  encodedHeaders,
  type IdempotencyClaim,
  type IdempotencyRecordId,
  recordFromRow,
} from '../idempotency-record.ts';
import type { IdempotencyStatements, SqlStatement } from '../ports.ts';
import { NOW, quote, SqlText } from './sql.ts';

/** What `recordFromRow` reads. @param body  The column of that name. */
export const recordColumns = (
  body: string,
) => `mode, encode(fingerprint, 'hex') AS fingerprint, owner, attempt, status, headers, ${body},
  CASE WHEN status IS NULL THEN date_part('epoch', lease_until - ${NOW}) * 1000 END AS lease_left_ms`;

const RECORD = recordColumns('body');

/** How often somebody may come in between before a claim gives up. */
const TURNS = 10;

export const claim: IdempotencyStatements['claim'] = async (session, table, claim) => {
  const statement = claimOnce(table, claim);
  for (let turn = 0; turn < TURNS; turn++) {
    const { rows } = await session.execute(statement);
    const [row] = rows;
    if (row !== undefined && Number(row.claimed)) return { claimed: true, attempt: Number(row.attempt) };
    // Somebody has inserted it since the snapshot of this statement, or has had its lock until now.
    if (row === undefined || (Number(row.free) && claim.mode === 'transactional')) continue;
    // What is stored in it counts no more, and whoever is at it holds its lock.
    if (Number(row.expired)) throw new StoreError('LOCK_TIMEOUT', 'none', 'somebody holds the record');
    return { claimed: false, record: recordFromRow(row) };
  }
  throw new StoreError('SERIALIZATION_FAILURE', 'none', 'others came in between too often');
};

/**
 * All in one statement. One that finds a record which is not free only reads, so that a replay costs no commit.
 *
 * Leased, a free record that somebody has locked is passed over: it is being completed or taken over right now, and whoever
 * waited for that would wait with a connection. In a transaction the wait is what is wanted.
 */
function claimOnce(table: string, claim: IdempotencyClaim): SqlStatement {
  const sql = new SqlText();
  const scope = `${sql.value(claim.scope)}::text`;
  const key = `${sql.value(claim.key)}::text`;
  const mode = `${sql.value(claim.mode)}::text`;
  const fingerprint = `${sql.value(Buffer.from(claim.fingerprint, 'hex'))}::bytea`;
  const owner = `${sql.value(claim.owner)}::uuid`;
  const leaseUntil = sql.later(claim.leaseMs);
  const expiresAt = sql.later(claim.retentionMs);
  const its = `scope = ${scope} AND idempotency_key = ${key}`;
  const expired = `expires_at <= ${NOW}`;
  const free = `(${expired} OR (status IS NULL AND mode = ${mode} AND fingerprint = ${fingerprint}
    AND lease_until <= ${NOW}))`;
  const lock = claim.mode === 'leased' ? 'FOR UPDATE SKIP LOCKED' : 'FOR UPDATE';
  return sql.statement(
    `WITH found AS (SELECT ${RECORD}, (${free})::int AS free, (${expired})::int AS expired FROM ${quote(table)} WHERE ${its}),
     locked AS (
       SELECT scope, idempotency_key, ${expired} AS expired FROM ${quote(table)}
       WHERE ${its} AND ${free} ${lock}
     ),
     taken AS (
       UPDATE ${quote(table)} AS record SET
         mode = ${mode}, fingerprint = ${fingerprint}, owner = ${owner},
         attempt = CASE WHEN expired THEN 1 ELSE attempt + 1 END,
         lease_until = ${leaseUntil}, expires_at = ${expiresAt}, status = NULL, headers = NULL, body = NULL
       FROM locked
       WHERE record.scope = locked.scope AND record.idempotency_key = locked.idempotency_key
       RETURNING attempt
     ),
     inserted AS (
       INSERT INTO ${quote(table)}
         (scope, idempotency_key, mode, fingerprint, owner, attempt, lease_until, expires_at)
       SELECT ${scope}, ${key}, ${mode}, ${fingerprint}, ${owner}, 1, ${leaseUntil}, ${expiresAt}
       WHERE NOT EXISTS (SELECT FROM found)
       ON CONFLICT DO NOTHING
       RETURNING attempt
     ),
     mine AS (SELECT attempt FROM taken UNION ALL SELECT attempt FROM inserted)
     SELECT 1 AS claimed, 0 AS free, 0 AS expired, NULL AS mode, NULL::text AS fingerprint, NULL::uuid AS owner,
       attempt, NULL::integer AS status, NULL AS headers, NULL::bytea AS body, NULL::double precision AS lease_left_ms
     FROM mine
     UNION ALL
     SELECT 0, free, expired, mode, fingerprint, owner, attempt, status, headers, body, lease_left_ms
     FROM found WHERE NOT EXISTS (SELECT FROM mine)`,
  );
}

export const renew: IdempotencyStatements['renew'] = (table, id, owner, { leaseMs, retentionMs }) => {
  const sql = new SqlText();
  return sql.statement(
    `UPDATE ${quote(table)} SET lease_until = ${sql.later(leaseMs)}, expires_at = ${sql.later(retentionMs)}
     WHERE ${inProgressOf(sql, id, owner)}`,
  );
};

export const complete: IdempotencyStatements['complete'] = (table, id, owner, answer, retentionMs) => {
  const sql = new SqlText();
  return sql.statement(
    `UPDATE ${quote(table)} SET
       status = ${sql.value(answer.status)}, headers = ${sql.value(encodedHeaders(answer))},
       body = ${sql.value(Buffer.from(answer.body))}, expires_at = ${sql.later(retentionMs)}
     WHERE ${inProgressOf(sql, id, owner)}`,
  );
};

export const release: IdempotencyStatements['release'] = (table, id, owner) => {
  const sql = new SqlText();
  return sql.statement(`DELETE FROM ${quote(table)} WHERE ${inProgressOf(sql, id, owner)}`);
};

export const read: IdempotencyStatements['read'] = (table, id) => {
  const sql = new SqlText();
  return sql.statement(`SELECT ${RECORD} FROM ${quote(table)} WHERE ${its(sql, id)} AND expires_at > ${NOW}`);
};

function its(sql: SqlText, { scope, key }: IdempotencyRecordId): string {
  return `scope = ${sql.value(scope)} AND idempotency_key = ${sql.value(key)}`;
}

function inProgressOf(sql: SqlText, id: IdempotencyRecordId, owner: string): string {
  const mine = `${its(sql, id)} AND owner = ${sql.value(owner)}::uuid`;
  return `${mine} AND status IS NULL AND expires_at > ${NOW}`;
}
