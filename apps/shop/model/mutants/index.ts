import type { Mutant } from '../mutant.ts';
import {
  declineAfterTakeover,
  declineStoredFirst,
  keyPerTry,
  noFence,
  oneKey,
  sentTwice,
} from './attempts.ts';
import { foreignRefunded, keyNotCompared, orderNotCompared } from './look-ups.ts';
import { databaseFirst, noRefundLease, oneRefundKey, refundingReleased } from './refunds.ts';
import { lateLook, releaseInSession } from './releases.ts';

/** Every rule, taken back alone. */
export const mutants: readonly Mutant[] = [
  noFence,
  declineAfterTakeover,
  sentTwice,
  declineStoredFirst,
  oneKey,
  keyPerTry,
  releaseInSession,
  lateLook,
  orderNotCompared,
  keyNotCompared,
  foreignRefunded,
  oneRefundKey,
  noRefundLease,
  refundingReleased,
  databaseFirst,
];
