import { setTimeout as sleep } from 'node:timers/promises';
import { done, refused } from 'pawl';
import type { ShopTransaction } from '../../store/database.ts';
import { ConcurrencyFailure, type Managed, unitOfWork } from '../../store/unit-of-work.ts';
import { type Taken, takeOne } from '../rules.ts';
import { type Look, lookAgain } from './look.ts';
import { takeVersioned } from './steps.ts';
import type { Issue, IssueOutcome, IssueStrategy } from './strategy.ts';

/**
 * The version column with the retry *inside* the unit of work.
 *
 * The mistake: the loop wraps the read and the change, which never fail. The conflict comes at the commit, after the loop
 * is over, and nobody catches it: the request fails although there was a coupon for it.
 */
export const optimisticRetryInside: IssueStrategy = (tools) => async (issue) => {
  const { retryAttempts, retryPauseMs } = tools.settings;
  const outcome = await unitOfWork(tools.sql, managedCoupon(issue), async (load): Promise<IssueOutcome> => {
    for (let attempt = 1; attempt <= retryAttempts; attempt++) {
      try {
        const coupon = await load();
        const taken = takeOne(coupon.seen);
        if (taken.outcome !== 'done') return taken;
        coupon.taken = taken.value;
        const { serial, remaining } = taken.value;
        return done({ serial, remaining, issuedAt: coupon.seen.now });
      } catch (error) {
        if (!(error instanceof ConcurrencyFailure)) throw error;
        issue.trace.retried();
        await sleep(retryPauseMs);
      }
    }
    return refused('contended');
  });
  if (outcome.outcome === 'done') issue.trace.mark('committed');
  return outcome;
};

/** A coupon in a unit of work. */
interface ManagedCoupon {
  readonly seen: Look;
  /** What is to be written at the commit. */
  taken: Taken | undefined;
}

const managedCoupon =
  (issue: Issue) =>
  async (transaction: ShopTransaction): Promise<Managed<ManagedCoupon>> => {
    const seen = await lookAgain(transaction, issue);
    const coupon: ManagedCoupon = { seen, taken: undefined };
    return {
      entity: coupon,
      async flush() {
        if (coupon.taken === undefined) return done(undefined);
        const written = await takeVersioned(transaction, issue, seen, coupon.taken);
        return written.outcome === 'done' ? written : refused('contended');
      },
    };
  };
