import { MisuseError } from './errors.ts';
import { observed } from './observe.ts';
import { type Done, done, type Refused, refused } from './outcome.ts';
import type { Columns, RowRef, SqlSession, SqlTransaction } from './ports.ts';
import { inTypeOf, type Version, type VersionOf, wholeNumber } from './version.ts';

const UPDATE = { guard: 'optimistic-lock', step: 'update' } as const;
const VERIFY = { guard: 'optimistic-lock', step: 'verify' } as const;

export interface VersionCheck<Value extends Version = Version> extends RowRef {
  /** The version that was read. */
  readonly version: { readonly column: string; readonly value: Value };
}

export interface VersionedUpdate<Value extends Version = Version> extends VersionCheck<Value> {
  /** May be empty: see `versionedUpdate`. */
  readonly set: Columns;
}

/**
 * Changes a row only if nobody has changed it since `version` was read, and counts the version up by one. `done` tells
 * the new version, in the type of the old.
 *
 * `contended`: somebody has, or the row is gone. Whatever was computed from the old row is worthless then, so
 * roll back and read again: in a *new* transaction, because under REPEATABLE READ this one would go on seeing
 * the old row for ever (`transactWithRetry` does it).
 *
 * It protects the row only against writers who count the version up too.
 *
 * With an empty `set` it is the forced increment: the version alone changes, so that of all who decide on this row, also
 * where they write others (the order, when its items change), one gets through. `verifyVersion` does not set them
 * against each other.
 *
 * Cost: one statement. It waits for others who are changing the row, as long as the session allows.
 *
 * @throws StoreError
 * @throws MisuseError  The version is no whole number (a number beyond 2^53 has lost digits: let the driver give text
 *   or bigint), or `set` sets it. Nothing was sent.
 * @see Kung and Robinson, "On optimistic methods for concurrency control" (1981)
 * @see Jakarta Persistence, "Lock Modes", on OPTIMISTIC_FORCE_INCREMENT
 */
export function versionedUpdate<Value extends Version>(
  sql: SqlSession,
  update: VersionedUpdate<Value>,
): Promise<Done<{ version: VersionOf<Value> }> | Refused<'contended'>> {
  return observed(UPDATE, sql.dialect.name, updated<Value>, sql, update);
}

async function updated<Value extends Version>(
  sql: SqlSession,
  update: VersionedUpdate<Value>,
): Promise<Done<{ version: VersionOf<Value> }> | Refused<'contended'>> {
  const { column, value } = update.version;
  if (column in update.set) throw new MisuseError(`${column} is counted up, and cannot be set too`);
  const version = wholeNumber(column, value);
  const statement = sql.dialect.conditionalUpdate({
    table: update.table,
    key: update.key,
    expect: { [column]: version },
    set: update.set,
    increment: column,
  });
  const { affectedRows } = await sql.execute(statement);
  return affectedRows === 0 ? refused('contended') : done({ version: inTypeOf(value, version + 1n) });
}

/**
 * Makes sure that a row which was only read still has the `version` that was read, and that nobody changes it until the
 * transaction has ended: for what is decided on one row and written to another. Checked without a lock, it could change
 * before the commit.
 *
 * `contended`: the row has changed, or is gone. As with `versionedUpdate`, roll back and read again in a new
 * transaction.
 *
 * Verify at the end of the transaction, so that the shared lock is short. Others may verify the same row meanwhile. Who
 * verifies a row and then changes it, as another does, meets a deadlock: use `versionedUpdate` there. Two who each
 * verify what the other changes (a write skew) meet one too, and the one who tries again is `contended`
 * (`transactWithRetry`).
 *
 * Cost: one statement. It waits for others who are changing the row, as long as the session allows.
 *
 * @throws StoreError  `DEADLOCK`, `LOCK_TIMEOUT`. The transaction is of no further use.
 * @throws MisuseError  The version is no whole number. Nothing was sent.
 * @see Jakarta Persistence, "Lock Modes", on OPTIMISTIC
 */
export function verifyVersion(
  transaction: SqlTransaction,
  check: VersionCheck,
): Promise<Done<void> | Refused<'contended'>> {
  return observed(VERIFY, transaction.dialect.name, verified, transaction, check);
}

async function verified(
  transaction: SqlTransaction,
  check: VersionCheck,
): Promise<Done<void> | Refused<'contended'>> {
  const { column, value } = check.version;
  const statement = transaction.dialect.lockRow({
    table: check.table,
    key: check.key,
    expect: { [column]: wholeNumber(column, value) },
    columns: [column],
    mode: 'share',
    noWait: false,
  });
  const { rows } = await transaction.execute(statement);
  return rows.length === 0 ? refused('contended') : done(undefined);
}
