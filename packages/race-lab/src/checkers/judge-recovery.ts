import type { RecoveryEvidence } from '../history/recovery-evidence.ts';
import { checkAcknowledged } from './acknowledged.ts';
import { checkCaptures } from './captures.ts';
import { type Judgement, runCheckers } from './judgement.ts';
import { checkMoneyAndBills } from './money-and-bills.ts';
import { checkRefunds } from './refunds.ts';
import { checkRefusals } from './refusals.ts';
import { checkSameAnswer } from './same-answer.ts';
import { checkSettled } from './settled.ts';
import { checkStatusChanges } from './status-changes.ts';
import type { Violation } from './violation.ts';

/** What must hold of purchases, whatever happens to who makes them: all but that everybody is served at once. */
const recoveryCheckers: readonly ((evidence: RecoveryEvidence) => Violation[])[] = [
  checkCaptures,
  checkMoneyAndBills,
  checkRefunds,
  checkAcknowledged,
  checkRefusals,
  checkSameAnswer,
  checkSettled,
  checkStatusChanges,
];

/** Of the orders, at least so many must have ended as they should, or the run says nothing. */
const MIN_SHARE = 0.5;

/**
 * Judges what became of orders, when everything has come to rest. `pass`: every checker ran and found nothing, and enough orders
 * ended as `expects`.
 */
export function judgeRecovery(evidence: RecoveryEvidence, expects: string): Judgement<Violation> {
  const { violations, crashes } = runCheckers(recoveryCheckers, evidence);
  if (crashes.length > 0) return { verdict: 'unknown', violations, unknownBecause: crashes.join('; ') };
  if (violations.length > 0) return { verdict: 'fail', violations, unknownBecause: null };
  const all = evidence.promises.size;
  const ended = evidence.rows.orders.filter(
    ({ orderId, status }) => status === expects && evidence.promises.has(orderId),
  ).length;
  if (ended > 0 && ended >= all * MIN_SHARE) return { verdict: 'pass', violations, unknownBecause: null };
  const unknownBecause = `only ${ended} of ${all} orders are ${expects}, fewer than ${MIN_SHARE * 100} %`;
  return { verdict: 'unknown', violations, unknownBecause };
}
