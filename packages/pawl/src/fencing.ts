import { MisuseError } from './errors.ts';
import { observed } from './observe.ts';
import { type Done, done, type Refused, refused } from './outcome.ts';
import type { Columns, LockMode, RowRef, SqlSession, SqlTransaction } from './ports.ts';

const REGISTER = { guard: 'fencing', step: 'register' } as const;
const UPDATE = { guard: 'fencing', step: 'update' } as const;
const VERIFY = { guard: 'fencing', step: 'verify' } as const;

/** A row that one section at a time may change, and the token of the section. */
export interface Fence extends RowRef {
  /**
   * `column` holds the token of the section that registered last: a `BIGINT NOT NULL DEFAULT 0` (a row with NULL in it lets
   * nobody register). `token` is a whole number from 1 to 2^53 − 1, greater than those of all sections that were let in before.
   */
  readonly fence: { readonly column: string; readonly token: number };
}

export interface FenceRegistration extends Fence {
  /** What the row must hold besides. */
  readonly expect?: Columns;
}

export interface FencedUpdate extends Fence {
  readonly set: Columns;
  /** What the row must hold besides. */
  readonly expect?: Columns;
  /** A column to count up by one: the version, where somebody else relies on an optimistic lock. */
  readonly increment?: string;
}

/**
 * Puts the token of a section of a lock into the row that the section is about, so that no section before it can change the row
 * any more.
 *
 * It must be the section's **first** statement, before it reads anything, and be committed before the reading begins; or it is the
 * first statement of the very transaction that reads and writes, which then holds the row until it ends. A token that is
 * checked only when something is written comes too late:
 *
 *     B (token 5) reads 10, and stops for longer than its lease
 *     C (token 6) reads 10
 *     B goes on and writes 9; the row has seen no token but 5, so it takes it
 *     C writes 9; 6 is greater, so the row takes that too, and one of the two is lost
 *
 * Had C registered before it read, B would be refused.
 *
 * `fenced`: the row carries a token that is not lower, so somebody else has been let in since, or somebody has used the same
 * token. Also who sends it again after its answer was lost is refused by itself. `wrong-state`: there is no such row, or it
 * does not hold `expect`; nothing was registered.
 *
 * It protects the row only where every writer writes by `fencedUpdate`, and other rows only with `verifyFence`; and it undoes
 * nothing: what an earlier section did elsewhere (an e-mail, a charge) stands. With `expect`, a section can keep others from
 * registering while it does such a thing: it takes the row out of the state that all expect first.
 *
 * Cost: one statement, and the commit of its transaction; one more statement where it is refused.
 *
 * @throws StoreError  `effect: 'unknown'`: it may be registered; nothing was read, so try with a new token. In a transaction
 *   at REPEATABLE READ or above, `SERIALIZATION_FAILURE` where others are refused as `fenced`.
 * @throws MisuseError  The token is no whole number from 1 to 2^53 − 1, or `key` or `expect` names its column. Nothing was
 *   sent.
 * @see Kleppmann, "How to do distributed locking" (2016)
 */
export function registerFence(
  sql: SqlSession,
  registration: FenceRegistration,
): Promise<Done<void> | Refused<'fenced' | 'wrong-state'>> {
  return observed(REGISTER, sql.dialect.name, registered, sql, registration);
}

async function registered(
  sql: SqlSession,
  registration: FenceRegistration,
): Promise<Done<void> | Refused<'fenced' | 'wrong-state'>> {
  const { table, key, fence, expect = {} } = registration;
  requireFence(fence, { ...key, ...expect });
  const { affectedRows } = await sql.execute(sql.dialect.raiseFence({ table, key, expect, ...fence }));
  if (affectedRows > 0) return done(undefined);
  return refused((await lookAtFence(sql, registration, 'update')) >= fence.token ? 'fenced' : 'wrong-state');
}

/**
 * Changes the row only while it carries the token of this section, which must have been registered before anything was read
 * (`registerFence`).
 *
 * `fenced`: a later section has registered since. What this one has read may be worthless, so it must end. `wrong-state`:
 * there is no such row, it does not hold `expect`, or the token was never registered.
 *
 * Cost: one statement, and the commit of its transaction; one more statement where it is refused.
 *
 * @throws StoreError  In a transaction at REPEATABLE READ or above, `SERIALIZATION_FAILURE` where others are refused as
 *   `fenced`.
 * @throws MisuseError  The token is no whole number from 1 to 2^53 − 1; `key`, `set`, `expect` or `increment` names its column, or
 *   nothing is changed. Nothing was sent.
 * @see Kleppmann, "How to do distributed locking" (2016)
 */
