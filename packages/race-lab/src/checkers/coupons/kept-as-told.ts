import type { CouponAnswer } from '../../history/coupon-answer.ts';
import { byCampaign } from '../../history/coupon-evidence.ts';
import type { IssuedRow } from '../../history/coupon-rows.ts';
import type { CouponChecker, CouponViolation } from '../violation.ts';

/**
 * I6: who was told that he has a coupon has it, under the number that he was told. I7: who was definitely refused has none
 * by that request, and nobody has one that he did not ask for.
 */
export const checkKeptAsTold: CouponChecker = (evidence) =>
  byCampaign(evidence).flatMap(({ campaign: { couponId }, answers, issued }) => {
    const rowsBy = Map.groupBy(issued, ({ requestId }) => requestId);
    const violation = (invariant: 'I6' | 'I7', detail: string): CouponViolation => ({
      invariant,
      couponId,
      detail: `coupon ${couponId}: ${detail}`,
    });
    const told = answers.flatMap((answer) => {
      const { result, requestId, memberId, status, code } = answer;
      const rows = rowsBy.get(requestId) ?? [];
      if (result === 'ok' && !rows.some((row) => isAsTold(answer, row))) {
        const serial = answer.serialNumber === undefined ? 'no serial' : `serial ${answer.serialNumber}`;
        const told = `request ${requestId} of member ${memberId} was told ${serial}`;
        return violation('I6', `${told}, but ${rows.length === 0 ? 'left no row' : `has ${said(rows)}`}`);
      }
      if (result === 'fail' && rows.length > 0) {
        const refused = `request ${requestId} of member ${memberId} was refused (${status} ${code})`;
        return violation('I7', `${refused}, but left ${said(rows)}`);
      }
      return [];
    });
    const asked = new Map(answers.map(({ requestId, memberId }) => [requestId, memberId]));
    const unasked = issued.filter(({ requestId, memberId }) => asked.get(requestId) !== memberId);
    return [
      ...told,
      ...unasked.map((row) => violation('I7', `nobody asked for ${said([row])} by request ${row.requestId}`)),
    ];
  });

function isAsTold({ memberId, serialNumber }: CouponAnswer, row: IssuedRow): boolean {
  return row.memberId === memberId && row.serial === serialNumber;
}

function said(rows: readonly IssuedRow[]): string {
  return rows
    .map(({ id, memberId, serial }) => `row ${id} (serial ${serial}, member ${memberId})`)
    .join(', ');
}
