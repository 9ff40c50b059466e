import { MisuseError, StoreError } from './errors.ts';
import { type Done, done, type Refused, refused } from './outcome.ts';
import type { Columns, Row, RowRef, SqlSession } from './ports.ts';

export interface Claim extends RowRef {
  /** Stored beside the key: who claims it, and for what. */
  readonly values: Columns;
}

/** The claim belongs to somebody else. */
export interface ClaimHeld extends Refused<'in-progress'> {
  /**
   * The holder's row. Absent when it was released in between, or when it was another unique column of the
   * table that refused the row.
   */
  readonly holder: Row | undefined;
}

/**
 * Claims `key` by inserting it: of many racers one is `done`, the others are told who holds it.
 *
 * `key` must have a unique constraint. Any unique constraint of the table refuses, so a second one claims
 * a second thing with the same row. A racer that meets an uncommitted claim waits until that one commits or
 * rolls back.
 *
 * A claim stays until it is released; nothing ends it when its holder dies.
 *
 * Cost: one statement when it wins, two when it loses.
 *
 * @throws StoreError  Under REPEATABLE READ a lost race is `SERIALIZATION_FAILURE` on PostgreSQL, and the holder may
 *   be invisible on MySQL. `DEADLOCK` on MySQL where several waited for a claim that was then rolled back or released:
 *   all but one of them (`transactWithRetry` tries again).
 */
export async function claimUnique(sql: SqlSession, claim: Claim): Promise<Done<void> | ClaimHeld> {
  if (await inserted(sql, claim)) return done(undefined);
  const { rows } = await sql.execute(sql.dialect.readClaim(claim));
  return { ...refused('in-progress'), holder: rows[0] };
}

async function inserted(sql: SqlSession, claim: Claim): Promise<boolean> {
  try {
    const { affectedRows } = await sql.execute(sql.dialect.claim(claim));
    return affectedRows === 1;
  } catch (error) {
    if (error instanceof StoreError && error.code === 'DUPLICATE_KEY') return false;
    throw error;
  }
}

/**
 * Gives a claim back, if `owner` still holds it.
 *
 * `fenced`: it is not (or no longer) the owner's, and was left alone.
 *
 * @throws StoreError
 */
export async function releaseClaim(
  sql: SqlSession,
  claim: RowRef & { readonly owner: Columns },
): Promise<Done<void> | Refused<'fenced'>> {
  if (Object.keys(claim.owner).length === 0)
    throw new MisuseError('a claim is released by its owner: name it');
  const { affectedRows } = await sql.execute(sql.dialect.releaseClaim(claim));
  return affectedRows === 0 ? refused('fenced') : done(undefined);
}
