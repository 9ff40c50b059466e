import type { Exchange, RaceRequest } from '../racer/exchange.ts';
import { jsonObject, objectOf, type RacedAnswer, racedAnswerOf } from './answer.ts';

/** A member takes his order back. */
export interface CancelRequest extends RaceRequest {
  orderId: string;
  requestId: string;
}

/** What one who took his order back was told. */
export interface CancelAnswer extends RacedAnswer {
  orderId: string;
  /** The order's status, as the answer has it; absent where it has none. */
  orderStatus: string | undefined;
}

/** Reads a raced exchange as a cancel's answer. Never throws: what cannot be read is absent. */
export function cancelAnswerOf(exchange: Exchange<CancelRequest>): CancelAnswer {
  const { request, status, body } = exchange;
  const orderStatus = status === undefined ? undefined : objectOf(jsonObject(body)?.data)?.status;
  return {
    ...racedAnswerOf(exchange),
    orderId: request.orderId,
    orderStatus: typeof orderStatus === 'string' ? orderStatus : undefined,
  };
}
