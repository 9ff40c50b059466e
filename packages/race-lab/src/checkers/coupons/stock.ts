import { byDay, rightfulAskers } from '../../history/campaign.ts';
import { byCampaign, type CampaignEvidence } from '../../history/coupon-evidence.ts';
import type { StockSnapshot } from '../../history/coupon-rows.ts';
import type { CouponChecker } from '../violation.ts';

/**
 * I4: what is left is never below zero; in every snapshot and in the end what is left and what was issued are together what
 * there was; no day's quota is exceeded, and nothing is issued before the opening, by the rows' moments and by those at which
 * the clients were told. When as many eligible members asked as could have one, all are issued in the end. A counter that is
 * kept beside the rows is there once one was issued, has nothing reserved any more, and says what the rows say.
 */
export const checkStock: CouponChecker = (evidence) =>
  byCampaign(evidence).flatMap((one) => {
    const { couponId } = one.campaign;
    return [...duringRace(one), ...inTheEnd(one), ...tooEarly(one), ...ofDays(one), ...ofCounter(one)].map(
      (detail) => ({
        invariant: 'I4' as const,
        couponId,
        detail: `coupon ${couponId}: ${detail}`,
      }),
    );
  });

/** The counts of one campaign are told once, with the first and the worst, however many snapshots show them. */
function duringRace({ campaign: { initial }, snapshots }: CampaignEvidence): string[] {
  const details: string[] = [];
  const [start] = snapshots;
  if (start === undefined) return details;
  const said = ({ askedAtUs, remaining, issued }: StockSnapshot) =>
    `${remaining} left and ${issued} issued at +${((askedAtUs - start.askedAtUs) / 1000).toFixed(0)} ms`;

  const negative = snapshots.filter(({ remaining }) => remaining < 0);
  if (negative[0] !== undefined) {
    details.push(
      `below zero in ${negative.length} of ${snapshots.length} snapshots, first ${said(negative[0])}`,
    );
  }
  const wrongBy = ({ remaining, issued }: StockSnapshot) => Math.abs(remaining + issued - initial);
  const wrong = snapshots.filter((snapshot) => wrongBy(snapshot) > 0);
  if (wrong[0] !== undefined) {
    const worst = wrong.reduce((most, snapshot) => (wrongBy(snapshot) > wrongBy(most) ? snapshot : most));
    details.push(
      `${wrong.length} of ${snapshots.length} snapshots are not ${initial} together, first ${said(wrong[0])}, worst ${said(worst)}`,
    );
  }
  return details;
}

function inTheEnd(one: CampaignEvidence): string[] {
  const { campaign, row, issued } = one;
  const { initial, dailyQuota } = campaign;
  if (row === undefined) return ['the shop does not know it'];
  const details: string[] = [];
  if (row.numberOfCoupons !== initial) {
    details.push(`the shop has ${row.numberOfCoupons} in all, not ${initial}`);
  }
  if (row.remaining < 0) details.push(`${row.remaining} are left in the end`);
  if (row.remaining + issued.length !== initial) {
    details.push(`${row.remaining} left and ${issued.length} issued in the end are not ${initial} together`);
  }
  if (issued.length > initial) details.push(`oversold: ${issued.length} of ${initial} were issued`);
  const limit = Math.min(initial, dailyQuota ?? initial);
  const asked = rightfulAskers(one).length;
  if (asked >= limit && issued.length < limit) {
    details.push(
      `undersold: ${issued.length} of ${limit} were issued, though ${asked} eligible members asked`,
    );
  }
  return details;
}

/** What the rows say is not said once more of the answers. */
function tooEarly({ campaign: { opening }, answers, issued }: CampaignEvidence): string[] {
  if (opening === null) return [];
  const { atMs, atUs, uncertaintyUs } = opening;
  const details: string[] = [];
  const early = issued.filter(({ issuedAtMs }) => issuedAtMs < atMs);
  if (early.length > 0) {
    const ms = (atMs - Math.min(...early.map(({ issuedAtMs }) => issuedAtMs))).toFixed(1);
    details.push(`${early.length} were issued before the opening, the first ${ms} ms before it`);
  }
  const known = new Set(early.map(({ requestId }) => requestId));
  const told = answers
    .filter(({ result, answeredAtUs, requestId }) => {
      return result === 'ok' && answeredAtUs < atUs - uncertaintyUs && !known.has(requestId);
    })
    .sort((a, b) => a.answeredAtUs - b.answeredAtUs);
  if (told[0] !== undefined) {
    const ms = ((atUs - told[0].answeredAtUs) / 1000).toFixed(1);
    details.push(
      `${told.length} were told before the opening that they have one, the first ${ms} ms before it (${told[0].requestId})`,
    );
  }
  return details;
}

function ofDays({ campaign, row, issued }: CampaignEvidence): string[] {
  const { dailyQuota } = campaign;
  if (dailyQuota === null) return [];
  const details: string[] = [];
  const days = byDay(campaign, issued);
  for (const [day, { length }] of days) {
    if (length > dailyQuota)
      details.push(`${length} were issued on ${day}, the quota of a day is ${dailyQuota}`);
  }
  if (row === undefined) return details;
  const counted = row.quotaDay === null ? 0 : (days.get(row.quotaDay)?.length ?? 0);
  if (row.quotaUsed !== counted) {
    details.push(
      `the shop counts ${row.quotaUsed} issues of ${row.quotaDay ?? 'no day'}, there are ${counted}`,
    );
  }
  return details;
}

function ofCounter({ counter, row, answers }: CampaignEvidence): string[] {
  if (counter === undefined) return [];
  const { remaining, quotaDay, quotaUsed, reserved } = counter;
  const details: string[] = [];
  if (reserved !== 0) details.push(`${reserved} reservations have no outcome in the end`);
  if (remaining === null) {
    const granted = answers.filter(({ result }) => result === 'ok').length;
    if (granted > 0) details.push(`there is no counter, though ${granted} were granted by it`);
    return details;
  }
  if (row === undefined) return details;
  if (remaining !== row.remaining) {
    details.push(`the counter says that ${remaining} are left, the row ${row.remaining}`);
  }
  // Somebody who was refused may have begun a day in the counter that has no issue in the rows.
  if (quotaDay !== null && quotaDay === row.quotaDay && quotaUsed !== row.quotaUsed) {
    details.push(`the counter counts ${quotaUsed} issues of ${quotaDay}, the row ${row.quotaUsed}`);
  }
  return details;
}
