import type { CouponAnswer } from './coupon-answer.ts';
import type { CouponRow, CouponRows, IssuedRow, StockSnapshot } from './coupon-rows.ts';

/**
 * What was given out, and by which rules: as the experiment asked for it, not as the shop remembers it.
 *
 * The checkers take it that the run of a campaign with an opening ends before the coupon closes again, at local midnight.
 */
export interface Campaign {
  couponId: string;
  /** How many there are to give out. */
  initial: number;
  /** Most that one local day may give out; null: no such limit. */
  dailyQuota: number | null;
  /** Whose midnight ends the day, as the IANA names it: `Asia/Seoul`. */
  timeZone: string;
  /**
   * Before it nothing may be issued, and after it nobody may be told `not-open`. Null: it was open before the first
   * request, and is open still.
   */
  opening: CampaignOpening | null;
  /** The members who may have one. */
  eligible: ReadonlySet<number> | 'all';
}

/** The moment at which a coupon opens. */
export interface CampaignOpening {
  /** By the database's clock, which decides: milliseconds since 1970. */
  atMs: number;
  /** By the monotonic clock, in microseconds: not sooner and not later than by `uncertaintyUs`. */
  atUs: number;
  uncertaintyUs: number;
}

/** What `redis-counter` keeps beside the rows, read when everything had come to rest. */
export interface StockCounter {
  couponId: string;
  /** Null: there is no counter. */
  remaining: number | null;
  /** The local day that `quotaUsed` counts, `yyyy-mm-dd`; null before the first. */
  quotaDay: string | null;
  quotaUsed: number;
  /** Reservations that have no outcome yet. */
  reserved: number;
}

/**
 * Everything that a verdict on coupons is made from: what was to be given out, what the clients were told, what the shop
 * kept in the end, and how its stock looked meanwhile.
 *
 * It is whole: every request for one of the campaigns' coupons is among the answers, and everybody who has one is among the
 * rows.
 */
export interface CouponEvidence {
  campaigns: readonly Campaign[];
  answers: readonly CouponAnswer[];
  rows: CouponRows;
  /** May be none: then only the end is judged. */
  snapshots: readonly StockSnapshot[];
  /** One a campaign where the strategy keeps a counter, also when it is not there; else none. */
  counters: readonly StockCounter[];
}

/** What is known of one campaign. */
export interface CampaignEvidence {
  campaign: Campaign;
  answers: readonly CouponAnswer[];
  /** Absent when the shop does not know the coupon. */
  row: CouponRow | undefined;
  issued: readonly IssuedRow[];
  snapshots: readonly StockSnapshot[];
  /** Absent where the strategy keeps none. */
  counter: StockCounter | undefined;
}

/**
 * The evidence, by campaign.
 *
 * @throws RangeError  Something is about a coupon that is no campaign's, or two campaigns have one.
 */
export function byCampaign(evidence: CouponEvidence): CampaignEvidence[] {
  const { campaigns, answers, rows, snapshots, counters } = evidence;
  const known = new Set(campaigns.map(({ couponId }) => couponId));
  if (known.size < campaigns.length) throw new RangeError('two campaigns are about one coupon');
  const ofCoupon = <Item extends { couponId: string }>(items: readonly Item[]) => {
    const stray = items.find(({ couponId }) => !known.has(couponId));
    if (stray !== undefined) throw new RangeError(`coupon ${stray.couponId} is no campaign's`);
    const groups = Map.groupBy(items, ({ couponId }) => couponId);
    return (couponId: string): readonly Item[] => groups.get(couponId) ?? [];
  };
  const answersOf = ofCoupon(answers);
  const rowsOf = ofCoupon(rows.coupons);
  const issuedOf = ofCoupon(rows.issued);
  const snapshotsOf = ofCoupon(snapshots);
  const countersOf = ofCoupon(counters);
  return campaigns.map((campaign) => ({
    campaign,
    answers: answersOf(campaign.couponId),
    row: rowsOf(campaign.couponId)[0],
    issued: issuedOf(campaign.couponId),
    snapshots: snapshotsOf(campaign.couponId),
    counter: countersOf(campaign.couponId)[0],
  }));
}
