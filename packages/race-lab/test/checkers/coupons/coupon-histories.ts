import { resultOf } from '../../../src/history/answer.ts';
import type { CouponAnswer } from '../../../src/history/coupon-answer.ts';
import type { Campaign, CouponEvidence, StockCounter } from '../../../src/history/coupon-evidence.ts';
import type { CouponRow, IssuedRow, StockSnapshot } from '../../../src/history/coupon-rows.ts';

export const COUPON = 'coupon-a';
/** Noon in Seoul. */
export const NOON_MS = Date.parse('2026-03-01T12:00:00+09:00');

/** One campaign; without its parts nobody has asked yet. */
export interface Story {
  campaign: Campaign;
  answers: CouponAnswer[];
  /** Null: the shop does not know the coupon. */
  row: CouponRow | null;
  issued: IssuedRow[];
  snapshots: StockSnapshot[];
  counter: StockCounter | null;
}

export function campaign(over: Partial<Campaign> = {}): Campaign {
  return {
    couponId: COUPON,
    initial: 3,
    dailyQuota: null,
    timeZone: 'Asia/Seoul',
    opening: null,
    eligible: 'all',
    ...over,
  };
}

/** That it opens so long after noon, by clocks that may differ by `uncertaintyMs`. */
export function opensAt(atMs: number, uncertaintyMs = 0): Pick<Campaign, 'opening'> {
  return {
    opening: { atMs: NOON_MS + atMs, atUs: atMs * 1000, uncertaintyUs: uncertaintyMs * 1000 },
  };
}

export function counter(over: Partial<StockCounter> = {}): StockCounter {
  return { couponId: COUPON, remaining: 0, quotaDay: null, quotaUsed: 0, reserved: 0, ...over };
}

/** An answer to a request that lasted from `atMs` for 10 ms; its id is made of the member and that time. */
export function answer(memberId: number, atMs: number, over: Partial<CouponAnswer> = {}): CouponAnswer {
  const status = 'status' in over ? over.status : 400;
  const releasedAtUs = over.releasedAtUs ?? atMs * 1000;
  const answeredAtUs = over.answeredAtUs ?? releasedAtUs + 10_000;
  return {
    couponId: COUPON,
    memberId,
    requestId: `m${memberId}-${atMs}`,
    instance: 'lotto-back-1',
    result: resultOf(status),
    status,
    code: undefined,
    remaining: undefined,
    serialNumber: undefined,
    retries: 0,
    steps: [],
    latencyMs: (answeredAtUs - releasedAtUs) / 1000,
    arrivedAtUs: undefined,
    error: undefined,
    ...over,
    releasedAtUs,
    answeredAtUs,
  };
}

/** Told that he has one, which left so many of `initial`. */
export function granted(memberId: number, atMs: number, remaining: number, initial = 3): CouponAnswer {
  return answer(memberId, atMs, { status: 200, remaining, serialNumber: initial - remaining });
}

export function refused(memberId: number, atMs: number, code: string): CouponAnswer {
  return answer(memberId, atMs, { code });
}

export function failed(memberId: number, atMs: number, status: number | undefined = 500): CouponAnswer {
  return answer(memberId, atMs, { status });
}

/** The rows that the successes say they left, each decided when it was asked for, from noon on. */
export function rowsOf(answers: readonly CouponAnswer[]): IssuedRow[] {
  return answers
    .filter(({ result }) => result === 'ok')
    .map(({ couponId, memberId, requestId, serialNumber = 0, releasedAtUs }) => ({
      id: String(serialNumber),
      couponId,
      memberId,
      serial: serialNumber,
      strategy: 'pessimistic',
      instance: 'lotto-back-1',
      requestId,
      issuedAtMs: NOON_MS + releasedAtUs / 1000,
    }));
}

/** A story in which the rows say what the answers say, unless they are given. */
export function story(answers: CouponAnswer[], over: Partial<Story> = {}): Story {
  const of = over.campaign ?? campaign();
  const issued = over.issued ?? rowsOf(answers);
  const used = of.dailyQuota === null || issued.length === 0;
  return {
    campaign: of,
    answers,
    row: {
      couponId: of.couponId,
      numberOfCoupons: of.initial,
      remaining: of.initial - issued.length,
      dailyQuota: of.dailyQuota,
      quotaDay: used ? null : '2026-03-01',
      quotaUsed: used ? 0 : issued.length,
    },
    issued,
    snapshots: [],
    counter: null,
    ...over,
  };
}

export function snapshot(atMs: number, remaining: number, issued: number): StockSnapshot {
  return { couponId: COUPON, askedAtUs: atMs * 1000, remaining, issued };
}

/** The good history: four members ask for three coupons one after the other, and the first asks twice. */
export function soldOut(over: Partial<Story> = {}): Story {
  const answers = [
    granted(1, 0, 2),
    refused(1, 20, 'already-issued'),
    granted(2, 40, 1),
    granted(3, 60, 0),
    refused(4, 80, 'sold-out'),
  ];
  const snapshots = [snapshot(0, 3, 0), snapshot(50, 2, 1), snapshot(100, 0, 3)];
  return story(answers, { snapshots, ...over });
}

/** The story once more, as it would be of another coupon. */
export function about(couponId: string, told: Story): Story {
  const named = <Item extends object>(item: Item) => ({ ...item, couponId });
  return {
    campaign: named(told.campaign),
    answers: told.answers.map(named),
    row: told.row && named(told.row),
    issued: told.issued.map(named),
    snapshots: told.snapshots.map(named),
    counter: told.counter && named(told.counter),
  };
}

export function evidence(...stories: readonly Story[]): CouponEvidence {
  return {
    campaigns: stories.map((one) => one.campaign),
    answers: stories.flatMap(({ answers }) => answers),
    rows: {
      coupons: stories.flatMap(({ row }) => row ?? []),
      issued: stories.flatMap(({ issued }) => issued),
    },
    snapshots: stories.flatMap(({ snapshots }) => snapshots),
    counters: stories.flatMap(({ counter }) => counter ?? []),
  };
}
