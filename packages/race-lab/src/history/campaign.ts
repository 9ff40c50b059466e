import { type CouponAnswer, underWay } from './coupon-answer.ts';
import type { Campaign, CampaignEvidence } from './coupon-evidence.ts';
import type { IssuedRow } from './coupon-rows.ts';

export function isEligible({ eligible }: Campaign, memberId: number): boolean {
  return eligible === 'all' || eligible.has(memberId);
}

/** The answers of each member who asked. */
export function byMember(answers: readonly CouponAnswer[]): Map<number, CouponAnswer[]> {
  return Map.groupBy(answers, ({ memberId }) => memberId);
}

/** Whether a request may have been decided before the opening, as far as the clocks can tell. */
export function mayPrecedeOpening({ opening }: Campaign, answer: CouponAnswer): boolean {
  return opening !== null && underWay(answer).fromUs <= opening.atUs + opening.uncertaintyUs;
}

/** The members who may have one and asked for it while it was open, as far as the answers and the clocks show. */
export function rightfulAskers({ campaign, answers }: CampaignEvidence): number[] {
  return [...byMember(answers)].flatMap(([memberId, ofMember]) => {
    const onlyBefore = ofMember.every(
      (answer) => answer.code === 'not-open' && mayPrecedeOpening(campaign, answer),
    );
    return isEligible(campaign, memberId) && !onlyBefore ? [memberId] : [];
  });
}

/**
 * The issues by the local day that they count for. In the order of the serial numbers a day that has begun is not left
 * again: what was decided just before midnight and follows on an issue of the new day counts for that.
 */
export function byDay({ timeZone }: Campaign, issued: readonly IssuedRow[]): Map<string, IssuedRow[]> {
  const dayOf = localDay(timeZone);
  let today = '';
  const inOrder = issued.toSorted((a, b) => a.serial - b.serial || a.issuedAtMs - b.issuedAtMs);
  return Map.groupBy(inOrder, ({ issuedAtMs }) => {
    const day = dayOf(issuedAtMs);
    if (day > today) today = day;
    return today;
  });
}

/** How many could still have been given out in the end, by those who have one. Below zero: too many have. */
export function leftOver({ campaign, issued }: CampaignEvidence): number {
  const left = campaign.initial - issued.length;
  if (campaign.dailyQuota === null) return left;
  const lastDay = [...byDay(campaign, issued).values()].at(-1) ?? [];
  return Math.min(left, campaign.dailyQuota - lastDay.length);
}

/** Tells the day of a moment in a time zone, `yyyy-mm-dd`. */
function localDay(timeZone: string): (atMs: number) => string {
  const format = new Intl.DateTimeFormat('en', {
    timeZone,
    calendar: 'iso8601',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
  });
  return (atMs) => {
    const parts = new Map(format.formatToParts(atMs).map(({ type, value }) => [type, value]));
    return `${parts.get('year')}-${parts.get('month')}-${parts.get('day')}`;
  };
}
