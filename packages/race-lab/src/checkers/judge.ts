import { byOrder, type Evidence } from '../history/evidence.ts';
import { checkAcknowledged } from './acknowledged.ts';
import { checkCaptures } from './captures.ts';
import { type Judgement, runCheckers } from './judgement.ts';
import { checkMoneyAndBills } from './money-and-bills.ts';
import { checkOneSuccess } from './one-success.ts';
import { checkRefunds } from './refunds.ts';
import { checkRefusals } from './refusals.ts';
import { checkStatusChanges } from './status-changes.ts';
import type { Checker, Violation } from './violation.ts';

/** What must hold in a purchase race without faults. */
const faultlessPurchaseCheckers: readonly Checker[] = [
  checkOneSuccess,
  checkCaptures,
  checkMoneyAndBills,
  checkRefunds,
  checkAcknowledged,
  checkRefusals,
  checkStatusChanges,
];

export interface JudgeOptions {
  checkers?: readonly Checker[];
  /** Least share of the orders, above 0 and up to 1, of which a request must have been answered `ok` to pass. */
  minOkShare?: number;
}

/**
 * Judges a race. `pass`: every checker ran and found nothing, and enough orders were paid to mean something.
 * `fail`: a violation. `unknown`: a checker threw, or the evidence shows no race.
 *
 * A violation needs no minimum of successes (a strategy that fails everybody has failed), but it needs a race:
 * when no request at all was `ok` and none reached the provider, then the lab's own requests may be what is
 * wrong (every one answered 401, or no server there), and a wrong strategy must not pass for caught.
 *
 * @throws RangeError  `minOkShare` is not above 0 and up to 1.
 */
export function judge(evidence: Evidence, options: JudgeOptions = {}): Judgement<Violation> {
  const { checkers = faultlessPurchaseCheckers, minOkShare = 0.5 } = options;
  if (!(minOkShare > 0 && minOkShare <= 1)) {
    throw new RangeError(`minOkShare must be above 0 and up to 1, got ${minOkShare}`);
  }
  const { violations, crashes } = runCheckers(checkers, evidence);
  const unknown = (unknownBecause: string): Judgement<Violation> => ({
    verdict: 'unknown',
    violations,
    unknownBecause,
  });
  if (crashes.length > 0) return unknown(crashes.join('; '));

  const orders = byOrder(evidence.answers);
  const paid = [...orders.values()].filter((ofOrder) => ofOrder.some(({ result }) => result === 'ok')).length;
  const reached = evidence.ledger.some(
    (event) => event.type === 'request' && event.operation === 'confirm' && orders.has(event.orderId ?? ''),
  );
  if (paid === 0 && !reached) {
    return unknown(`no request of ${orders.size} orders was answered 200, and none reached the provider`);
  }
  if (violations.length > 0) return { verdict: 'fail', violations, unknownBecause: null };
  if (paid < orders.size * minOkShare) {
    return unknown(`only ${paid} of ${orders.size} orders were paid, fewer than ${minOkShare * 100} %`);
  }
  return { verdict: 'pass', violations, unknownBecause: null };
}
