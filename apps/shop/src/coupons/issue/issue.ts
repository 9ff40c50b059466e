import { type Done, done, type Refused } from 'pawl';
import { noTrace, type Trace } from '../../trace.ts';
import type { Coupon } from '../coupon.ts';
import { admit, dayOf } from '../rules.ts';
import { type CouponStrategyName, couponStrategyNames, strategies } from './index.ts';
import { look } from './look.ts';
import type { Issued, IssueRefusal, IssueStrategy, IssueTools } from './strategy.ts';

/** A member's request for a coupon. */
export interface CouponRequest {
  readonly couponId: string;
  readonly memberId: number;
  readonly requestId: string;
  readonly strategy: CouponStrategyName;
  readonly trace: Trace;
}

/** What is wrong with a request before anything is taken. */
export type CouponObjection = 'coupon-not-found' | 'strategy-unavailable';

export type Issues = (
  request: CouponRequest,
) => Promise<
  | Done<Issued & { readonly coupon: Coupon }>
  | Refused<IssueRefusal>
  | { readonly outcome: 'objection'; readonly objection: CouponObjection }
>;

/** Hands out coupons: checks what does not depend on who else asks, then lets the chosen strategy run. */
export function issues(tools: IssueTools & { readonly serverName: string }): Issues {
  // Each is made once, because `mutex` keeps its lines for as long as the process lives.
  const ready = new Map<CouponStrategyName, ReturnType<IssueStrategy>>();
  for (const name of couponStrategyNames) {
    const { strategy, needs } = strategies[name];
    if (needs === 'redis' && tools.redis === undefined) continue;
    ready.set(name, strategy(tools));
  }

  return async ({ couponId, memberId, requestId, strategy, trace }) => {
    const issue = ready.get(strategy);
    if (issue === undefined) return { outcome: 'objection', objection: 'strategy-unavailable' };
    // What the strategy reads itself is what it acts on, and what is traced.
    const seen = await look(tools.db, tools.sql, { couponId, memberId, trace: noTrace });
    if (seen === undefined) return { outcome: 'objection', objection: 'coupon-not-found' };
    // What is left, and what the member has, are the strategy's to look at.
    const admitted = admit(seen);
    if (admitted.outcome !== 'done') return admitted;
    const outcome = await issue({
      couponId,
      memberId,
      day: dayOf(seen),
      actor: { strategy, instance: tools.serverName, requestId },
      trace,
    });
    if (outcome.outcome !== 'done') return outcome;
    return done({ ...outcome.value, coupon: { ...seen.coupon, remaining: outcome.value.remaining } });
  };
}
