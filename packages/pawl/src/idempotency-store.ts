import { requireLimit } from './columns.ts';
import {
  type ClaimedRecord,
  type IdempotencyClaim,
  type IdempotencyRecord,
  type IdempotencyRecordId,
  recordFromRow,
  type StoredAnswer,
} from './idempotency-record.ts';
import type { StoreKind } from './observer.ts';
import type { SqlPort, SqlSession, SqlTransaction } from './ports.ts';
import { pawlTables } from './tables.ts';

/**
 * Where the records of idempotency keys are kept.
 *
 * Every method is one atomic step, leases and retention are measured by the store's own clock, and keys are told apart byte
 * by byte. All throw `StoreError`; after one with `effect: 'unknown'` the step may have been taken.
 */
export interface IdempotencyStore {
  /** For those who watch. */
  readonly kind?: StoreKind;
  /**
   * Takes the record for `claim.owner` if there is none, if its retention is over, or if it is in progress with the same
   * mode and fingerprint and its lease is over. Else tells what is there.
   */
  claim(claim: IdempotencyClaim): Promise<ClaimedRecord>;
  /** Prolongs the lease, and the retention with it. @returns whether the record is in progress and `owner`'s. */
  renew(id: IdempotencyRecordId, owner: string, times: LeaseTimes): Promise<boolean>;
  /** Stores the answer. @returns whether the record was in progress and `owner`'s. */
  complete(
    id: IdempotencyRecordId,
    owner: string,
    answer: StoredAnswer,
    retentionMs: number,
  ): Promise<boolean>;
  /** Gives the key back. @returns whether the record was in progress and `owner`'s. */
  release(id: IdempotencyRecordId, owner: string): Promise<boolean>;
  read(id: IdempotencyRecordId): Promise<IdempotencyRecord | undefined>;
  /** Forgets at most `limit` records whose retention is over. @returns how many. */
  sweep(limit: number): Promise<number>;
}

export type LeaseTimes = Pick<IdempotencyClaim, 'leaseMs' | 'retentionMs'>;

/** A store whose records can commit, or vanish, with the caller's own rows. */
export interface SqlIdempotencyStore extends IdempotencyStore {
  /** The same records, written in the caller's transaction. */
  within(transaction: SqlTransaction): IdempotencyStore;
}

export interface SqlIdempotencyStoreOptions {
  /** The table that `pawl migrate` made, with its schema where it has one. */
  readonly table?: string;
}

/**
 * Records in a table of PostgreSQL, MySQL or MariaDB (`pawl migrate` creates it).
 *
 * Cost: a fresh operation is two round trips and two commits (on MySQL three round trips), a replay one round trip and no
 * commit. A completion within the caller's transaction costs no commit of its own.
 */
export function sqlIdempotencyStore(
  sql: SqlPort,
  { table = pawlTables().idempotencyKey }: SqlIdempotencyStoreOptions = {},
): SqlIdempotencyStore {
  return { ...over(sql, table), within: (transaction) => over(transaction, table) };
}

function over(session: SqlPort | SqlTransaction, table: string): IdempotencyStore {
  const { idempotencyKey } = session.dialect;
  const changed = async (statement: Parameters<SqlSession['execute']>[0]) =>
    (await session.execute(statement)).affectedRows === 1;

  return {
    kind: session.dialect.name,
    claim: (claim) => idempotencyKey.claim(session, table, claim),
    renew: (id, owner, times) => changed(idempotencyKey.renew(table, id, owner, times)),
    complete: (id, owner, answer, retentionMs) =>
      changed(idempotencyKey.complete(table, id, owner, answer, retentionMs)),
    release: (id, owner) => changed(idempotencyKey.release(table, id, owner)),
    async read(id) {
      const { rows } = await session.execute(idempotencyKey.read(table, id));
      return rows[0] && recordFromRow(rows[0]);
    },
    async sweep(limit) {
      requireLimit(limit);
      const sweep = session.dialect.sweepExpired({ table, column: 'expires_at', limit });
      return (await session.execute(sweep)).affectedRows;
    },
  };
}
