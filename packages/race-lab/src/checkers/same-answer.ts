import { type Answer, isFinal } from '../history/answer.ts';
import type { Checker } from './violation.ts';

/**
 * I9: the same request is answered the same for ever, status and bytes, whoever answers it and however often it is sent. What
 * speaks of the moment alone is none of these answers: 202, `in-progress`, a failure.
 *
 * (Of one order all requests are its member's, and so with one payment key they are the same.)
 */
export const checkSameAnswer: Checker = ({ answers }) => {
  const same = Map.groupBy(answers.filter(isFinal), ({ orderId, paymentKey }) => `${orderId} ${paymentKey}`);
  return [...same.values()].flatMap((ofRequest) => {
    const [first, ...later] = ofRequest.toSorted((a, b) => a.answeredAtUs - b.answeredAtUs);
    const unlike = later.filter(
      ({ status, bodyDigest }) => status !== first?.status || bodyDigest !== first?.bodyDigest,
    );
    if (first === undefined || unlike.length === 0) return [];
    const { orderId, paymentKey } = first;
    const detail =
      `order ${orderId}: the request with payment key ${paymentKey} was answered ${shown(first)}, ` +
      `and then otherwise ${unlike.length} times: ${unlike.map(shown).join(', ')}`;
    return [{ invariant: 'I9', orderId, detail }];
  });
};

function shown({ status, code, requestId, bodyDigest }: Answer): string {
  return `${status}${code === undefined ? '' : ` ${code}`} (${requestId}, body ${bodyDigest?.slice(0, 8)})`;
}
