import { setTimeout as sleep } from 'node:timers/promises';
import { PreparationError, requestJson } from './shop-client.ts';

/** How long a reservation may take to be told its outcome, in milliseconds: it is told after its answer. */
const SETTLE_LIMIT_MS = 3_000;
const SETTLE_PAUSE_MS = 50;
const AT_ONCE = 10;

/** A coupon to be made. Everything that a race does not vary is the same for all. */
export interface NewCoupon {
  name: string;
  stock: number;
  dailyQuota: number | null;
  couponType: 'ALL' | 'VIP';
  /** From when on members may take it. */
  opening: Opening;
}

/** An hour of opening, as the shop is told it. */
export interface Opening {
  timeZone: string;
  /** `HH:mm:ss`, in that zone. */
  openingTime: string;
  /** The days on which it opens, in that zone: `yyyyMMdd`. */
  firstDay: string;
  lastDay: string;
}

/** What the shop keeps of a coupon in Redis, for the strategy that has a counter there. */
export interface CouponCounter {
  /** Null: there is no counter. */
  remaining: number | null;
  /** The local day that `quotaUsed` counts, `yyyy-mm-dd`; null before the first. */
  quotaDay: string | null;
  quotaUsed: number;
  /** Taken from it, and not yet known to be issued or given back. */
  reserved: number;
}

/**
 * Makes a coupon.
 *
 * @returns its id
 * @throws PreparationError
 * @throws the signal's reason
 */
export async function makeCoupon(shopUrl: string, coupon: NewCoupon, signal: AbortSignal): Promise<string> {
  const { name, stock, dailyQuota, couponType, opening } = coupon;
  const { timeZone, openingTime, firstDay, lastDay } = opening;
  const body = {
    couponName: name,
    couponCode: 'RACE',
    downloadStartDate: firstDay,
    downloadEndDate: lastDay,
    availableStartDate: firstDay,
    availableEndDate: lastDay,
    discountType: 'WON',
    cost: 1000,
    numberOfCoupons: stock,
    couponType,
    timeZone,
    openingTime,
    ...(dailyQuota === null ? {} : { dailyQuota }),
  };
  const { data } = await requestJson('POST', `${shopUrl}/api/coupon`, { body, signal });
  const { id } = (data ?? {}) as { id?: unknown };
  if (typeof id === 'string') return id;
  throw new PreparationError(`the shop answered a new coupon with ${JSON.stringify(data)}`);
}

/**
 * Makes VIPs of members.
 *
 * @throws PreparationError  Some may be VIPs by then.
 * @throws the signal's reason
 */
export async function makeVips(
  shopUrl: string,
  members: readonly number[],
  signal: AbortSignal,
): Promise<void> {
  const left = [...members];
  const work = async () => {
    for (let memberId = left.pop(); memberId !== undefined; memberId = left.pop()) {
      const url = `${shopUrl}/api/members/${memberId}/standing`;
      await requestJson('PUT', url, { body: { standing: 'VIP' }, signal });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

/**
 * The counter of a coupon at rest: when every reservation in it has its outcome, or when that takes too long.
 *
 * @throws PreparationError  An instance does not tell it.
 * @throws the signal's reason
 */
export async function readCounter(
  instanceUrl: string,
  couponId: string,
  signal: AbortSignal,
): Promise<CouponCounter> {
  const endMs = performance.now() + SETTLE_LIMIT_MS;
  for (;;) {
    const { data } = await requestJson('GET', `${instanceUrl}/lab/coupon/${couponId}/counter`, { signal });
    const counter = counterFrom(data);
    if (counter.reserved === 0 || performance.now() > endMs) return counter;
    await sleep(SETTLE_PAUSE_MS);
  }
}

/** @throws PreparationError */
function counterFrom(data: unknown): CouponCounter {
  const { remaining, quotaDay, quotaUsed, reserved } = (data ?? {}) as Partial<CouponCounter>;
  const isWhole = [quotaUsed, reserved].every(Number.isInteger);
  if (
    remaining === undefined ||
    quotaDay === undefined ||
    quotaUsed === undefined ||
    reserved === undefined ||
    !isWhole
  ) {
    throw new PreparationError(`the shop answered a counter with ${JSON.stringify(data)}`);
  }
  return { remaining, quotaDay, quotaUsed, reserved };
}
