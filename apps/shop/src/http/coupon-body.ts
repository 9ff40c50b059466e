import { type Done, done } from 'pawl';
import Type, { type Static } from 'typebox';
import { isTimeZoneName, MIDNIGHT, parseDay } from '../coupons/calendar.ts';
import type { CouponDescription } from '../coupons/coupon.ts';
import { oneOf } from './schemas.ts';

/** Where nobody says in which time zone a coupon's days begin. */
const DEFAULT_TIME_ZONE = 'Asia/Seoul';
const MOST_PERCENT = 100;
/** In characters, as Unicode counts them in the composed form (NFC). */
const LONGEST_NAME = 100;
/** What the database's columns hold. */
const MOST = 2_147_483_647;

const daySchema = Type.String({ pattern: '^[0-9]{8}$' });

export const couponBody = Type.Object(
  {
    // How long it is turns out when it is composed.
    couponName: Type.String({ minLength: 1 }),
    couponCode: Type.String({ pattern: '^[\\x21-\\x7e]{1,64}$' }),
    downloadStartDate: daySchema,
    downloadEndDate: daySchema,
    availableStartDate: daySchema,
    availableEndDate: daySchema,
    discountType: oneOf(['PERCENT', 'WON']),
    cost: Type.Integer({ minimum: 1, maximum: MOST }),
    numberOfCoupons: Type.Integer({ minimum: 1, maximum: MOST }),
    couponType: oneOf(['ALL', 'MEMBERSHIP', 'FIRST', 'VIP']),
    /** As the IANA names it. */
    timeZone: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    openingTime: Type.Optional(Type.String({ pattern: '^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$' })),
    dailyQuota: Type.Optional(Type.Integer({ minimum: 1, maximum: MOST })),
  },
  { additionalProperties: false },
);

/** What the schema cannot say, in a sentence for the client. */
export interface Unreadable {
  readonly outcome: 'unreadable';
  readonly message: string;
}

const days = ['downloadStartDate', 'downloadEndDate', 'availableStartDate', 'availableEndDate'] as const;

/** Reads a body that the schema has accepted. */
export function readCouponBody(body: Static<typeof couponBody>): Done<CouponDescription> | Unreadable {
  const unreadable = (message: string): Unreadable => ({ outcome: 'unreadable', message });

  // One spelling for what looks the same, since names are unique.
  const name = body.couponName.normalize('NFC');
  if (name !== name.trim() || /\p{C}/u.test(name)) {
    return unreadable(
      'couponName must not begin or end with a blank, nor contain control or invisible characters.',
    );
  }
  if ([...name].length > LONGEST_NAME)
    return unreadable(`couponName has at most ${LONGEST_NAME} characters.`);
  const read = { downloadStartDate: '', downloadEndDate: '', availableStartDate: '', availableEndDate: '' };
  for (const field of days) {
    const day = parseDay(body[field]);
    if (day === undefined || day < '1970') return unreadable(`${field} must be a day, as yyyyMMdd.`);
    read[field] = day;
  }
  if (read.downloadStartDate > read.downloadEndDate) {
    return unreadable('downloadEndDate must not be before downloadStartDate.');
  }
  if (read.availableStartDate > read.availableEndDate) {
    return unreadable('availableEndDate must not be before availableStartDate.');
  }
  if (read.availableEndDate < read.downloadEndDate) {
    return unreadable('availableEndDate must not be before downloadEndDate: it could not be used any more.');
  }
  if (body.discountType === 'PERCENT' && body.cost > MOST_PERCENT) {
    return unreadable(`cost must be from 1 to ${MOST_PERCENT} where it is a percentage.`);
  }
  const { timeZone = DEFAULT_TIME_ZONE, openingTime = MIDNIGHT, dailyQuota = null } = body;
  if (!isTimeZoneName(timeZone)) {
    return unreadable('timeZone must be the name of a time zone, as Asia/Seoul.');
  }
  return done({
    name,
    code: body.couponCode,
    download: {
      startDate: read.downloadStartDate,
      endDate: read.downloadEndDate,
      openingTime: openingTime.length === MIDNIGHT.length ? openingTime : `${openingTime}:00`,
      timeZone,
    },
    available: { startDate: read.availableStartDate, endDate: read.availableEndDate },
    discountType: body.discountType,
    cost: body.cost,
    couponType: body.couponType,
    numberOfCoupons: body.numberOfCoupons,
    dailyQuota,
  });
}
