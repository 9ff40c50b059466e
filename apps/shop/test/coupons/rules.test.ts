import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { atMoment, type DownloadWindow, isTimeZoneName, parseDay } from '../../src/coupons/calendar.ts';
import type { Coupon } from '../../src/coupons/coupon.ts';
import { type Sighting, takeOne } from '../../src/coupons/rules.ts';

const seoul: DownloadWindow = {
  startDate: '2026-11-22',
  endDate: '2026-11-24',
  openingTime: '10:00:00',
  timeZone: 'Asia/Seoul',
};

const at = (text: string) => new Date(text);

describe('the window, by points in time', () => {
  test.each([
    ['before the first day', '2026-11-21T14:59:59.999Z', { day: '2026-11-21', open: false }],
    ['the first day, before it opens', '2026-11-22T00:59:59.999Z', { day: '2026-11-22', open: false }],
    ['the opening second', '2026-11-22T01:00:00.000Z', { day: '2026-11-22', open: true }],
    ['the end of the day', '2026-11-22T14:59:59.999Z', { day: '2026-11-22', open: true }],
    ['midnight', '2026-11-22T15:00:00.000Z', { day: '2026-11-23', open: false }],
    ['the last day', '2026-11-24T14:59:59.999Z', { day: '2026-11-24', open: true }],
    ['after the last day', '2026-11-25T05:00:00.000Z', { day: '2026-11-25', open: false }],
  ])('%s', (_name, now, expected) => {
    expect(atMoment(seoul, at(now))).toEqual(expected);
  });

  test('of one moment each window has its own answer, whichever was asked about before', () => {
    const moment = at('2026-11-22T15:30:00Z');
    const inNewYork = { ...seoul, timeZone: 'America/New_York' };
    const windows = [
      [seoul, { day: '2026-11-23', open: false }],
      // Each differs from the one before in one thing.
      [inNewYork, { day: '2026-11-22', open: true }],
      [
        { ...inNewYork, openingTime: '11:00:00' },
        { day: '2026-11-22', open: false },
      ],
      [inNewYork, { day: '2026-11-22', open: true }],
      [
        { ...inNewYork, startDate: '2026-11-23' },
        { day: '2026-11-22', open: false },
      ],
      [
        { ...inNewYork, startDate: '2026-11-01' },
        { day: '2026-11-22', open: true },
      ],
      [
        { ...inNewYork, startDate: '2026-11-01', endDate: '2026-11-21' },
        { day: '2026-11-22', open: false },
      ],
      [inNewYork, { day: '2026-11-22', open: true }],
      [seoul, { day: '2026-11-23', open: false }],
    ] as const;
    for (const [window, expected] of windows) expect(atMoment(window, moment)).toEqual(expected);
  });

  test('many windows may be asked about in one second', () => {
    const moment = at('2026-11-22T01:00:00Z');
    const times = Array.from({ length: 50 }, (_, minute) => `09:${String(minute + 10)}:00`);
    for (const _again of [1, 2]) {
      for (const openingTime of [...times, '10:00:01']) {
        expect(atMoment({ ...seoul, openingTime }, moment).open).toBe(openingTime < '10:00:01');
      }
    }
  });

  test('nothing changes within a second, wherever and whenever it is', () => {
    const zones = [
      'Asia/Seoul',
      'America/St_Johns',
      'Africa/Cairo',
      'Australia/Lord_Howe',
      'Africa/Monrovia',
    ];
    const seconds = fc.integer({ min: Date.UTC(1970, 0) / 1_000, max: Date.UTC(2037, 0) / 1_000 });
    const ofDay = fc.integer({ min: 0, max: 24 * 60 * 60 - 1 });
    fc.assert(
      fc.property(fc.constantFrom(...zones), seconds, ofDay, (timeZone, second, opening) => {
        const openingTime = new Date(opening * 1_000).toISOString().slice(11, 19);
        const window = { startDate: '1970-01-01', endDate: '2037-12-31', openingTime, timeZone };
        const first = atMoment(window, new Date(second * 1_000));
        // So that it is looked up anew.
        atMoment(window, new Date(0));
        expect(atMoment(window, new Date(second * 1_000 + 999))).toEqual(first);
      }),
    );
  });

  test('an opening time that the clocks skip is as much later as they skip', () => {
    const spring = {
      ...seoul,
      startDate: '2026-03-08',
      openingTime: '02:30:00',
      timeZone: 'America/New_York',
    };
    expect(atMoment(spring, at('2026-03-08T07:29:59.999Z')).open).toBe(false);
    expect(atMoment(spring, at('2026-03-08T07:30:00Z')).open).toBe(true);
  });

  test('an opening time that the clocks show twice is the first, and what has opened stays open', () => {
    const autumn = {
      ...seoul,
      ...{ startDate: '2026-11-01', endDate: '2026-11-01' },
      ...{ openingTime: '01:30:00', timeZone: 'America/New_York' },
    };
    expect(atMoment(autumn, at('2026-11-01T05:29:59.999Z')).open).toBe(false);
    expect(atMoment(autumn, at('2026-11-01T05:30:00Z')).open).toBe(true);
    // 01:00 once more, which is before 01:30 by the face of the clock.
    expect(atMoment(autumn, at('2026-11-01T06:00:00Z')).open).toBe(true);
  });

  test('a day without a midnight begins with its first moment, and the day before ends there', () => {
    const cairo = {
      ...seoul,
      ...{ startDate: '2026-04-23', endDate: '2026-04-24' },
      ...{ openingTime: '00:00:00', timeZone: 'Africa/Cairo' },
    };
    expect(atMoment(cairo, at('2026-04-23T21:59:59.999Z'))).toEqual({ day: '2026-04-23', open: true });
    expect(atMoment(cairo, at('2026-04-23T22:00:00Z'))).toEqual({ day: '2026-04-24', open: true });
  });

  test('a day of 25 hours has one quota day from its first moment to its last', () => {
    const autumn = { ...seoul, startDate: '2026-11-01', timeZone: 'America/New_York' };
    expect(atMoment(autumn, at('2026-11-01T04:00:00Z')).day).toBe('2026-11-01');
    expect(atMoment(autumn, at('2026-11-02T04:59:59.999Z')).day).toBe('2026-11-01');
    expect(atMoment(autumn, at('2026-11-02T05:00:00Z')).day).toBe('2026-11-02');
  });
});

