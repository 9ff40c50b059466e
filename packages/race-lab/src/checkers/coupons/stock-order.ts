import { byDay } from '../../history/campaign.ts';
import type { CouponAnswer } from '../../history/coupon-answer.ts';
import type { Campaign, CampaignEvidence } from '../../history/coupon-evidence.ts';
import type { Model } from '../linearizability.ts';
import { type OrderSearch, searchOrderOf, type Told } from './order-search.ts';

interface Issue extends Told {
  what: 'issue';
  /** How many it left; null where the client was not told. */
  left: number | null;
  /** The local day that it counts for; null where no row says it. */
  day: string | null;
}

interface Refusal extends Told {
  what: 'sold-out' | 'quota-reached' | 'not-open';
}

type StockOperation = Issue | Refusal;

interface StockState {
  remaining: number;
  /** The day of the latest issue, and how many it has had. */
  day: string | null;
  usedOfDay: number;
}

/** Whether the answers about a coupon are those of one stock that gives out one after the other. */
export function searchStockOrder(one: CampaignEvidence): OrderSearch {
  return searchOrderOf(stockModel(one.campaign), operationsOf(one), ({ remaining, day, usedOfDay }) => {
    const today =
      one.campaign.dailyQuota === null ? '' : ` and ${usedOfDay} are issued of ${day ?? 'any day'}`;
    return `${remaining} are left${today}`;
  });
}

/** Refusals that say nothing of the stock are left out; so is `not-open`, where the coupon was open all along. */
function operationsOf({ campaign, answers, issued }: CampaignEvidence): StockOperation[] {
  const days = byDay(campaign, issued);
  const dayOf = new Map([...days].flatMap(([day, rows]) => rows.map(({ requestId }) => [requestId, day])));
  return answers.flatMap((answer): StockOperation | [] => {
    const { result, code, requestId, remaining } = answer;
    if (result !== 'fail') {
      return { what: 'issue', left: remaining ?? null, day: dayOf.get(requestId) ?? null, answer };
    }
    if (code === 'not-open' && campaign.opening === null) return [];
    return isAboutStock(code) ? { what: code, answer } : [];
  });
}

function isAboutStock(code: CouponAnswer['code']): code is Refusal['what'] {
  return code === 'sold-out' || code === 'quota-reached' || code === 'not-open';
}

function stockModel({ initial, dailyQuota }: Campaign): Model<StockState, StockOperation> {
  const quota = dailyQuota ?? Number.POSITIVE_INFINITY;
  const issue = (state: StockState, { left, day }: Issue): StockState[] => {
    const remaining = state.remaining - 1;
    const dayBegins = day !== null && day > (state.day ?? '');
    const usedOfDay = dayBegins ? 1 : state.usedOfDay + 1;
    if (remaining < 0 || (left ?? remaining) !== remaining || usedOfDay > quota) return [];
    return [{ remaining, day: dayBegins ? day : state.day, usedOfDay }];
  };
  return {
    initial: { remaining: initial, day: null, usedOfDay: 0 },
    step(state, operation) {
      switch (operation.what) {
        case 'issue':
          return issue(state, operation);
        case 'sold-out':
          return state.remaining === 0 ? [state] : [];
        case 'quota-reached':
          return state.usedOfDay >= quota ? [state] : [];
        case 'not-open':
          return state.remaining === initial ? [state] : [];
      }
    },
    stateKey: ({ remaining, day, usedOfDay }) => `${remaining} ${day} ${usedOfDay}`,
    operationKey: (operation) =>
      operation.what === 'issue' ? `issue ${operation.left} ${operation.day}` : operation.what,
    readsOnly: ({ what }) => what !== 'issue',
    isPast: ({ remaining }, operation) =>
      operation.what === 'issue' && operation.left !== null && operation.left >= remaining,
  };
}
