import type { ShopDatabase, ShopSql } from '../../store/database.ts';
import { clock } from '../../store/expressions.ts';
import type { Stock } from './stock-counter.ts';

/** How many rows are read, and how many members are told to Redis, in one go. */
const BATCH = 1_000;

const DAY_MS = 86_400_000;
/**
 * How long after its last day a coupon may still have a reservation, in days: that day may end half a day after it has in
 * UTC, and a counter is kept for a day.
 */
const DAYS_AFTER_THE_LAST = 2;

/** What the rows say of these coupons, each as it was at one moment. */
export async function readStocks(
  db: ShopDatabase,
  couponIds: readonly string[],
): Promise<ReadonlyMap<string, Stock>> {
  if (couponIds.length === 0) return new Map();
  const rows = await db
    .selectFrom('coupon')
    .select(['id', 'remaining', 'daily_quota', 'quota_day', 'quota_used'])
    .where('id', 'in', couponIds)
    .execute();
  return new Map(
    rows.map((row) => [
      row.id,
      {
        remaining: row.remaining,
        dailyQuota: row.daily_quota,
        quotaDay: row.quota_day,
        quotaUsed: row.quota_used,
      },
    ]),
  );
}

/** Everybody who has claimed this coupon, some at a time. */
export async function* readClaimants(db: ShopDatabase, couponId: string): AsyncGenerator<number[]> {
  let last = 0;
  for (;;) {
    const rows = await db
      .selectFrom('issued_coupon')
      .select('claimed_by')
      .where('coupon_id', '=', couponId)
      .where('claimed_by', '>', last)
      .orderBy('claimed_by')
      .limit(BATCH)
      .execute();
    const members = rows.flatMap(({ claimed_by }) => claimed_by ?? []);
    if (members.length > 0) yield members;
    if (members.length < BATCH) return;
    last = members.at(-1) ?? last;
  }
}

/** Which of these members have the coupon. */
export async function readIssuedAmong(
  db: ShopDatabase,
  couponId: string,
  memberIds: readonly number[],
): Promise<ReadonlySet<number>> {
  const rows = await db
    .selectFrom('issued_coupon')
    .select('member_id')
    .where('coupon_id', '=', couponId)
    .where('member_id', 'in', memberIds)
    .execute();
  return new Set(rows.map(({ member_id }) => member_id));
}

/** The coupons that somebody may have a reservation of, some at a time. */
export async function* readCouponsOnOffer(
  db: ShopDatabase,
  { dialect }: Pick<ShopSql, 'dialect'>,
  atATime: number,
): AsyncGenerator<string[]> {
  const { now } = await db.selectNoFrom(clock({ dialect }).as('now')).executeTakeFirstOrThrow();
  const earliest = new Date(now.getTime() - DAYS_AFTER_THE_LAST * DAY_MS).toISOString().slice(0, 10);
  let last = 0;
  for (;;) {
    const coupons = await db
      .selectFrom('coupon')
      .select(['id', 'sequence'])
      .where('sequence', '>', last)
      .where('download_end_date', '>=', earliest)
      .orderBy('sequence')
      .limit(atATime)
      .execute();
    if (coupons.length > 0) yield coupons.map(({ id }) => id);
    if (coupons.length < atATime) return;
    last = coupons.at(-1)?.sequence ?? last;
  }
}
