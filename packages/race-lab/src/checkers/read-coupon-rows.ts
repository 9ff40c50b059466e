import type { Query, Row } from '../cluster/database-session.ts';
import { type DatabaseKind, databaseKind } from '../cluster/store.ts';
import type { CouponRows, StockSnapshot } from '../history/coupon-rows.ts';
import { monotonicUs } from '../racer/exchange.ts';
import { inSnapshot } from './snapshot.ts';

/** What the databases do not write alike. Moments have no zone on MySQL; the shop keeps them in UTC. */
const expressions: Readonly<Record<DatabaseKind, { quotaDay: string; issuedAtUs: string }>> = {
  postgres: {
    quotaDay: `to_char(quota_day, 'YYYY-MM-DD')`,
    issuedAtUs: '(EXTRACT(EPOCH FROM issued_at) * 1000000)::bigint',
  },
  mysql: {
    quotaDay: `DATE_FORMAT(quota_day, '%Y-%m-%d')`,
    issuedAtUs: `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', issued_at)`,
  },
};

/**
 * Reads what the shop keeps of the given coupons, in one snapshot. A coupon that it does not know is not among the rows.
 *
 * @param couponIds  At least one.
 * @throws RangeError  An id is no UUID, or there is none.
 * @throws the driver's error.
 */
export async function readCouponRows(databaseUrl: string, couponIds: readonly string[]): Promise<CouponRows> {
  if (couponIds.length === 0) throw new RangeError('readCouponRows needs the id of a coupon');
  const ids = couponIds.map(uuidLiteral).join(', ');
  const { quotaDay, issuedAtUs } = expressions[databaseKind(databaseUrl)];
  return await inSnapshot(databaseUrl, async (query) => {
    const coupons = await query(`
      SELECT id, number_of_coupons, remaining, daily_quota, ${quotaDay} AS quota_day, quota_used
        FROM coupon WHERE id IN (${ids}) ORDER BY sequence`);
    const issued = await query(`
      SELECT id, coupon_id, member_id, serial, strategy, instance, request_id, ${issuedAtUs} AS issued_at_us
        FROM issued_coupon WHERE coupon_id IN (${ids}) ORDER BY id`);
    return { coupons: coupons.map(couponOf), issued: issued.map(issuedOf) };
  });
}

/**
 * Reads what is left of a coupon and how many have one: in one statement, which sees one snapshot from READ COMMITTED on.
 * It may be called again and again on one connection.
 *
 * @throws RangeError  The id is no UUID.
 * @throws UnknownCouponError  There is no such coupon.
 * @throws the driver's error.
 */
export async function readStockSnapshot(query: Query, couponId: string): Promise<StockSnapshot> {
  const id = uuidLiteral(couponId);
  const askedAtUs = monotonicUs();
  const [row] = await query(`
    SELECT remaining, (SELECT COUNT(*) FROM issued_coupon WHERE coupon_id = ${id}) AS issued
      FROM coupon WHERE id = ${id}`);
  if (row === undefined) throw new UnknownCouponError(couponId);
  return { couponId, askedAtUs, remaining: Number(row.remaining), issued: Number(row.issued) };
}

/** The database does not have the coupon whose stock is to be read. */
class UnknownCouponError extends Error {
  override readonly name = 'UnknownCouponError';
  readonly code = 'UNKNOWN_COUPON';
  readonly couponId: string;

  constructor(couponId: string) {
    super(`the database has no coupon ${couponId}`);
    this.couponId = couponId;
  }
}

/** The session takes no values, so nothing gets into a statement that could be more than an id. */
function uuidLiteral(couponId: string): string {
  if (!/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(couponId)) {
    throw new RangeError(`a coupon's id must be a UUID, got ${JSON.stringify(couponId)}`);
  }
  return `'${couponId}'`;
}

// String() because MySQL keeps keys in columns of bytes, and a Buffer's text is that of its UTF-8.

function couponOf(row: Row): CouponRows['coupons'][number] {
  return {
    couponId: String(row.id),
    numberOfCoupons: Number(row.number_of_coupons),
    remaining: Number(row.remaining),
    dailyQuota: row.daily_quota === null ? null : Number(row.daily_quota),
    quotaDay: row.quota_day === null ? null : String(row.quota_day),
    quotaUsed: Number(row.quota_used),
  };
}

function issuedOf(row: Row): CouponRows['issued'][number] {
  return {
    id: String(row.id),
    couponId: String(row.coupon_id),
    memberId: Number(row.member_id),
    serial: Number(row.serial),
    strategy: String(row.strategy),
    instance: String(row.instance),
    requestId: String(row.request_id),
    issuedAtMs: Number(row.issued_at_us) / 1000,
  };
}
