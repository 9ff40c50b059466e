import { randomUUID } from 'node:crypto';
import { expect, onTestFinished, test } from 'vitest';
import { newDatabase, sqlStores } from '../../../../test/stores.ts';
import { type CouponDescription, createCoupon, findCoupon, listCoupons } from '../../src/coupons/coupon.ts';
import { openDatabase } from '../../src/store/database.ts';
import { migrate } from '../../src/store/migrate.ts';

/** Every kind of column: keys, which are bytes on MySQL, text, numbers and days. */
const described: CouponDescription = {
  name: '가을 할인 쿠폰 🎟',
  code: 'AUTUMN',
  download: {
    startDate: '2031-05-10',
    endDate: '2031-05-12',
    openingTime: '10:00:00',
    timeZone: 'Asia/Seoul',
  },
  available: { startDate: '2031-05-10', endDate: '2031-12-31' },
  discountType: 'WON',
  cost: 1_000,
  couponType: 'VIP',
  numberOfCoupons: 100,
  dailyQuota: null,
};

test.each(sqlStores)('on %s, a coupon is read as it was written: text is text, not bytes', async (store) => {
  const url = await newDatabase(store);
  await migrate(url, 'test');
  const { db, sql } = openDatabase({
    url,
    applicationName: 'test',
    poolSize: 1,
    lockWaitMs: 5_000,
    statementTimeoutMs: 10_000,
    longestWaitMs: 1_000,
    onIdleError: () => undefined,
  });
  onTestFinished(() => db.destroy());
  const created = await createCoupon(sql, described);
  if (created.outcome !== 'done') throw new Error(created.reason);
  const { id } = created.value;
  const coupon = { ...described, id, remaining: 100 };
  expect(await findCoupon(db, id)).toEqual(coupon);
  expect(await listCoupons(db, { limit: 1, before: undefined })).toEqual([coupon]);
  expect(await findCoupon(db, randomUUID())).toBeUndefined();
});
