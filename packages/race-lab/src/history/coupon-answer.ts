import type { Exchange, RaceRequest } from '../racer/exchange.ts';
import { jsonObject, objectOf, type RacedAnswer, racedAnswerOf, textOf, wholeNumber } from './answer.ts';
import { type Step, stepsOf } from './steps.ts';

/** One request for a coupon. The headers that carry the member and `requestId` to the shop are the sender's business. */
export interface CouponRequest extends RaceRequest {
  couponId: string;
  memberId: number;
  /** Its own for every request, so that its row can be found. */
  requestId: string;
}

/** What one raced request for a coupon was told. Plain data. */
export interface CouponAnswer extends RacedAnswer {
  couponId: string;
  memberId: number;
  /** What a success says is left after it; absent when it says nothing readable. */
  remaining: number | undefined;
  /** The number of the coupon that a success gave. */
  serialNumber: number | undefined;
  /** How often the strategy tried again; absent when the shop does not say. */
  retries: number | undefined;
  /** What the strategy did, in its order, a name perhaps repeatedly; none where the shop does not say. */
  steps: readonly Step[];
}

/** Reads a raced exchange as an answer about a coupon. Never throws: what cannot be read is absent. */
export function couponAnswerOf(exchange: Exchange<CouponRequest>): CouponAnswer {
  const { request, status, headers, body } = exchange;
  const data = status === 200 ? objectOf(jsonObject(body)?.data) : undefined;
  return {
    ...racedAnswerOf(exchange),
    couponId: request.couponId,
    memberId: request.memberId,
    remaining: integer(data?.remaining),
    serialNumber: integer(data?.serialNumber),
    retries: wholeNumber(textOf(headers['x-retries'])),
    steps: stepsOf(exchange),
  };
}

/** Since when a request may have been worked on, and until when: null where it still may be. */
export function underWay({ result, error, releasedAtUs, answeredAtUs }: CouponAnswer): {
  fromUs: number;
  untilUs: number | null;
} {
  return {
    // Where the server did not wait for the last byte, nobody knows since when it was at work.
    fromUs: error === 'early-answer' ? Number.NEGATIVE_INFINITY : releasedAtUs,
    untilUs: result === 'info' ? null : answeredAtUs,
  };
}

function integer(value: unknown): number | undefined {
  return Number.isSafeInteger(value) ? (value as number) : undefined;
}
