import { byMember, isEligible, leftOver, mayPrecedeOpening, rightfulAskers } from '../../history/campaign.ts';
import { type CouponAnswer, underWay } from '../../history/coupon-answer.ts';
import { byCampaign, type Campaign, type CampaignEvidence } from '../../history/coupon-evidence.ts';
import type { CouponChecker, CouponViolation } from '../violation.ts';

/**
 * I0, the mark, for a race without faults: every eligible member who asked has one, or nothing was left in the end (of the
 * stock, or of the day's quota); nobody was granted two, nobody one who may not have any; and everything else is a refusal
 * for a reason that there can be.
 *
 * So a refusal that asks to try again (contended, lock-timeout) is one only for who has one in the end: it did him no harm,
 * while who asks once and is told so was turned away, whether or not others took the rest. A 5xx and a missing answer are
 * violations, because without faults every outcome is known.
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
    const hasOne = granted.length > 0 || owners.has(memberId);
    const unfounded = ofMember.filter(
      (answer) => answer.result === 'fail' && !canBeReason(answer, { campaign, ofMember, hasOne }),
    );
    if (unknown.length > 0) {
      details.push(`was told neither yes nor no by ${unknown.length} answers (${listed(unknown)})`);
    }
    if (unfounded.length > 0) {
      details.push(`was refused ${unfounded.length} times without a reason (${listed(unfounded)})`);
    }
    if (granted.length > 1) details.push(`was granted ${granted.length} (${listed(granted)})`);
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

/** The shop's limit of one member's requests, at each instance; it has its default in the lab. */
const MEMBER_LIMIT = 5;
/**
 * For how long a request counts there after it was begun: a second by the shop's clock, and some more for its way from the
 * client until it is begun. In microseconds.
 */
const MEMBER_WINDOW_US = 1_500_000;

/** What a refusal is judged by, besides itself. */
interface Circumstances {
  campaign: Campaign;
  /** Everything that the member was told. */
  ofMember: readonly CouponAnswer[];
  /** He has one in the end. */
  hasOne: boolean;
}

/** Whether somebody who asks as he should can be refused for the reason that the answer gives. */
function canBeReason(answer: CouponAnswer, { campaign, ofMember, hasOne }: Circumstances): boolean {
  switch (answer.code) {
    case 'not-open':
      return mayPrecedeOpening(campaign, answer);
    case 'not-eligible':
      return !isEligible(campaign, answer.memberId);
    case 'quota-reached':
      return campaign.dailyQuota !== null;
    case 'contended':
    case 'lock-timeout':
      return hasOne;
    case 'in-progress':
      return workedOnBeside(answer, ofMember, 0).some(({ code }) => code !== 'in-progress');
    case 'too-many-requests':
      return atTheSameInstance(answer, workedOnBeside(answer, ofMember, MEMBER_WINDOW_US)) >= MEMBER_LIMIT;
    case 'sold-out':
    case 'already-issued':
      return true;
    default:
      return false;
  }
}

/**
 * The member's other requests that were under way together with this one, or begun not longer than `windowUs` before it.
 * What is refused by the limit is not worked on, and not counted by it.
 */
function workedOnBeside(
  answer: CouponAnswer,
  ofMember: readonly CouponAnswer[],
  windowUs: number,
): CouponAnswer[] {
  const { fromUs, untilUs } = underWay(answer);
  return ofMember.filter((other) => {
    if (other === answer || other.code === 'too-many-requests') return false;
    const beside = underWay(other);
    const isPast = beside.untilUs !== null && beside.untilUs < fromUs && beside.fromUs < fromUs - windowUs;
    return !isPast && beside.fromUs <= (untilUs ?? Number.POSITIVE_INFINITY);
  });
}

/** An answer without a name may have been on its way to any instance. */
function atTheSameInstance({ instance }: CouponAnswer, others: readonly CouponAnswer[]): number {
  return others.filter((other) => (other.instance ?? instance) === instance).length;
}

const MOST_LISTED = 5;

function listed(answers: readonly CouponAnswer[]): string {
  const shown = answers.slice(0, MOST_LISTED).map(({ status, code, error, requestId }) => {
    return `${status ?? 'nothing'} ${code ?? error ?? ''}`.trimEnd().concat(` to ${requestId}`);
  });
  if (answers.length > MOST_LISTED) shown.push('…');
  return shown.join(', ');
}
