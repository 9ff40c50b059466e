import { byCampaign, type CampaignEvidence } from '../../history/coupon-evidence.ts';
import type { IssuedRow } from '../../history/coupon-rows.ts';
import type { CouponChecker } from '../violation.ts';

/** I5: no member has two, and the serial numbers are those from 1 to the number of the issued ones, each once. */
export const checkOnceEach: CouponChecker = (evidence) =>
  byCampaign(evidence).flatMap((one) => {
    const { couponId } = one.campaign;
    return [...members(one), ...serials(one)].map((detail) => ({
      invariant: 'I5' as const,
      couponId,
      detail: `coupon ${couponId}: ${detail}`,
    }));
  });

function members({ issued }: CampaignEvidence): string[] {
  return several(issued, ({ memberId }) => memberId).map(
    ([memberId, rows]) => `member ${memberId} has ${rows.length} (${requests(rows)})`,
  );
}

function serials({ issued }: CampaignEvidence): string[] {
  const details = several(issued, ({ serial }) => serial).map(
    ([serial, rows]) => `serial ${serial} was given ${rows.length} times (${requests(rows)})`,
  );
  const given = new Set(issued.map(({ serial }) => serial));
  const counting = [...given].filter((serial) => serial >= 1);
  // Of distinct numbers, as many as there are, none that is missing up to the highest means that they are 1 … n.
  const highest = Math.max(0, ...counting);
  if (counting.length < highest) {
    let first = 1;
    while (given.has(first)) first++;
    details.push(
      `${highest - counting.length} serials up to ${highest} were not given, the first is ${first}`,
    );
  }
  const low = [...given].filter((serial) => serial < 1);
  if (low.length > 0) details.push(`${low.length} serials are below 1, the lowest is ${Math.min(...low)}`);
  return details;
}

/** Those of whom there are two or more. */
function several<Key>(rows: readonly IssuedRow[], keyOf: (row: IssuedRow) => Key): [Key, IssuedRow[]][] {
  return [...Map.groupBy(rows, keyOf)].filter(([, group]) => group.length > 1);
}

const MOST_LISTED = 5;

function requests(rows: readonly IssuedRow[]): string {
  const shown = rows.slice(0, MOST_LISTED).map(({ requestId, instance }) => `${requestId} on ${instance}`);
  if (rows.length > MOST_LISTED) shown.push('…');
  return shown.join(', ');
}
