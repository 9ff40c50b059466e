import type { RunReport } from '../report.ts';
import type { BarPart } from './bar.ts';

/**
 * What the requests of these runs were answered: successes that are not replays, refusals and replays, answers that are not known
 * yet, and failures, among them requests without an answer. Of orders it is counted as their patterns are.
 */
export function answerShares(runs: readonly RunReport[]): BarPart[] {
  const shares = { success: 0, refusal: 0, pending: 0, failure: 0 };
  for (const { responses, replays, patterns } of runs) {
    shares.success -= replays;
    shares.refusal += replays;
    for (const [status, answers] of Object.entries(responses)) {
      shares[kindOf(status, patterns !== null)] += answers;
    }
  }
  return [
    { kind: 'success', label: 'success', count: shares.success },
    { kind: 'refusal', label: 'refusal or replay', count: shares.refusal },
    { kind: 'pending', label: 'not known yet', count: shares.pending },
    { kind: 'failure', label: 'failed', count: shares.failure },
  ];
}

/** A loser of an order is refused with 400; of coupons there are other refusals, too. */
function kindOf(status: string, ofOrders: boolean): BarPart['kind'] {
  if (status === '200') return 'success';
  if (status === '202') return 'pending';
  return (ofOrders ? status === '400' : /^4\d\d$/.test(status)) ? 'refusal' : 'failure';
}
