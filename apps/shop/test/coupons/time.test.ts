import { beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { together, until } from '../../../../test/barrier.ts';
import { thorough } from '../../../../test/stores.ts';
import type { CouponStrategyName } from '../../src/coupons/issue/index.ts';
import { type Ends, type Shops, startShops, untilFileEnds } from '../harness.ts';
import { ask, newCoupon, stockOf, tally } from './coupons.ts';
import { movableClock } from './movable-clock.ts';

type Store = 'postgres' | 'mariadb';
type Heard = Record<string, number>;

const strategies = [
  'conditional-update',
  'pessimistic',
  'optimistic-retry',
  'redis-counter',
  'group-commit',
] as const satisfies CouponStrategyName[];
type Strategy = (typeof strategies)[number];

const INSTANCES = 2;
const env = { COUPON_RETRY_PAUSE_MS: '2', LOCK_WAIT_MS: '20000' };

/** Two instances on a database where it is this moment, and members who have never asked before. */
async function shopsAt(store: Store, moment: string, ends?: Ends) {
  const { databaseUrl, moveTo } = await movableClock(store, moment, ends);
  const shops = await startShops({ databaseUrl, instances: INSTANCES, env, ...(ends && { ends }) });
  let members = 0;
  const rush = (id: string, strategy: Strategy, asking: number, answered?: () => void) =>
    together(asking, (index) =>
      ask(shops, id, { member: ++members, strategy, instance: index % INSTANCES }).finally(answered),
    );
  return { shops, moveTo, rush };
}

type ShopsAt = Awaited<ReturnType<typeof shopsAt>>;

const LONG_AGO = '2001-01-01T00:00:00Z';

const MICROSECONDS: Readonly<Record<Store, string>> = {
  postgres: 'extract(epoch from issued_at) * 1000000',
  mariadb: "timestampdiff(microsecond, '1970-01-01', issued_at)",
};

/**
 * The rows of a coupon: what is left, which day the quota counts and how many, and how many were issued at which moment.
 * Nobody has two, and the serials have no gaps.
 */
async function bookOf(shops: Shops, store: Store, id: string) {
  const [row] = await shops.sql('SELECT cast(quota_day as char(10)) AS quota_day FROM coupon WHERE id = ?', [
    id,
  ]);
  const issued = await shops.sql(
    `SELECT ${MICROSECONDS[store]} AS us FROM issued_coupon WHERE coupon_id = ?`,
    [id],
  );
  const at: Record<string, number> = {};
  for (const { us } of issued) {
    const moment = new Date(Number(us) / 1_000).toISOString();
    at[moment] = (at[moment] ?? 0) + 1;
  }
  const { remaining, quotaUsed, serials, members } = await stockOf(shops, id);
  expect(serials.toSorted((a, b) => a - b)).toEqual(serials.map((_, index) => index + 1));
  expect(new Set(members).size).toBe(members.length);
  return { remaining, quotaDay: row?.quota_day ?? null, quotaUsed, at };
}

/** As the rows have it: to the millisecond, since the clocks of JavaScript know no less. */
const instant = (moment: string) => new Date(moment).toISOString();

interface Scenario {
  readonly name: string;
  readonly coupon: Readonly<Record<string, unknown>>;
  /** Only its calendar is another one, and that is in the shop: the databases are told a day. */
  readonly ofCalendar?: true;
  /** At this moment, so many at once hear this; those who get one count for this day. */
  readonly steps: readonly (readonly [moment: string, asking: number, heard: Heard, countedFor?: string])[];
}

const NOT_OPEN = '400 not-open';
const SOLD_OUT = '400 sold-out';
const REACHED = '400 quota-reached';

const inSeoul = { timeZone: 'Asia/Seoul', downloadStartDate: '20310510', downloadEndDate: '20310512' };
const inNewYork = { timeZone: 'America/New_York' };
const plenty = { numberOfCoupons: 100 };

/** Every moment is written in the time of its place, so that it begins with the day that it counts for. */
const scenarios: readonly Scenario[] = [
  {
    name: 'the opening second: not a microsecond before it, and then exactly the stock',
    coupon: { ...inSeoul, openingTime: '10:00', numberOfCoupons: 5 },
    steps: [
      ['2031-05-10T09:59:59.999999+09:00', 20, { [NOT_OPEN]: 20 }],
      ['2031-05-10T10:00:00+09:00', 20, { ok: 5, [SOLD_OUT]: 15 }],
    ],
  },
  {
    name: 'an opening hour: each day from it until midnight, from the first day to the end of the last',
    coupon: { ...inSeoul, ...plenty, openingTime: '10:00', dailyQuota: 3 },
    steps: [
      ['2031-05-09T10:00:00+09:00', 2, { [NOT_OPEN]: 2 }],
      ['2031-05-09T23:59:59.999999+09:00', 2, { [NOT_OPEN]: 2 }],
      ['2031-05-10T00:00:00+09:00', 2, { [NOT_OPEN]: 2 }],
      ['2031-05-10T09:59:59.999999+09:00', 20, { [NOT_OPEN]: 20 }],
      ['2031-05-10T10:00:00+09:00', 20, { ok: 3, [REACHED]: 17 }],
      ['2031-05-10T23:59:59.999999+09:00', 2, { [REACHED]: 2 }],
      ['2031-05-11T00:00:00+09:00', 2, { [NOT_OPEN]: 2 }],
      ['2031-05-11T09:59:59.999999+09:00', 2, { [NOT_OPEN]: 2 }],
      ['2031-05-11T10:00:00+09:00', 20, { ok: 3, [REACHED]: 17 }],
      ['2031-05-12T23:59:59.999999+09:00', 20, { ok: 3, [REACHED]: 17 }],
      ['2031-05-13T00:00:00+09:00', 2, { [NOT_OPEN]: 2 }],
      ['2031-05-13T10:00:00+09:00', 2, { [NOT_OPEN]: 2 }],
    ],
  },
  {
    name: 'midnight: the quota that was used up is there again, once',
    coupon: { ...inSeoul, ...plenty, dailyQuota: 3 },
    steps: [
      ['2031-05-10T23:59:59.900000+09:00', 20, { ok: 3, [REACHED]: 17 }],
      ['2031-05-10T23:59:59.999999+09:00', 2, { [REACHED]: 2 }],
      ['2031-05-11T00:00:00+09:00', 20, { ok: 3, [REACHED]: 17 }],
      ['2031-05-11T00:00:00.000001+09:00', 2, { [REACHED]: 2 }],
      ['2031-05-11T23:59:59.999999+09:00', 2, { [REACHED]: 2 }],
    ],
  },
  {
    name: 'New York, clocks forward: 02:30 is skipped, and it opens at 03:30',
    coupon: { ...inNewYork, ...plenty, openingTime: '02:30', dailyQuota: 2 },
    ofCalendar: true,
    steps: [
      ['2026-03-08T01:59:59.999999-05:00', 2, { [NOT_OPEN]: 2 }],
      // The next microsecond: half an hour past the opening, by the face of the clock.
      ['2026-03-08T03:00:00-04:00', 2, { [NOT_OPEN]: 2 }],
      ['2026-03-08T03:29:59.999999-04:00', 20, { [NOT_OPEN]: 20 }],
      ['2026-03-08T03:30:00-04:00', 20, { ok: 2, [REACHED]: 18 }],
      ['2026-03-08T23:59:59.999999-04:00', 2, { [REACHED]: 2 }],
      ['2026-03-09T02:29:59.999999-04:00', 2, { [NOT_OPEN]: 2 }],
      ['2026-03-09T02:30:00-04:00', 20, { ok: 2, [REACHED]: 18 }],
    ],
  },
  {
    name: 'New York, clocks forward: the quota is that of a day of 23 hours',
    coupon: { ...inNewYork, ...plenty, dailyQuota: 2 },
    ofCalendar: true,
    steps: [
      ['2026-03-07T23:59:59.999999-05:00', 20, { ok: 2, [REACHED]: 18 }],
      ['2026-03-08T00:00:00-05:00', 20, { ok: 2, [REACHED]: 18 }],
      ['2026-03-08T03:00:00-04:00', 2, { [REACHED]: 2 }],
      ['2026-03-08T23:59:59.999999-04:00', 2, { [REACHED]: 2 }],
      ['2026-03-09T00:00:00-04:00', 20, { ok: 2, [REACHED]: 18 }],
    ],
  },
  {
    name: 'New York, clocks back: 01:30 comes twice, it opens at the first and stays open',
    coupon: { ...inNewYork, ...plenty, openingTime: '01:30', dailyQuota: 3 },
    ofCalendar: true,
    steps: [
      ['2026-11-01T01:29:59.999999-04:00', 20, { [NOT_OPEN]: 20 }],
      ['2026-11-01T01:30:00-04:00', 1, { ok: 1 }],
      // Half an hour before the opening, by the face of the clock.
      ['2026-11-01T01:00:00-05:00', 1, { ok: 1 }],
      ['2026-11-01T01:30:00-05:00', 20, { ok: 1, [REACHED]: 19 }],
      ['2026-11-02T01:29:59.999999-05:00', 2, { [NOT_OPEN]: 2 }],
      ['2026-11-02T01:30:00-05:00', 20, { ok: 3, [REACHED]: 17 }],
    ],
  },
  {
    name: 'New York, clocks back: one quota for the whole of a day of 25 hours',
    coupon: { ...inNewYork, ...plenty, dailyQuota: 2 },
    ofCalendar: true,
    steps: [
      ['2026-11-01T00:00:00-04:00', 20, { ok: 2, [REACHED]: 18 }],
      ['2026-11-01T01:00:00-05:00', 2, { [REACHED]: 2 }],
      ['2026-11-01T23:00:00-05:00', 2, { [REACHED]: 2 }],
      ['2026-11-01T23:59:59.999999-05:00', 2, { [REACHED]: 2 }],
      ['2026-11-02T00:00:00-05:00', 20, { ok: 2, [REACHED]: 18 }],
    ],
  },
  {
    name: 'Cairo, where the clocks skip midnight: the day begins with its first moment, at 01:00',
    coupon: { timeZone: 'Africa/Cairo', ...plenty, dailyQuota: 2 },
    ofCalendar: true,
    steps: [
      ['2026-04-23T23:59:59.999999+02:00', 20, { ok: 2, [REACHED]: 18 }],
      ['2026-04-24T01:00:00+03:00', 20, { ok: 2, [REACHED]: 18 }],
      ['2026-04-24T23:59:59.999999+03:00', 2, { [REACHED]: 2 }],
      ['2026-04-25T00:00:00+03:00', 20, { ok: 2, [REACHED]: 18 }],
    ],
  },
  {
    name: 'St. John’s in 2006, clocks back over midnight: a day that has begun is not left again',
    coupon: { timeZone: 'America/St_Johns', downloadStartDate: '20060101', ...plenty, dailyQuota: 2 },
    steps: [
      ['2006-10-28T23:30:00-02:30', 1, { ok: 1 }],
      ['2006-10-29T00:00:00-02:30', 1, { ok: 1 }],
      ['2006-10-28T23:30:00-03:30', 20, { ok: 1, [REACHED]: 19 }, '2006-10-29'],
      ['2006-10-29T12:00:00-03:30', 2, { [REACHED]: 2 }],
      ['2006-10-30T00:00:00-03:30', 20, { ok: 2, [REACHED]: 18 }],
    ],
  },
];

/** Plays a scenario with each strategy on a coupon of its own, and looks at the rows after each step. */
async function play(store: Store, { shops, moveTo, rush }: ShopsAt, { coupon, steps }: Scenario) {
  await moveTo(LONG_AGO);
  const coupons = new Map<Strategy, string>();
  for (const strategy of strategies) coupons.set(strategy, await newCoupon(shops, coupon));
  const initial = Number(coupon.numberOfCoupons);
  const expected = { remaining: initial, quotaDay: null as string | null, quotaUsed: 0, at: {} as Heard };
  for (const [moment, asking, heard, countedFor = moment.slice(0, 'yyyy-mm-dd'.length)] of steps) {
    await moveTo(moment);
    const { ok = 0 } = heard;
    if (ok > 0) {
      expected.remaining -= ok;
      expected.quotaUsed = (expected.quotaDay === countedFor ? expected.quotaUsed : 0) + ok;
      expected.quotaDay = countedFor;
      expected.at[instant(moment)] = ok;
    }
    for (const [strategy, id] of coupons) {
      expect(tally(await rush(id, strategy, asking)), `${strategy} at ${moment}`).toEqual(heard);
      expect(await bookOf(shops, store, id), `${strategy} at ${moment}`).toEqual(expected);
    }
  }
}

describe.each(['postgres', 'mariadb'] as const)('on %s', (store) => {
  const ends = untilFileEnds();
  let everybody: ShopsAt;
  beforeAll(async () => {
    everybody = await shopsAt(store, LONG_AGO, ends);
  });

  describe('from the first day to the last', () => {
    test.each(scenarios.filter(({ ofCalendar = false }) => !ofCalendar || store === 'postgres' || thorough))(
      '$name',
      (scenario) => play(store, everybody, scenario),
    );
  });

  test('the clock and the time zone of the process do not matter', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2019-03-10T10:00:00Z') });
    vi.stubEnv('TZ', 'America/Los_Angeles');
    onTestFinished(() => {
      vi.unstubAllEnvs();
      vi.useRealTimers();
    });
    // It is believed at once, or this test proves nothing.
    expect(new Date().getHours()).toBe(3);
    await play(store, await shopsAt(store, LONG_AGO), {
      name: 'Seoul',
      coupon: { ...inSeoul, ...plenty, openingTime: '10:00', dailyQuota: 3 },
      steps: [
        ['2031-05-10T09:59:59.999999+09:00', 20, { [NOT_OPEN]: 20 }],
        ['2031-05-10T10:00:00+09:00', 20, { ok: 3, [REACHED]: 17 }],
        ['2031-05-10T23:59:59.999999+09:00', 2, { [REACHED]: 2 }],
        ['2031-05-12T23:59:59.999999+09:00', 20, { ok: 3, [REACHED]: 17 }],
        ['2031-05-13T10:00:00+09:00', 2, { [NOT_OPEN]: 2 }],
      ],
    });
  });

  test.each(strategies)('%s: one moment is two days, in Seoul and in New York', async (strategy) => {
    const { shops, moveTo, rush } = everybody;
    await moveTo('2031-05-10T14:59:59.999999Z');
    const seoul = await newCoupon(shops, { timeZone: 'Asia/Seoul', ...plenty, dailyQuota: 2 });
    const newYork = await newCoupon(shops, { timeZone: 'America/New_York', ...plenty, dailyQuota: 2 });
    const gone = { [REACHED]: 20 };
    const there = { ok: 2, [REACHED]: 18 };
    async function expectAt(
      moment: string,
      expected: { inSeoul: [string, Heard]; inNewYork: [string, Heard] },
    ) {
      await moveTo(moment);
      for (const [id, [day, heard]] of [
        [seoul, expected.inSeoul],
        [newYork, expected.inNewYork],
      ] as const) {
        expect(tally(await rush(id, strategy, 20)), moment).toEqual(heard);
        expect(await bookOf(shops, store, id), moment).toMatchObject({ quotaDay: day, quotaUsed: 2 });
      }
    }
    await expectAt('2031-05-10T14:59:59.999999Z', {
      inSeoul: ['2031-05-10', there],
      inNewYork: ['2031-05-10', there],
    });
    await expectAt('2031-05-10T15:00:00Z', {
      inSeoul: ['2031-05-11', there],
      inNewYork: ['2031-05-10', gone],
    });
    await expectAt('2031-05-11T03:59:59.999999Z', {
      inSeoul: ['2031-05-11', gone],
      inNewYork: ['2031-05-10', gone],
    });
    await expectAt('2031-05-11T04:00:00Z', {
      inSeoul: ['2031-05-11', gone],
      inNewYork: ['2031-05-11', there],
    });
  });

  describe('requests that looked before midnight, and come to the row after it', () => {
    const BEFORE = '2031-05-10T23:59:59.900+09:00';
    const MIDNIGHT = '2031-05-11T00:00:00+09:00';
    const ASKING = 6;

    /**
     * Holds the coupon's row, lets six ask before midnight until all that are not refused wait for it, moves the clock to
     * midnight, lets the holder do something, and lets the row go.
     */
    async function overMidnight(
      strategy: Strategy,
      options: {
        coupon: Readonly<Record<string, unknown>>;
        stuck?: number;
        /** Statements of the holder, after midnight. */
        meanwhile?: (id: string) => string[];
      },
    ) {
      const { coupon, stuck = ASKING, meanwhile } = options;
      // Those of one instance who share a transaction wait in one.
      const waiting = strategy === 'group-commit' ? INSTANCES : stuck;
      const { shops, moveTo, rush } = everybody;
      await moveTo(BEFORE);
      const id = await newCoupon(shops, { timeZone: 'Asia/Seoul', ...plenty, ...coupon });
      const holder = await shops.hold(`SELECT * FROM coupon WHERE id = '${id}' FOR UPDATE`);
      let answered = 0;
      const asking = rush(id, strategy, ASKING, () => {
        answered++;
      });
      await until(async () => answered === ASKING - stuck && (await shops.waitingForLocks()) === waiting);
      await moveTo(MIDNIGHT);
      for (const statement of meanwhile?.(id) ?? []) await holder.query(statement);
      await holder.query('COMMIT');
      holder.release();
      const heard = tally(await asking);
      return { heard, book: await bookOf(shops, store, id) };
    }

    const SOMEBODY = 1_000_000;
    /** Somebody's issue, the first of the new day. */
    const firstOfNewDay = (id: string) => [
      `UPDATE coupon SET remaining = remaining - 1, version = version + 1, quota_day = '2031-05-11', quota_used = 1
        WHERE id = '${id}'`,
      `INSERT INTO issued_coupon (coupon_id, member_id, claimed_by, serial, strategy, instance, request_id, issued_at)
       VALUES ('${id}', ${SOMEBODY}, ${SOMEBODY}, 1, 'by hand', 'nobody', 'first', TIMESTAMP '2031-05-10 15:00:00')`,
    ];

    test.each(strategies)(
      '%s: where the new day has begun without them, they count for it, and leave the old one',
      async (strategy) => {
        const { heard, book } = await overMidnight(strategy, {
          coupon: { dailyQuota: 2 },
          // The counter turns the others away, before midnight.
          stuck: strategy === 'redis-counter' ? 2 : ASKING,
          meanwhile: firstOfNewDay,
        });
        expect(heard).toEqual({ ok: 1, [REACHED]: 5 });
        expect(book).toEqual({
          remaining: 98,
          quotaDay: '2031-05-11',
          quotaUsed: 2,
          at: { [instant(MIDNIGHT)]: 2 },
        });
      },
    );

    /** How many get one, with a moment of which day. */
    test.each<[Strategy, { stuck: number; before: number; after: number }]>([
      // All have looked before; the third finds the quota used up, and looks again.
      ['conditional-update', { stuck: ASKING, before: 2, after: 2 }],
      // They wait first, and look when they have the lock.
      ['pessimistic', { stuck: ASKING, before: 0, after: 2 }],
      // The first one's version is right; the others look again.
      ['optimistic-retry', { stuck: ASKING, before: 1, after: 2 }],
      // The counter let only two through, before midnight.
      ['redis-counter', { stuck: 2, before: 2, after: 0 }],
      ['group-commit', { stuck: ASKING, before: 0, after: 2 }],
    ])(
      '%s: neither day exceeds its quota, and whoever looked counts for the day that he saw',
      async (strategy, { stuck, before, after }) => {
        const { heard, book } = await overMidnight(strategy, { coupon: { dailyQuota: 2 }, stuck });
        expect(heard).toEqual({ ok: before + after, [REACHED]: ASKING - before - after });
        expect(book).toEqual({
          remaining: 100 - before - after,
          quotaDay: after > 0 ? '2031-05-11' : '2031-05-10',
          quotaUsed: after > 0 ? after : before,
          at: {
            ...(before > 0 ? { [instant(BEFORE)]: before } : {}),
            ...(after > 0 ? { [instant(MIDNIGHT)]: after } : {}),
          },
        });
      },
    );

    test.each<[Strategy, Heard]>([
      ['conditional-update', { ok: 6 }],
      ['pessimistic', { [NOT_OPEN]: 6 }],
      ['optimistic-retry', { ok: 1, [NOT_OPEN]: 5 }],
      ['redis-counter', { ok: 6 }],
      ['group-commit', { [NOT_OPEN]: 6 }],
    ])(
      '%s: the last day’s end: who looked in time gets one of that day, nobody else',
      async (strategy, expected) => {
        const { heard, book } = await overMidnight(strategy, { coupon: { downloadEndDate: '20310510' } });
        expect(heard).toEqual(expected);
        const { ok = 0 } = expected;
        expect(book).toEqual({
          remaining: 100 - ok,
          quotaDay: ok > 0 ? '2031-05-10' : null,
          quotaUsed: ok,
          at: ok > 0 ? { [instant(BEFORE)]: ok } : {},
        });
      },
    );
  });
});
