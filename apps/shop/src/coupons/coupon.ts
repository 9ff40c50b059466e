import { randomUUID } from 'node:crypto';
import type { Selectable } from 'kysely';
import { claimUnique, type Done, done, type Refused, refused } from 'pawl';
import type { CouponType, Database, DiscountType, ShopDatabase, ShopSql } from '../store/database.ts';
import type { DownloadWindow } from './calendar.ts';

/** A coupon as its operator describes it. Days are `yyyy-mm-dd`, and both ends of a period belong to it. */
export interface CouponDescription {
  readonly name: string;
  readonly code: string;
  readonly download: DownloadWindow;
  readonly available: { readonly startDate: string; readonly endDate: string };
  readonly discountType: DiscountType;
  /** The discount: percent, or won. */
  readonly cost: number;
  readonly couponType: CouponType;
  readonly numberOfCoupons: number;
  /** Most that are handed out on one day; null: no such limit. */
  readonly dailyQuota: number | null;
}

export interface Coupon extends CouponDescription {
  readonly id: string;
  readonly remaining: number;
}

/** A coupon that a member has. `id` names this issue. */
export interface MembersCoupon {
  readonly id: number;
  readonly coupon: Coupon;
  readonly serial: number;
  readonly issuedAt: Date;
}

/** Creates a coupon, all of it left. `already-done`: there is one of this name, and nothing was created. */
export async function createCoupon(
  store: ShopSql,
  description: CouponDescription,
): Promise<Done<Coupon> | Refused<'already-done'>> {
  const id = randomUUID();
  const { download, available, numberOfCoupons } = description;
  const claimed = await claimUnique(store, {
    table: 'coupon',
    key: { name: description.name },
    values: {
      id,
      code: description.code,
      download_start_date: download.startDate,
      download_end_date: download.endDate,
      available_start_date: available.startDate,
      available_end_date: available.endDate,
      discount_type: description.discountType,
      cost: description.cost,
      coupon_type: description.couponType,
      number_of_coupons: numberOfCoupons,
      remaining: numberOfCoupons,
      time_zone: download.timeZone,
      opening_time: download.openingTime,
      daily_quota: description.dailyQuota,
    },
  });
  if (claimed.outcome !== 'done') return refused('already-done');
  return done({ ...description, id, remaining: numberOfCoupons });
}

export async function findCoupon(db: ShopDatabase, id: string): Promise<Coupon | undefined> {
  const row = await db.selectFrom('coupon').selectAll().where('id', '=', id).executeTakeFirst();
  return row && couponOf(row);
}

/** The newest first. `before`: only those that are older than this one; none where there is no such coupon. */
export async function listCoupons(
  db: ShopDatabase,
  page: { limit: number; before: string | undefined },
): Promise<Coupon[]> {
  const { limit, before } = page;
  let coupons = db.selectFrom('coupon').selectAll().orderBy('sequence', 'desc').limit(limit);
  if (before !== undefined) {
    coupons = coupons.where('sequence', '<', (query) =>
      query.selectFrom('coupon as last').select('last.sequence').where('last.id', '=', before),
    );
  }
  return (await coupons.execute()).map(couponOf);
}

/** The coupons that a member has, the newest first. `before`: only those that were issued before this one. */
export async function listCouponsOf(
  db: ShopDatabase,
  memberId: number,
  page: { limit: number; before: number | undefined },
): Promise<MembersCoupon[]> {
  let issued = db
    .selectFrom('issued_coupon')
    .innerJoin('coupon', 'coupon.id', 'issued_coupon.coupon_id')
    .selectAll('coupon')
    .select(['issued_coupon.id as issued_id', 'serial', 'issued_at'])
    .where('member_id', '=', memberId)
    .orderBy('issued_coupon.id', 'desc')
    .limit(page.limit);
  if (page.before !== undefined) issued = issued.where('issued_coupon.id', '<', page.before);
  const rows = await issued.execute();
  return rows.map((row) => ({
    id: row.issued_id,
    coupon: couponOf(row),
    serial: row.serial,
    issuedAt: row.issued_at,
  }));
}

/** What `couponOf` reads. */
export const couponColumns = [
  'id',
  'name',
  'code',
  'download_start_date',
  'download_end_date',
  'available_start_date',
  'available_end_date',
  'discount_type',
  'cost',
  'coupon_type',
  'number_of_coupons',
  'remaining',
  'time_zone',
  'opening_time',
  'daily_quota',
] as const satisfies readonly (keyof Database['coupon'])[];

/** Reads a row of `coupon`. */
export function couponOf(row: Pick<Selectable<Database['coupon']>, (typeof couponColumns)[number]>): Coupon {
  return {
    id: row.id,
    name: row.name,
    code: row.code,
    download: {
      startDate: row.download_start_date,
      endDate: row.download_end_date,
      openingTime: row.opening_time,
      timeZone: row.time_zone,
    },
    available: { startDate: row.available_start_date, endDate: row.available_end_date },
    discountType: row.discount_type,
    cost: row.cost,
    couponType: row.coupon_type,
    numberOfCoupons: row.number_of_coupons,
    dailyQuota: row.daily_quota,
    remaining: row.remaining,
  };
}
