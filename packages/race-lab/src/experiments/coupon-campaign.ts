import type { Cluster } from '../cluster/cluster.ts';
import type { CouponRequest } from '../history/coupon-answer.ts';
import type { Campaign } from '../history/coupon-evidence.ts';
import type { Target } from '../racer/exchange.ts';
import { makeCoupon, makeVips } from './coupon-client.ts';
import { openAllDay, openFrom, readDatabaseClock } from './coupon-opening.ts';
import type { CouponStrategyName } from './coupon-strategies.ts';

export interface NewCampaign {
  /** Of the coupon; no other on this cluster has it. */
  name: string;
  stock: number;
  dailyQuota: number | null;
  /** Those who may have one become VIPs, and stay it. */
  eligible: ReadonlySet<number> | 'all';
  /** In how many milliseconds the coupon opens, at least; null: it is open. */
  opensInMs: number | null;
}

/**
 * Makes a coupon, and VIPs of those who may have one where not everybody may.
 *
 * @throws as makeCoupon, makeVips and readDatabaseClock do
 */
export async function openCampaign(
  cluster: Cluster,
  { name, stock, dailyQuota, eligible, opensInMs }: NewCampaign,
  signal: AbortSignal,
): Promise<{ campaign: Campaign }> {
  const [shopUrl = ''] = cluster.frontDoor.urls;
  if (eligible !== 'all') await makeVips(shopUrl, [...eligible], signal);
  const clock = await readDatabaseClock(cluster.databaseUrl);
  // An opening is told to the second.
  const opensAtMs = opensInMs === null ? null : Math.ceil((clock.nowMs + opensInMs) / 1000) * 1000;
  const opening = opensAtMs === null ? openAllDay(clock.nowMs) : openFrom(opensAtMs);
  const couponType = eligible === 'all' ? 'ALL' : 'VIP';
  const couponId = await makeCoupon(shopUrl, { name, stock, dailyQuota, couponType, opening }, signal);
  const { timeZone } = opening;
  return {
    campaign: {
      ...{ couponId, initial: stock, dailyQuota, timeZone, eligible },
      opening: opensAtMs === null ? null : { atMs: opensAtMs, ...clock.monotonicAt(opensAtMs) },
    },
  };
}

/** The `nth` request of a member for a coupon. */
export function couponRequest(
  couponId: string,
  strategy: CouponStrategyName,
  target: Target,
  memberId: number,
  nth: number,
): CouponRequest {
  const requestId = `${couponId}-${memberId}-${nth}`;
  return {
    target,
    method: 'POST',
    path: `/api/coupon/${couponId}`,
    headers: {
      'x-member-id': String(memberId),
      'x-request-id': requestId,
      'x-coupon-strategy': strategy,
    },
    body: '',
    couponId,
    memberId,
    requestId,
  };
}
