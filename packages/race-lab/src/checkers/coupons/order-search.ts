import { type CouponAnswer, underWay } from '../../history/coupon-answer.ts';
import { type Model, searchOrder, type TimedOperation } from '../linearizability.ts';

/** What an answer says that an object did. */
export interface Told {
  answer: CouponAnswer;
}

/** Whether some answers can be brought into an order. */
export type OrderSearch =
  | { order: 'found' }
  /** `stuck` cannot be placed after `placed` others, which leave what `leaves` says. */
  | { order: 'none'; stuck: CouponAnswer; placed: number; leaves: string }
  | { order: 'unknown'; steps: number };

export function searchOrderOf<State, Operation extends Told>(
  model: Model<State, Operation>,
  operations: readonly Operation[],
  said: (state: State) => string,
): OrderSearch {
  const result = searchOrder(model, operations.map(timed));
  if (result.linearizable === 'unknown') return { order: 'unknown', steps: result.steps };
  if (result.linearizable) return { order: 'found' };
  const { stuck, longest, state } = result;
  return { order: 'none', stuck: stuck.answer, placed: longest.length, leaves: said(state) };
}

function timed<Operation extends Told>(operation: Operation): TimedOperation<Operation> {
  const { fromUs, untilUs } = underWay(operation.answer);
  return { operation, calledAt: fromUs, returnedAt: untilUs };
}