test.each([
  ['20260228', '2026-02-28'],
  ['20240229', '2024-02-29'],
  ['20260229', undefined],
  ['20261301', undefined],
  ['20260100', undefined],
])('the day %s is %s', (text, day) => {
  expect(parseDay(text)).toBe(day);
});

test('time zones are known by name', () => {
  expect(['Asia/Seoul', 'Etc/GMT+9', 'UTC'].filter(isTimeZoneName)).toHaveLength(3);
  expect(['Asia/Atlantis', '+09:00', '2026-01-01T00:00Z', ''].filter(isTimeZoneName)).toEqual([]);
});

const coupon: Coupon = {
  id: 'c',
  name: 'n',
  code: 'c',
  download: seoul,
  available: { startDate: '2026-11-22', endDate: '2026-12-31' },
  discountType: 'WON',
  cost: 1_000,
  couponType: 'ALL',
  numberOfCoupons: 10,
  dailyQuota: null,
  remaining: 10,
};

function sighting(changes: Partial<Omit<Sighting, 'coupon'>> & { coupon?: Partial<Coupon> }): Sighting {
  return {
    quotaDay: null,
    quotaUsed: 0,
    now: at('2026-11-22T03:00:00Z'),
    standing: 'GENERAL',
    alreadyIssued: false,
    ...changes,
    coupon: { ...coupon, ...changes.coupon },
  };
}

describe('taking one', () => {
  test('the last coupon is the last', () => {
    const last = takeOne(sighting({ coupon: { remaining: 1 } }));
    expect(last).toMatchObject({ outcome: 'done', value: { remaining: 0, serial: 10 } });
    expect(takeOne(sighting({ coupon: { remaining: 0 } }))).toMatchObject({ reason: 'sold-out' });
  });

  test.each([
    ['ALL', ['GENERAL', 'FIRST', 'MEMBERSHIP', 'VIP']],
    ['MEMBERSHIP', ['MEMBERSHIP', 'VIP']],
    ['FIRST', ['FIRST']],
    ['VIP', ['VIP']],
  ] as const)('%s is for %o', (couponType, standings) => {
    const eligible = (['GENERAL', 'FIRST', 'MEMBERSHIP', 'VIP'] as const).filter((standing) => {
      const taken = takeOne(sighting({ standing, coupon: { couponType } }));
      if (taken.outcome === 'refused') expect(taken.reason).toBe('not-eligible');
      return taken.outcome === 'done';
    });
    expect(eligible).toEqual(standings);
  });

  test('whoever has one is refused as such, also when nothing is left', () => {
    const taken = takeOne(sighting({ alreadyIssued: true, coupon: { remaining: 0 } }));
    expect(taken).toMatchObject({ reason: 'already-issued' });
  });

  test('the quota is the day’s: reached today, there again tomorrow', () => {
    const used = { quotaDay: '2026-11-22', quotaUsed: 2, coupon: { dailyQuota: 2 } };
    expect(takeOne(sighting(used))).toMatchObject({ reason: 'quota-reached' });
    const tomorrow = takeOne(sighting({ ...used, now: at('2026-11-23T03:00:00Z') }));
    expect(tomorrow).toMatchObject({ value: { quotaDay: '2026-11-23', quotaUsed: 1 } });
  });

  test('a clock that is set back does not give yesterday its quota again', () => {
    const setBack = { now: at('2026-11-22T14:59:00Z'), quotaDay: '2026-11-23', quotaUsed: 2 };
    expect(takeOne(sighting({ ...setBack, coupon: { dailyQuota: 2 } }))).toMatchObject({
      reason: 'quota-reached',
    });
    expect(takeOne(sighting(setBack))).toMatchObject({ value: { quotaDay: '2026-11-23', quotaUsed: 3 } });
  });

  test('one after the other, over any days: never more than the stock, nor a day’s quota, and serials without gaps', () => {
    const asks = fc.array(fc.integer({ min: 0, max: 3 * 24 * 60 }), { maxLength: 60 });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 5 }),
        asks,
        (stock, quota, minutes) => {
          let seen = sighting({ coupon: { numberOfCoupons: stock, remaining: stock, dailyQuota: quota } });
          const serials: number[] = [];
          const days = new Map<string, number>();
          for (const minute of minutes.toSorted((a, b) => a - b)) {
            seen = { ...seen, now: new Date(at('2026-11-21T15:00:00Z').getTime() + minute * 60_000) };
            const taken = takeOne(seen);
            if (taken.outcome !== 'done') continue;
            const { remaining, quotaDay, quotaUsed, serial } = taken.value;
            serials.push(serial);
            days.set(quotaDay, (days.get(quotaDay) ?? 0) + 1);
            seen = { ...seen, quotaDay, quotaUsed, coupon: { ...seen.coupon, remaining } };
          }
          expect(serials).toEqual(serials.map((_, index) => index + 1));
          expect(serials.length).toBe(stock - seen.coupon.remaining);
          for (const used of days.values()) expect(used).toBeLessThanOrEqual(quota);
        },
      ),
    );
  });
});
