/** What the shop's database says of the coupons of a run when everything has come to rest. */
export interface CouponRows {
  coupons: readonly CouponRow[];
  /** Who has one, in the order of `id`. */
  issued: readonly IssuedRow[];
}

export interface CouponRow {
  couponId: string;
  /** How many there are in all. */
  numberOfCoupons: number;
  remaining: number;
  /** Most that one local day may give out; null: no such limit. */
  dailyQuota: number | null;
  /** The local day that `quotaUsed` counts, `yyyy-mm-dd`; null before the first issue. */
  quotaDay: string | null;
  quotaUsed: number;
}

export interface IssuedRow {
  /** 64 bits, hence text. */
  id: string;
  couponId: string;
  memberId: number;
  /** 1 for the first coupon, without gaps. */
  serial: number;
  strategy: string;
  instance: string;
  requestId: string;
  /** When it was decided, by the database's clock: milliseconds since 1970, with fractions. */
  issuedAtMs: number;
}

/** The stock of one coupon as one snapshot of the database showed it while it was raced for. */
export interface StockSnapshot {
  couponId: string;
  /** When it was asked for, by the monotonic clock, in microseconds. */
  askedAtUs: number;
  remaining: number;
  /** How many rows say that somebody has one. */
  issued: number;
}
