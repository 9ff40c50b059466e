import type { Issues } from '../coupons/issue/issue.ts';
import type { Came, Operations } from './operations.ts';

/** The same issues of coupons, each with its line in the log, and counted. */
export function observedIssues(issue: Issues, operations: Operations): Issues {
  return (request) => {
    const { couponId, strategy, requestId } = request;
    const about = { coupon: couponId, reqId: requestId };
    return operations.run({ strategy, about }, () => issue(request), cameOf);
  };
}

function cameOf(outcome: Awaited<ReturnType<Issues>>): Came {
  switch (outcome.outcome) {
    case 'done':
      return { outcome: 'done' };
    case 'objection':
      return { outcome: 'refused', reason: outcome.objection };
    case 'refused':
      return { outcome: 'refused', reason: outcome.reason };
  }
}
