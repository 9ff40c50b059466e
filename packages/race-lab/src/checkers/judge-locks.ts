import { type LockAnswer, type LockSection, longestStandstill } from '../history/lock-sections.ts';
import { checkAcknowledged } from './acknowledged.ts';
import { checkCaptures } from './captures.ts';
import { checkKeptAsTold } from './coupons/kept-as-told.ts';
import { checkOnceEach } from './coupons/once-each.ts';
import { checkOrder } from './coupons/order.ts';
import { checkStock } from './coupons/stock.ts';
import { checkMoneyAndBills } from './money-and-bills.ts';
import { checkRefunds } from './refunds.ts';
import { checkRefusals } from './refusals.ts';
import { checkStatusChanges } from './status-changes.ts';
import type { Checker, CouponChecker, Finding } from './violation.ts';

/** What must hold of coupons whatever happens to the lock over them: all but that everybody is served. */
export const faultyCouponCheckers: readonly CouponChecker[] = [
  checkStock,
  checkOnceEach,
  checkKeptAsTold,
  checkOrder,
];

/** The same of purchases. */
export const faultyPurchaseCheckers: readonly Checker[] = [
  checkCaptures,
  checkMoneyAndBills,
  checkRefunds,
  checkAcknowledged,
  checkRefusals,
  checkStatusChanges,
];

/**
 * Least share of those who asked that must have got what they wanted, or the run says nothing. It is small, because a lock
 * that does not wait for its Redis turns away everybody until that is back.
 */
export const MIN_OK_SHARE = 0.1;

/** I14: the lock never stands still for longer than `limitMs` while somebody waits for it. */
export function checkStandstill(
  sections: readonly LockSection[],
  turnedAway: readonly LockAnswer[],
  limitMs: number,
): Finding[] {
  const longest = longestStandstill(sections, turnedAway);
  if (longest === null) return [];
  const ms = (longest.untilUs - longest.fromUs) / 1000;
  if (ms <= limitMs) return [];
  const detail = `nobody had the lock for ${ms.toFixed(0)} ms, while request ${longest.requestId} waited for it (at most ${limitMs} ms are allowed)`;
  return [{ invariant: 'I14', detail }];
}
