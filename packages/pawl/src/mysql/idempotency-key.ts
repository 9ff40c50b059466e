import { StoreError } from '../errors.ts';
import {
  type ClaimedRecord,
  encodedHeaders,
  type IdempotencyClaim,
  type IdempotencyRecordId,
  recordFromRow,
} from '../idempotency-record.ts';
import type { IdempotencyStatements, SqlSession, SqlStatement } from '../ports.ts';
import { NOW, quote, SqlText } from './sql.ts';

/** What `recordFromRow` reads. @param body  The column of that name. */
export const recordColumns = (
  body: string,
) => `mode, HEX(fingerprint) AS fingerprint, owner, attempt, status, headers, ${body},
  TIMESTAMPDIFF(MICROSECOND, ${NOW}, lease_until) / 1000 AS lease_left_ms`;

const RECORD = recordColumns('body');

export const EXPIRED = `(expires_at <= ${NOW})`;

/** How often somebody may come in between before a claim gives up. */
const TURNS = 10;

/**
 * First a plain look, which waits for nobody: a replay takes no lock, and duplicates do not queue behind the transaction
 * that completes the record, with a connection each.
 */
export const claim: IdempotencyStatements['claim'] = async (session, table, claim) => {
  for (let turn = 0; turn < TURNS; turn++) {
    const { rows } = await session.execute(find(table, claim));
    const [row] = rows;
    if (row === undefined) {
      if (await inserted(session, table, claim)) return { claimed: true, attempt: 1 };
      continue;
    }
    const record = recordFromRow(row);
    if (!Number(row.free)) return { claimed: false, record };
    const attempt = Number(row.expired) ? 1 : record.attempt + 1;
    const take = takeOver(table, claim, { owner: record.owner, attempt });
    if (!('transaction' in session)) {
      if ((await session.execute(take)).affectedRows === 1) return { claimed: true, attempt };
      continue;
    }
    const taken = await session
      .transaction(async (transaction): Promise<ClaimedRecord | undefined> => {
        await transaction.execute(lockWithoutWaiting(table, claim));
        const { affectedRows } = await transaction.execute(take);
        return affectedRows === 1 ? { claimed: true, attempt } : undefined;
      })
      .catch((error: unknown): ClaimedRecord => {
        // Somebody is completing it, taking it over or sweeping it right now. What is stored in an expired one counts no more.
        const isLocked = error instanceof StoreError && error.code === 'LOCK_TIMEOUT';
        if (!isLocked || Number(row.expired)) throw error;
        return { claimed: false, record };
      });
    if (taken !== undefined) return taken;
  }
  throw new StoreError('SERIALIZATION_FAILURE', 'none', 'others came in between too often');
};

async function inserted(session: SqlSession, table: string, claim: IdempotencyClaim): Promise<boolean> {
  try {
    await session.execute(insert(table, claim));
    return true;
  } catch (error) {
    if (error instanceof StoreError && error.code === 'DUPLICATE_KEY') return false;
    throw error;
  }
}

function find(table: string, claim: IdempotencyClaim): SqlStatement {
  const sql = new SqlText();
  const free = `(${EXPIRED} OR (status IS NULL AND mode = ${sql.value(claim.mode)}
    AND fingerprint = ${sql.value(fingerprintOf(claim))} AND lease_until <= ${NOW}))`;
  return sql.statement(
    `SELECT ${RECORD}, ${free} AS free, ${EXPIRED} AS expired FROM ${quote(table)} WHERE ${its(sql, claim)}`,
  );
}

function insert(table: string, claim: IdempotencyClaim): SqlStatement {
  const sql = new SqlText();
  const values = [
    sql.value(Buffer.from(claim.scope)),
    sql.value(Buffer.from(claim.key)),
    sql.value(claim.mode),
    sql.value(fingerprintOf(claim)),
    sql.value(claim.owner),
    1,
    sql.later(claim.leaseMs),
    sql.later(claim.retentionMs),
    NOW,
  ];
  return sql.statement(
    `INSERT INTO ${quote(table)}
       (scope, idempotency_key, mode, fingerprint, owner, attempt, lease_until, expires_at, created_at)
     VALUES (${values.join(', ')})`,
  );
}

/** Whoever takes it over, or renews it, changes its owner or its lease: what was found is compared once more. */
function takeOver(
  table: string,
  claim: IdempotencyClaim,
  { owner, attempt }: { owner: string; attempt: number },
): SqlStatement {
  const sql = new SqlText();
  return sql.statement(
    `UPDATE ${quote(table)} SET
       mode = ${sql.value(claim.mode)}, fingerprint = ${sql.value(fingerprintOf(claim))},
       owner = ${sql.value(claim.owner)}, attempt = ${attempt},
       lease_until = ${sql.later(claim.leaseMs)}, expires_at = ${sql.later(claim.retentionMs)},
       status = NULL, headers = NULL, body = NULL
     WHERE ${its(sql, claim)} AND owner = ${sql.value(owner)}
       AND (${EXPIRED} OR (status IS NULL AND lease_until <= ${NOW}))`,
  );
}

function lockWithoutWaiting(table: string, id: IdempotencyRecordId): SqlStatement {
  const sql = new SqlText();
  return sql.statement(`SELECT owner FROM ${quote(table)} WHERE ${its(sql, id)} FOR UPDATE NOWAIT`);
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
  return sql.statement(`SELECT ${RECORD} FROM ${quote(table)} WHERE ${its(sql, id)} AND NOT ${EXPIRED}`);
};

/** As bytes, whatever the character set of the connection. */
export function its(sql: SqlText, { scope, key }: IdempotencyRecordId): string {
  return `scope = ${sql.value(Buffer.from(scope))} AND idempotency_key = ${sql.value(Buffer.from(key))}`;
}

function inProgressOf(sql: SqlText, id: IdempotencyRecordId, owner: string): string {
  const mine = `${its(sql, id)} AND owner = ${sql.value(owner)}`;
  return `${mine} AND status IS NULL AND NOT ${EXPIRED}`;
}

export function fingerprintOf({ fingerprint }: IdempotencyClaim): Buffer {
  return Buffer.from(fingerprint, 'hex');
}
