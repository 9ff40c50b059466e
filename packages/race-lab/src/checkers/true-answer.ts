import { type Answer, isFinal } from '../history/answer.ts';
import type { Violation } from './violation.ts';

/**
 * I8 of an owner that stood still while others finished what it had begun: when it goes on, its client gets the answer that is
 * there by then, instead of hearing nothing, or that nothing is known. (That it is the same as everybody's is I9.)
 *
 * @param requestId  What its client had asked for.
 */
export function checkTrueAnswer(answers: readonly Answer[], requestId: string): Violation[] {
  const told = answers.find((answer) => answer.requestId === requestId);
  if (told !== undefined && isFinal(told)) return [];
  const orderId = told?.orderId ?? '';
  const what = told === undefined ? 'nothing' : `${told.status ?? told.error} ${told.code ?? ''}`.trim();
  const detail = `order ${orderId}: request ${requestId}, whose owner stood still until others had finished it, was answered ${what}`;
  return [{ invariant: 'I8', orderId, detail }];
}
