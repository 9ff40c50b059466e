import { type Done, done, type Refused, refused } from 'pawl';
import type { CouponType, Standing } from '../store/database.ts';
import { atMoment } from './calendar.ts';
import type { Coupon } from './coupon.ts';

/** What decides whether somebody gets a coupon, as it was read at one moment. */
export interface Sighting {
  readonly coupon: Coupon;
  /** The day, `yyyy-mm-dd` in the coupon's time zone, that `quotaUsed` counts; null before the first issue. */
  readonly quotaDay: string | null;
  readonly quotaUsed: number;
  /** The database's clock. */
  readonly now: Date;
  readonly standing: Standing;
  /** The member has this coupon. */
  readonly alreadyIssued: boolean;
}

/** One coupon off the stock: what the stock is afterwards, and the coupon's number. */
export interface Taken {
  readonly remaining: number;
  readonly quotaDay: string;
  readonly quotaUsed: number;
  /** 1 for the first of all, without gaps. */
  readonly serial: number;
}

const ELIGIBLE: Readonly<Record<CouponType, readonly Standing[]>> = {
  ALL: ['GENERAL', 'FIRST', 'MEMBERSHIP', 'VIP'],
  // A VIP is a member of the membership too.
  MEMBERSHIP: ['MEMBERSHIP', 'VIP'],
  FIRST: ['FIRST'],
  VIP: ['VIP'],
};

/** What does not depend on who else asks: the window, and whom the coupon is for. */
export function admit(seen: Sighting): Done<void> | Refused<'not-open' | 'not-eligible'> {
  if (!atMoment(seen.coupon.download, seen.now).open) return refused('not-open');
  return ELIGIBLE[seen.coupon.couponType].includes(seen.standing) ? done(undefined) : refused('not-eligible');
}

/**
 * The whole decision: what the stock is after this issue, or why there is none. Whoever acts on it needs a guard that
 * keeps the stock, and whether the member has one, as they were seen.
 *
 * The last coupon is the last: it is asked whether any is left, and then one is taken. (The published code asked for
 * less than none before it took one, and so handed out one too many.)
 */
export function takeOne(
  seen: Sighting,
): Done<Taken> | Refused<'not-open' | 'not-eligible' | 'already-issued' | 'sold-out' | 'quota-reached'> {
  const admitted = admit(seen);
  if (admitted.outcome !== 'done') return admitted;
  if (seen.alreadyIssued) return refused('already-issued');
  const { coupon } = seen;
  if (coupon.remaining < 1) return refused('sold-out');
  const day = dayOf(seen);
  const quotaUsed = (seen.quotaDay === day ? seen.quotaUsed : 0) + 1;
  if (coupon.dailyQuota !== null && quotaUsed > coupon.dailyQuota) return refused('quota-reached');
  const remaining = coupon.remaining - 1;
  return done({ remaining, quotaDay: day, quotaUsed, serial: coupon.numberOfCoupons - remaining });
}

/**
 * The day that an issue counts for. A day that has begun is not left again: neither where a clock is set back, nor where
 * the clocks of the time zone go back over midnight; the day before would have its quota a second time.
 */
export function dayOf({ coupon, now, quotaDay }: Sighting): string {
  const { day } = atMoment(coupon.download, now);
  return quotaDay !== null && quotaDay > day ? quotaDay : day;
}
