import { requireLimit } from './columns.ts';
import { MisuseError, StoreError } from './errors.ts';
import { observed, type Seen } from './observe.ts';
import { type Done, done, type Refused, refused } from './outcome.ts';
import type {
  ClaimExpiry,
  Columns,
  Row,
  RowRef,
  SqlDialect,
  SqlResult,
  SqlSession,
  SqlStatement,
} from './ports.ts';

export const CLAIM = { guard: 'unique-claim', step: 'claim' } as const;
const RENEW = { guard: 'unique-claim', step: 'renew' } as const;
const RELEASE = { guard: 'unique-claim', step: 'release' } as const;
const SWEEP = { guard: 'unique-claim', step: 'sweep' } as const;

export interface Claim extends RowRef {
  /**
   * Stored beside the key: who claims it, and for what. A takeover replaces these columns and no others, so give the
   * same ones in every claim of the table.
   */
  readonly values: Columns;
  /** Ends the claim by itself. Absent: it stays until it is released, and nothing ends it when its holder dies. */
  readonly expiry?: ClaimExpiry;
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
 * Claims `key` by inserting it, or by taking over a claim whose lease is over: of many racers one is `done`, the others
 * are told who holds it.
 *
 * `key` must have a unique constraint. Any unique constraint of the table refuses, so a second one claims
 * a second thing with the same row. A racer that meets an uncommitted claim waits until that one commits or
 * rolls back.
 *
 * With `expiry` the claim is a lease. The store's clock ends it, so the holder counts `leaseMs` from *before* it sent the
 * claim: the answer may have been long on its way, and whoever counts from there believes to hold what is another's
 * already. A holder that is stalled past its lease may still be at work beside its successor; `renewClaim` and
 * `releaseClaim` tell it (`fenced`), its effects elsewhere nobody stops. Give each claim an owner of its own, such as a
 * UUID: under one name, a stalled holder and its successor are the same.
 *
 * Cost: one statement when it wins, two when it loses. Three to take over, and four to lose to another who does; inside
 * a transaction on PostgreSQL two more of each, a savepoint.
 *
 * @throws StoreError  Under REPEATABLE READ a lost race is `SERIALIZATION_FAILURE` on PostgreSQL, and the holder may
 *   be invisible on MySQL. `DEADLOCK` on MySQL where several waited for a claim that was then rolled back or released,
 *   or met in transactions at one whose lease is over: all but one of them (`transactWithRetry` tries again).
 * @throws MisuseError  `leaseMs`, or the expiry's column is one of the others. Nothing was sent.
 * @see Gray and Cheriton, "Leases" (1989)
 */
export function claimUnique(sql: SqlSession, claim: Claim): Promise<Done<void> | ClaimHeld> {
  return observed(CLAIM, sql.dialect.name, insertOrTakeOver, sql, claim);
}

async function insertOrTakeOver(
  sql: SqlSession,
  claim: Claim,
  seen: Seen | undefined,
): Promise<Done<void> | ClaimHeld> {
  const { expiry } = claim;
  requireClaim(claim);
  if (await tookEffect(sql, sql.dialect.claim(claim))) {
    seen?.claimed({ takeover: false });
    return done(undefined);
  }
  const first = await readHolder(sql, claim);
  if (expiry === undefined || !first.leaseIsOver) return held(first.row);
  // It may have been renewed, released, swept or taken over since it was read: the statement looks again.
  if (await tookOver(sql, sql.dialect.takeOverClaim({ ...claim, expiry }))) {
    seen?.claimed({ takeover: true });
    return done(undefined);
  }
  return held((await readHolder(sql, claim)).row);
}

/** @throws MisuseError */
export function requireClaim({ key, values, expiry }: Claim): void {
  if (expiry === undefined) return;
  requireLease(expiry);
  if (expiry.column in key || expiry.column in values) {
    throw new MisuseError(`${expiry.column} is set by the store, and cannot be given`);
  }
}

export const held = (holder: Row | undefined): ClaimHeld => ({ ...refused('in-progress'), holder });

const LEASE_IS_OVER = 'pawl_lease_is_over';

/**
 * Reads before it takes over, and does not try the takeover at once: on MySQL a refused INSERT leaves a shared lock on the
 * row until the transaction ends, and two losers who both go on to an UPDATE are a deadlock, each time that anybody
 * loses. A plain read locks nothing.
 */
async function readHolder(sql: SqlSession, claim: Claim): Promise<FoundHolder> {
  return holderOf(claim, await sql.execute(holderStatement(sql.dialect, claim)));
}

export interface FoundHolder {
  readonly row: Row | undefined;
  readonly leaseIsOver: boolean;
}

export function holderStatement(dialect: SqlDialect, { table, key, expiry }: Claim): SqlStatement {
  return dialect.readClaim({ table, key, lease: expiry && { column: expiry.column, overAs: LEASE_IS_OVER } });
}

/** What `holderStatement` has found. */
export function holderOf({ expiry }: Claim, { rows }: SqlResult): FoundHolder {
  const [found] = rows;
  if (found === undefined || expiry === undefined) return { row: found, leaseIsOver: false };
  const { [LEASE_IS_OVER]: over, ...row } = found;
  // A boolean or 0 and 1; null where the claim never ends.
  return { row, leaseIsOver: Number(over) === 1 };
}

/** The new row may meet another unique constraint. That refuses it, and must not end the caller's transaction. */
async function tookOver(sql: SqlSession, statement: SqlStatement): Promise<boolean> {
  const savepoint = 'inTransaction' in sql ? sql.dialect.savepoint : undefined;
  if (savepoint !== undefined) await sql.execute(savepoint.set);
  const took = await tookEffect(sql, statement);
  if (savepoint !== undefined) await sql.execute(took ? savepoint.release : savepoint.rollBack);
  return took;
}

async function tookEffect(sql: SqlSession, statement: SqlStatement): Promise<boolean> {
  try {
    const { affectedRows } = await sql.execute(statement);
    return affectedRows === 1;
  } catch (error) {
    if (error instanceof StoreError && error.code === 'DUPLICATE_KEY') return false;
    throw error;
  }
}

/** A claim, and who must still hold it. */
export interface OwnedClaim extends RowRef {
  /** What `values` stored of the owner. */
  readonly owner: Columns;
}

/**
 * Begins the lease anew: it ends `leaseMs` after the store's time now, or earlier than before where that is shorter. The
 * holder counts from before it sent the renewal. Renew one after another: of two in flight the one sent first may be
 * applied last.
 *
 * A lease that is over may still be renewed while nobody has taken the claim over: nobody else has held it then.
 *
 * `fenced`: the claim is not the owner's any more; it was taken over, released or swept. Nothing was changed.
 *
 * Cost: one statement.
 *
 * @throws StoreError  `CONNECTION_LOST`, `effect: 'unknown'`: count on the old lease alone. `DEADLOCK` on MySQL, beside a
 *   sweep; renew again.
 * @throws MisuseError  `leaseMs`, or an owner without columns. Nothing was sent.
 */
export function renewClaim(
  sql: SqlSession,
  claim: OwnedClaim & { readonly expiry: ClaimExpiry },
): Promise<Done<void> | Refused<'fenced'>> {
  return observed(RENEW, sql.dialect.name, renewed, sql, claim);
}

async function renewed(
  sql: SqlSession,
  claim: OwnedClaim & { readonly expiry: ClaimExpiry },
): Promise<Done<void> | Refused<'fenced'>> {
  requireOwner(claim);
  requireLease(claim.expiry);
  const { affectedRows } = await sql.execute(sql.dialect.renewClaim(claim));
  return affectedRows === 0 ? refused('fenced') : done(undefined);
}

/**
 * Gives a claim back, if `owner` still holds it; also when its lease is over and nobody has taken it over.
 *
 * `fenced`: it is not (or no longer) the owner's, and was left alone.
 *
 * Cost: one statement.
 *
 * @throws StoreError
 * @throws MisuseError  An owner without columns. Nothing was sent.
 */
export function releaseClaim(sql: SqlSession, claim: OwnedClaim): Promise<Done<void> | Refused<'fenced'>> {
  return observed(RELEASE, sql.dialect.name, released, sql, claim);
}

async function released(sql: SqlSession, claim: OwnedClaim): Promise<Done<void> | Refused<'fenced'>> {
  requireOwner(claim);
  const { affectedRows } = await sql.execute(sql.dialect.releaseClaim(claim));
  return affectedRows === 0 ? refused('fenced') : done(undefined);
}

export interface ClaimSweep {
  readonly table: string;
  /** The column of the claims' expiry. Index it, or every sweep reads, and on MySQL may lock, the whole table. */
  readonly column: string;
  /** Most claims to delete, at least 1. */
  readonly limit: number;
}

/**
 * Deletes claims whose lease is over, those that ended first before the others, and answers how many. A claim that was
 * renewed or taken over meanwhile is not deleted. No claim needs it in order to end: it keeps the table small.
 *
 * On PostgreSQL it passes over rows that others hold; on MySQL it waits for them, as long as the session allows.
 *
 * Cost: one statement.
 *
 * @throws StoreError  On MySQL `LOCK_TIMEOUT`, or a `DEADLOCK` with a renewal or takeover; nothing was deleted, so sweep
 *   again later.
 * @throws MisuseError  `limit`. Nothing was sent.
 */
export function sweepClaims(sql: SqlSession, sweep: ClaimSweep): Promise<number> {
  return observed(SWEEP, sql.dialect.name, swept, sql, sweep);
}

async function swept(sql: SqlSession, sweep: ClaimSweep): Promise<number> {
  requireLimit(sweep.limit);
  const { affectedRows } = await sql.execute(sql.dialect.sweepExpired(sweep));
  return affectedRows;
}

function requireOwner({ owner }: OwnedClaim): void {
  if (Object.keys(owner).length === 0) {
    throw new MisuseError('a claim is renewed and released by its owner: name it');
  }
}

/** A hundred years. A date that MySQL cannot hold would become NULL outside its strict mode, which never ends. */
const MAX_LEASE_MS = 3_155_760_000_000;

function requireLease({ leaseMs }: ClaimExpiry): void {
  if (!Number.isInteger(leaseMs) || leaseMs < 1 || leaseMs > MAX_LEASE_MS) {
    throw new MisuseError(`leaseMs must be a whole number from 1 to ${MAX_LEASE_MS}, got ${leaseMs}`);
  }
}
