import { done } from 'pawl';
import { noTrace, type Trace } from '../../trace.ts';
import { admit, dayOf } from '../rules.ts';
import { type CouponStrategyName, couponStrategyNames, strategies } from './index.ts';
import { look } from './look.ts';
import type { IssueStrategy, IssueTools, NoSuchCoupon, WholeOutcome, WholeStrategy } from './strategy.ts';

/** A member's request for a coupon. */
export interface CouponRequest {
  readonly couponId: string;
  readonly memberId: number;
  readonly requestId: string;
  readonly strategy: CouponStrategyName;
  readonly trace: Trace;
}

/** What is wrong with a request before anything is taken. */
export type CouponObjection = NoSuchCoupon['objection'] | 'strategy-unavailable';

export type Issues = (
  request: CouponRequest,
) => Promise<WholeOutcome | { readonly outcome: 'objection'; readonly objection: CouponObjection }>;

/** Hands out coupons, by the strategy that is chosen. */
export function issues(tools: IssueTools & { readonly serverName: string }): Issues {
  // Each is made once, because some keep their lines for as long as the process lives.
  const ready = new Map<CouponStrategyName, ReturnType<WholeStrategy>>();
  for (const name of couponStrategyNames) {
    const chosen = strategies[name];
    if (chosen.needs === 'redis' && tools.redis === undefined) continue;
    ready.set(name, ('whole' in chosen ? chosen.whole : afterLook(chosen.strategy))(tools));
  }

  return ({ couponId, memberId, requestId, strategy, trace }) => {
    const issue = ready.get(strategy);
    if (issue === undefined) {
      return Promise.resolve({ outcome: 'objection', objection: 'strategy-unavailable' });
    }
    const actor = { strategy, instance: tools.serverName, requestId };
    return issue({ couponId, memberId, actor, trace });
  };
}

/** Looks what does not depend on who else asks, before the strategy runs. */
const afterLook =
  (strategy: IssueStrategy): WholeStrategy =>
  (tools) => {
    const issue = strategy(tools);
    return async (request) => {
      // What the strategy reads itself is what it acts on, and what is traced.
      const seen = await look(tools.db, tools.sql, { ...request, trace: noTrace });
      if (seen === undefined) return { outcome: 'objection', objection: 'coupon-not-found' };
      // What is left, and what the member has, are the strategy's to look at.
      const admitted = admit(seen);
      if (admitted.outcome !== 'done') return admitted;
      const outcome = await issue({ ...request, day: dayOf(seen) });
      if (outcome.outcome !== 'done') return outcome;
      return done({ ...outcome.value, coupon: { ...seen.coupon, remaining: outcome.value.remaining } });
    };
  };
