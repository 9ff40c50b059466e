import {
  type ConflictRetry,
  claimUnique,
  type Done,
  done,
  type Refused,
  refused,
  retryOnConflict,
  transact,
  versionedUpdate,
} from 'pawl';
import type { ShopSql, ShopTransaction } from '../../store/database.ts';
import { dayOf, type Taken, takeOne } from '../rules.ts';
import { type Look, lookAgain } from './look.ts';
import type { Issue, Issued, IssueOutcome, IssueRefusal, IssueRequest } from './strategy.ts';

/** One coupon off the stock: its number, and what is left after it. */
type OneOfStock = Pick<Taken, 'serial' | 'remaining'>;

/** Runs `work` as `transact` does, and marks the commit. */
export async function commit(
  store: ShopSql,
  issue: Issue,
  work: (transaction: ShopTransaction) => Promise<IssueOutcome>,
): Promise<IssueOutcome> {
  const outcome = await transact(store, work);
  if (outcome.outcome === 'done') issue.trace.mark('committed');
  return outcome;
}

/** As `retryOnConflict`, and tells of each attempt after the first. */
export function retryTraced<Result extends IssueOutcome>(
  { trace }: Issue,
  work: () => Promise<Result>,
  retry?: ConflictRetry,
): Promise<Result | Refused<'contended'>> {
  let attempts = 0;
  return retryOnConflict(() => {
    if (attempts++ > 0) trace.retried();
    return work();
  }, retry);
}

/**
 * Sets the stock to what was worked out, and counts the version up, if nobody has since it was seen; then writes the issue
 * down. `contended`: somebody has.
 */
export async function takeVersioned(
  transaction: ShopTransaction,
  issue: Issue,
  seen: Look,
  taken: Taken,
): Promise<Done<Issued> | Refused<'contended' | 'already-issued'>> {
  const written = await versionedUpdate(transaction, {
    table: 'coupon',
    key: { id: issue.couponId },
    version: { column: 'version', value: seen.version },
    set: stockColumns(taken),
  });
  if (written.outcome !== 'done') return written;
  issue.trace.mark('wrote');
  return claimIssue(transaction, issue, taken, seen.now);
}

/** The columns of a coupon's stock after an issue. */
export function stockColumns({ remaining, quotaDay, quotaUsed }: Taken) {
  return { remaining, quota_day: quotaDay, quota_used: quotaUsed };
}

/**
 * Reads the stock, decides, and writes down what it has worked out: without a guard, and nothing claims that the member
 * gets only one. Each of two that read the same stock writes the same number back (a lost update), and both have one.
 *
 * It is safe only while something else keeps the others away until it has committed.
 */
export function readModifyWrite(store: ShopSql, issue: Issue): Promise<IssueOutcome> {
  return commit(store, issue, (transaction) => readThenWrite(transaction, issue));
}

/** The same in a transaction of the caller. */
export async function readThenWrite(transaction: ShopTransaction, issue: Issue): Promise<IssueOutcome> {
  const seen = await lookAgain(transaction, issue);
  const taken = takeOne(seen);
  if (taken.outcome !== 'done') return taken;
  await overwriteStock(transaction, issue, taken.value);
  const { coupon_id, member_id, ...rest } = issueRow(issue, taken.value, seen.now);
  await transaction.trx
    .insertInto('issued_coupon')
    .values({ coupon_id, member_id, claimed_by: null, ...rest })
    .execute();
  return issuedOutcome(taken.value, seen.now);
}

/** Sets the stock to what was worked out, whatever it is by now. */
export async function overwriteStock(
  { trx }: ShopTransaction,
  { couponId, trace }: Issue,
  taken: Taken,
): Promise<void> {
  await trx
    .updateTable('coupon')
    // Counted up also by strategies that need no version, for those beside them that do.
    .set((row) => ({ ...stockColumns(taken), version: row('version', '+', 1) }))
    .where('id', '=', couponId)
    .execute();
  trace.mark('wrote');
}

/**
 * Takes one off the stock in one statement, which asks whether any is left, and writes the issue down. Of the many who do
 * so at once the database lets one after the other through: whoever had to wait asks again (READ COMMITTED).
 *
 * `contended`: the day has changed since the clock was read. Roll back, and look again.
 */
export async function takeGuarded(transaction: ShopTransaction, issue: Issue): Promise<IssueOutcome> {
  const seen = await lookAgain(transaction, issue);
  const expected = takeOne(seen);
  // It may only have become worse since: what is gone stays gone, and a day that has begun is not left again.
  if (expected.outcome !== 'done') return expected;
  const day = dayOf(seen);
  const { numUpdatedRows } = await transaction.trx
    .updateTable('coupon')
    .set((row) => ({
      remaining: row('remaining', '-', 1),
      version: row('version', '+', 1),
      // Before the day: MySQL assigns from left to right, and would compare with the new one.
      quota_used: row
        .case()
        .when('quota_day', '=', day)
        .then(row('quota_used', '+', 1))
        .else(1)
        .end(),
      quota_day: day,
    }))
    .where('id', '=', issue.couponId)
    .where('remaining', '>', 0)
    .where(({ or, eb }) => or([eb('quota_day', 'is', null), eb('quota_day', '<=', day)]))
    .where(({ or, eb }) =>
      or([
        eb('daily_quota', 'is', null),
        eb('quota_day', 'is', null),
        eb('quota_day', '<', day),
        eb('quota_used', '<', eb.ref('daily_quota')),
      ]),
    )
    .executeTakeFirstOrThrow();
  if (numUpdatedRows === 0n) return whyNot(await lookAgain(transaction, issue));
  issue.trace.mark('wrote');
  const { remaining } = await transaction.trx
    .selectFrom('coupon')
    .select('remaining')
    .where('id', '=', issue.couponId)
    .executeTakeFirstOrThrow();
  return claimIssue(
    transaction,
    issue,
    { remaining, serial: seen.coupon.numberOfCoupons - remaining },
    seen.now,
  );
}

/** Why the stock gave nothing; `contended` where nothing is in the way any more. */
function whyNot(seen: Look): Refused<IssueRefusal> {
  const decided = takeOne(seen);
  return decided.outcome === 'done' ? refused('contended') : decided;
}

/**
 * Writes the issue down, and with it claims that the member gets no other. `already-issued`: he has one, or is getting
 * one at this moment; then what was taken off the stock must be rolled back.
 */
export async function claimIssue(
  transaction: ShopTransaction,
  issue: Issue,
  taken: OneOfStock,
  issuedAt: Date,
): Promise<Done<Issued> | Refused<'already-issued'>> {
  const { coupon_id, ...rest } = issueRow(issue, taken, issuedAt);
  const claimed = await claimUnique(transaction, {
    table: 'issued_coupon',
    key: { coupon_id, claimed_by: issue.memberId },
    values: rest,
  });
  return claimed.outcome === 'done' ? issuedOutcome(taken, issuedAt) : refused('already-issued');
}

/** What is written of an issue, but for the claim. */
export function issueRow(
  { couponId, memberId, actor }: IssueRequest,
  { serial }: OneOfStock,
  issuedAt: Date,
) {
  return {
    coupon_id: couponId,
    member_id: memberId,
    serial,
    strategy: actor.strategy,
    instance: actor.instance,
    request_id: actor.requestId,
    issued_at: issuedAt,
  };
}

function issuedOutcome({ serial, remaining }: OneOfStock, issuedAt: Date): Done<Issued> {
  return done({ serial, remaining, issuedAt });
}
