import { setTimeout as sleep } from 'node:timers/promises';
import { type CouponRequest, couponAnswerOf } from '../history/coupon-answer.ts';
import { type Exchange, monotonicUs } from '../racer/exchange.ts';
import { raceGroups, raceRequests } from '../racer/race.ts';
import { type CouponFigures, couponFigures } from './coupon-figures.ts';
import { keepAsking, type LoadLimits, sendByWorkers } from './coupon-load.ts';

/** As in the purchase race: how groups of duplicates follow each other. */
const GROUPS_IN_FLIGHT = 20;
const GROUP_SPACING_MS = 15;
/** A thousand connections take longer to open than five. */
const PREPARE_LIMIT_MS = 20_000;
/** How long before the opening the members begin to ask, and how long after it they give up. */
const ASK_BEFORE_MS = 1_000;
const ASK_AFTER_MS = 20_000;

/** What is given out in a scenario, and who asks for it how. */
export interface CouponScenario extends CouponFigures {
  send(sending: Sending): Promise<Exchange<CouponRequest>[]>;
}

export interface Sending {
  /** In the order in which they ask. */
  members: readonly number[];
  /** The `nth` request of a member, from 1. */
  request(memberId: number, nth: number): CouponRequest;
  /** By the monotonic clock, in microseconds; null where it is open. */
  opensAtUs: number | null;
  limits: LoadLimits;
}

/** Answers after which a member need not ask again: he has one, or there is none for him. */
const LAST_WORDS = ['quota-reached', 'sold-out', 'already-issued', 'not-eligible'];

const byWorkers = (figures: CouponFigures & { workers: number }): CouponScenario => ({
  ...figures,
  send: ({ members, request, limits }) =>
    sendByWorkers(
      members.map((memberId) => request(memberId, 1)),
      figures.workers,
      limits,
    ),
});

export const couponScenarios: Readonly<Record<keyof typeof couponFigures, CouponScenario>> = {
  /** As published, there by threads. */
  'workers-5': byWorkers(couponFigures['workers-5']),
  /** Likewise. */
  'workers-32': byWorkers(couponFigures['workers-32']),
  /** More members than coupons, all at the same instant. */
  crowd: {
    ...couponFigures.crowd,
    send: ({ members, request, limits }) =>
      raceRequests(
        members.map((memberId) => request(memberId, 1)),
        { ...limits, prepareTimeoutMs: PREPARE_LIMIT_MS },
      ),
  },
  /** Each member asks several times at once: the instances together let one through. */
  duplicates: {
    ...couponFigures.duplicates,
    async send({ members, request, limits }) {
      const { fanout } = couponFigures.duplicates;
      const groups = members.map((memberId) =>
        Array.from({ length: fanout }, (_, index) => request(memberId, index + 1)),
      );
      const exchanges = await raceGroups(groups, {
        ...limits,
        maxGroupsInFlight: GROUPS_IN_FLIGHT,
        spacingMs: GROUP_SPACING_MS,
        onProgress: (done) => limits.onProgress(done * fanout),
      });
      return exchanges.flat();
    },
  },
  /** Everybody asks from before the opening until he has one or hears why not; a day has fewer than may have one. */
  opening: {
    ...couponFigures.opening,
    async send({ members, request, opensAtUs, limits }) {
      const askers = members.map((memberId) => ({
        request: (nth: number) => request(memberId, nth),
        isAnswered: (exchange: Exchange<CouponRequest>) => {
          const { status, code } = couponAnswerOf(exchange);
          return status === 200 || (code !== undefined && LAST_WORDS.includes(code));
        },
      }));
      const untilOpenMs = Math.max(0, ((opensAtUs ?? 0) - monotonicUs()) / 1000);
      await sleep(Math.max(0, untilOpenMs - ASK_BEFORE_MS), undefined, { signal: limits.signal });
      return keepAsking(askers, Math.min(untilOpenMs, ASK_BEFORE_MS) + ASK_AFTER_MS, limits);
    },
  },
};