export function fencedUpdate(
  sql: SqlSession,
  update: FencedUpdate,
): Promise<Done<void> | Refused<'fenced' | 'wrong-state'>> {
  return observed(UPDATE, sql.dialect.name, updated, sql, update);
}

async function updated(
  sql: SqlSession,
  update: FencedUpdate,
): Promise<Done<void> | Refused<'fenced' | 'wrong-state'>> {
  const { table, key, fence, expect = {}, set, increment } = update;
  requireFence(fence, { ...key, ...expect, ...set });
  if (increment === fence.column || (increment !== undefined && increment in set)) {
    throw new MisuseError(`${increment} is counted up, and cannot be set too`);
  }
  if (increment === undefined && Object.keys(set).length === 0) {
    throw new MisuseError('a fenced update must set something, or count something up');
  }
  const carried = { ...expect, [fence.column]: fence.token };
  const statement = sql.dialect.conditionalUpdate({ table, key, expect: carried, set, increment });
  const { affectedRows } = await sql.execute(statement);
  if (affectedRows > 0) return done(undefined);
  return refused((await lookAtFence(sql, update, 'update')) > fence.token ? 'fenced' : 'wrong-state');
}

/**
 * Makes sure that the row still carries the token of this section, and that nobody registers another until the transaction has
 * ended: for a section whose writes go to other rows. They are committed only while the section is the last.
 *
 * The refusals are those of `fencedUpdate`; roll back then.
 *
 * Verify at the end of the transaction, so that the shared lock is short. Who changes the row itself uses `fencedUpdate`
 * instead: a shared lock that is followed by a change may be a deadlock on MySQL, when somebody waits to register meanwhile.
 *
 * Cost: one statement. It waits for others who are changing the row, as long as the session allows.
 *
 * @throws StoreError  `DEADLOCK`, `LOCK_TIMEOUT`. The transaction is of no further use. At REPEATABLE READ or above,
 *   `SERIALIZATION_FAILURE` where others are refused as `fenced`.
 * @throws MisuseError  The token is no whole number from 1 to 2^53 − 1. Nothing was sent.
 * @see Kleppmann, "How to do distributed locking" (2016)
 */
export function verifyFence(
  transaction: SqlTransaction,
  fenced: Fence,
): Promise<Done<void> | Refused<'fenced' | 'wrong-state'>> {
  return observed(VERIFY, transaction.dialect.name, verified, transaction, fenced);
}

async function verified(
  transaction: SqlTransaction,
  fenced: Fence,
): Promise<Done<void> | Refused<'fenced' | 'wrong-state'>> {
  const { token } = fenced.fence;
  requireFence(fenced.fence, {});
  const carried = await lookAtFence(transaction, fenced, 'share');
  if (carried === token) return done(undefined);
  return refused(carried > token ? 'fenced' : 'wrong-state');
}

/**
 * The token that the row carries; one that is lower than all where there is none. Read with a lock: on MySQL a plain read of
 * a transaction at REPEATABLE READ would show a row that is no longer so. Not shared where the caller may go on to change
 * the row: with somebody waiting for it, that would be a deadlock.
 */
async function lookAtFence(
  sql: SqlSession,
  { table, key, fence: { column } }: Fence,
  mode: LockMode,
): Promise<number> {
  const look = { table, key, expect: {}, columns: [column], mode, noWait: false };
  const { rows } = await sql.execute(sql.dialect.lockRow(look));
  // Text where the driver gives integers of 64 bits so. As tokens end below 2^53, no rounding makes two of them equal.
  return Number(rows[0]?.[column] ?? 0);
}

function requireFence({ column, token }: Fence['fence'], others: Columns): void {
  if (!Number.isSafeInteger(token) || token < 1) {
    throw new MisuseError(`a fencing token must be a whole number from 1 to 2^53 − 1, got ${token}`);
  }
  if (column in others) throw new MisuseError(`${column} is the fence's, and cannot be given twice`);
}
