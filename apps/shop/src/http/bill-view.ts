import type { Bill } from '../lotto/bill.ts';

/** A bill as its member is shown it. */
export function billView(bill: Bill) {
  return {
    ...bill,
    lottoPublish: { ...bill.lottoPublish, issued_at: bill.lottoPublish.issued_at.toISOString() },
  };
}
