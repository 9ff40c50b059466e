import { byMember, isEligible, leftOver, rightfulAskers } from '../../history/campaign.ts';
import type { CouponAnswer } from '../../history/coupon-answer.ts';
import { byCampaign, type Campaign, type CampaignEvidence } from '../../history/coupon-evidence.ts';
import type { CouponChecker, CouponViolation } from '../violation.ts';

/**
 * I0, the mark, for a race without faults: every eligible member who asked has one, or nothing was left in the end (of the
 * stock, or of the day's quota); nobody was granted two, nobody one who may not have any; and everything else is a refusal
 * for a reason that there can be.
 *
 * So a refusal that asks to try again (contended, lock-timeout) is one only for whom it did no harm. A 5xx and a missing
 * answer are violations, because without faults every outcome is known.
 */
export const checkGrants: CouponChecker = (evidence) => byCampaign(evidence).flatMap(grantsOf);

function grantsOf(one: CampaignEvidence): CouponViolation[] {
  const { campaign, answers, issued } = one;
  const { couponId } = campaign;
  const left = leftOver(one);
  const rightful = new Set(rightfulAskers(one));
  const owners = new Set(issued.map(({ memberId }) => memberId));
  return [...byMember(answers)].flatMap(([memberId, ofMember]) => {
    const details: string[] = [];
    const granted = ofMember.filter(({ result }) => result === 'ok');
    const unknown = ofMember.filter(({ result }) => result === 'info');
    const unfounded = ofMember.filter(
      ({ result, code }) => result === 'fail' && !canBeReason(code, campaign, memberId),
    );
    if (unknown.length > 0) {
      details.push(`was told neither yes nor no by ${unknown.length} answers (${listed(unknown)})`);
    }
    if (unfounded.length > 0) {
      details.push(`was refused ${unfounded.length} times without a reason (${listed(unfounded)})`);
    }
    if (granted.length > 1) details.push(`was granted ${granted.length} (${listed(granted)})`);
    const hasOne = granted.length > 0 || owners.has(memberId);
    if (hasOne && !isEligible(campaign, memberId)) {
      details.push(`has one, but is not eligible (${listed(ofMember)})`);
    }
    if (left > 0 && rightful.has(memberId) && !hasOne) {
      details.push(`was not granted one, but ${left} were left in the end (${listed(ofMember)})`);
    }
    return details.map((detail) => ({
      invariant: 'I0' as const,
      couponId,
      detail: `coupon ${couponId}: member ${memberId} ${detail}`,
    }));
  });
}

/** Whether somebody who asks as he should can be refused for this reason. */
function canBeReason(code: string | undefined, campaign: Campaign, memberId: number): boolean {
  switch (code) {
    case 'not-open':
      return campaign.opensAtMs !== null;
    case 'not-eligible':
      return !isEligible(campaign, memberId);
    case 'quota-reached':
      return campaign.dailyQuota !== null;
    case 'sold-out':
    case 'already-issued':
    case 'in-progress':
    case 'contended':
    case 'lock-timeout':
    case 'too-many-requests':
      return true;
    default:
      return false;
  }
}

const MOST_LISTED = 5;

function listed(answers: readonly CouponAnswer[]): string {
  const shown = answers.slice(0, MOST_LISTED).map(({ status, code, error, requestId }) => {
    return `${status ?? 'nothing'} ${code ?? error ?? ''}`.trimEnd().concat(` to ${requestId}`);
  });
  if (answers.length > MOST_LISTED) shown.push('…');
  return shown.join(', ');
}
