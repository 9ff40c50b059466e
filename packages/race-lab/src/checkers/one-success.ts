import type { Answer } from '../history/answer.ts';
import { isReplay } from '../history/counts.ts';
import { byOrder } from '../history/evidence.ts';
import type { Checker } from './violation.ts';

/**
 * I0, the mark, for a race without faults: of the requests of one order exactly one is answered 200 and
 * not as a replay, every other is refused (400) or repeats the bytes of that one, and the provider is asked to
 * confirm exactly once.
 *
 * Anything else is a violation: a 5xx and a missing answer, a 202 (without faults every outcome is known), and
 * any other 4xx, because a loser is refused with 400 and the racer's requests are well-formed.
 */
export const checkOneSuccess: Checker = ({ answers, ledger }) => {
  const confirms = byOrder(
    ledger.flatMap((event) =>
      event.type === 'request' && event.operation === 'confirm' && event.orderId !== null
        ? [{ orderId: event.orderId, seq: event.seq }]
        : [],
    ),
  );
  return [...byOrder(answers)].flatMap(([orderId, ofOrder]) => {
    const details: string[] = [];
    const firsts = ofOrder.filter((answer) => answer.status === 200 && !answer.replayed);
    if (firsts.length !== 1) {
      details.push(
        `${firsts.length} of ${ofOrder.length} requests were answered 200 without being a replay, not 1${listed(firsts)}`,
      );
    }
    const strangers = ofOrder.filter((answer) => answer.status !== 200 && answer.status !== 400);
    if (strangers.length > 0) {
      details.push(
        `${strangers.length} of ${ofOrder.length} answers are neither 200 nor 400${listed(strangers)}`,
      );
    }
    const bytes = new Set(firsts.map(({ bodyDigest }) => bodyDigest));
    const unlike = ofOrder.filter((answer) => isReplay(answer) && !bytes.has(answer.bodyDigest));
    if (unlike.length > 0) {
      details.push(`${unlike.length} replays do not have the bytes of the first answer${listed(unlike)}`);
    }
    const asked = confirms.get(orderId) ?? [];
    if (asked.length !== 1) {
      const where = asked.length === 0 ? '' : ` (ledger ${asked.map(({ seq }) => `#${seq}`).join(', ')})`;
      details.push(`${asked.length} confirm requests reached the provider, not 1${where}`);
    }
    return details.map((detail) => ({ invariant: 'I0', orderId, detail: `order ${orderId}: ${detail}` }));
  });
};

function listed(answers: readonly Answer[]): string {
  if (answers.length === 0) return '';
  return ` (${answers.map(({ status, error, requestId }) => `${status ?? error ?? 'none'} to ${requestId}`).join(', ')})`;
}
