import type { Invariant } from '../../checkers/violation.ts';

/** What must hold, for a reader who has only the page. `F01` is about the run: a failpoint that nobody passed. */
export const invariantTitles: Readonly<Record<Invariant | 'F01', string>> = {
  I0: 'one success, everything else a refusal or a replay, one request to the provider; of coupons: whoever may have one gets one while there are any',
  I1a: 'never more than one capture of an order that was not given back',
  I1b: 'never more than one capture of an order',
  I2: 'captured if and only if there is one bill, of the right amount',
  I3: 'never more refunds than captures',
  I4: 'what is left and what was issued are the stock',
  I5: 'one coupon for each member, numbered without gaps',
  I6: 'what was acknowledged stays',
  I7: 'what was refused left no effect',
  I8: 'everything is settled in time',
  I9: 'the same request has the same final answer',
  I10: 'some order of the requests explains all answers',
  I13: 'a status moves along its edges only',
  I14: 'nobody stands still for longer than allowed',
  F01: 'the failpoint must be passed',
};
