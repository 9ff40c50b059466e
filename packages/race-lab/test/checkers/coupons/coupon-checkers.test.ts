import { describe, expect, test } from 'vitest';
import { checkGrants } from '../../../src/checkers/coupons/grants.ts';
import { checkKeptAsTold } from '../../../src/checkers/coupons/kept-as-told.ts';
import { checkOnceEach } from '../../../src/checkers/coupons/once-each.ts';
import { checkOrder } from '../../../src/checkers/coupons/order.ts';
import { checkStock } from '../../../src/checkers/coupons/stock.ts';
import type { CouponChecker } from '../../../src/checkers/violation.ts';
import type { IssuedRow } from '../../../src/history/coupon-rows.ts';
import {
  about,
  answer,
  COUPON,
  campaign,
  counter,
  evidence,
  failed,
  granted,
  NOON_MS,
  opensAt,
  refused,
  rowsOf,
  type Story,
  snapshot,
  soldOut,
  story,
} from './coupon-histories.ts';

/** Every bad history stands between two good coupons, which must stay out of what is reported. */
function reported(check: CouponChecker, one: Story): string[] {
  const violations = [...check(evidence(about('coupon-0', soldOut()), one, about('coupon-z', soldOut())))];
  for (const { couponId, detail } of violations) {
    expect(couponId).toBe(COUPON);
    expect(detail).toContain(`coupon ${COUPON}: `);
  }
  return violations.map(({ invariant, detail }) => `${invariant} ${detail}`);
}

interface Case {
  name: string;
  story: Story;
  /** One pattern for each violation, in order; none: the history is good. */
  says: RegExp[];
}

function judges(check: CouponChecker, cases: readonly Case[]): void {
  test.each(cases)('$name', ({ story, says }) => {
    const details = reported(check, story);
    expect(details).toHaveLength(says.length);
    for (const [index, pattern] of says.entries()) expect(details[index]).toMatch(pattern);
  });
}

const two = [granted(1, 0, 2), granted(2, 20, 1)];
const all = [...two, granted(3, 40, 0)];
const withQuota = campaign({ initial: 10, dailyQuota: 2 });
const twoOfTen = [granted(1, 0, 9, 10), granted(2, 20, 8, 10)];
const opening = campaign(opensAt(0));
/** Five requests of member 1, of which the first gets one. */
const fiveBeside = (atMs: number, forMs: number) =>
  [granted(1, atMs, 2), ...[1, 2, 3, 4].map((nth) => refused(1, atMs + nth / 10, 'already-issued'))].map(
    (one) => ({
      ...one,
      releasedAtUs: atMs * 1000,
      answeredAtUs: (atMs + forMs) * 1000,
    }),
  );
const heldBack = (atMs: number) => answer(1, atMs, { status: 429, code: 'too-many-requests' });

describe('I0: whoever may have one and asks is granted it, while there are any', () => {
  judges(checkGrants, [
    { name: 'accepts a sale to the last one', story: soldOut(), says: [] },
    {
      name: 'accepts that some are left when everybody who asked has one',
      story: story([...two, refused(1, 40, 'already-issued')]),
      says: [],
    },
    {
      name: 'accepts that somebody is told to try again who has one in the end',
      story: story([refused(1, 0, 'contended'), granted(1, 20, 2), refused(1, 40, 'lock-timeout')]),
      says: [],
    },
    ...['contended', 'lock-timeout', 'in-progress', 'too-many-requests'].map((code) => ({
      name: `rejects ${code} to somebody who has none, though none was left in the end`,
      story: story([refused(4, 10, code), ...all]),
      says: [new RegExp(`^I0 .*member 4 was refused 1 times without a reason \\(400 ${code} to m4-10\\)`)],
    })),
    {
      name: 'rejects that one of a crowd is turned away though others after him get the rest',
      story: story([
        ...all.map((one) => ({ ...one, releasedAtUs: 0, answeredAtUs: 90_000 })),
        { ...refused(4, 1, 'contended'), releasedAtUs: 0 },
        refused(5, 100, 'sold-out'),
      ]),
      says: [/member 4 was refused 1 times without a reason/],
    },
    {
      name: 'accepts in-progress beside another request of the same member',
      story: story([granted(1, 0, 2), refused(1, 10, 'in-progress'), ...all.slice(1)]),
      says: [],
    },
    {
      name: 'accepts in-progress after a request whose outcome nobody knows',
      story: story([answer(4, 0, { status: undefined, answeredAtUs: 5_000 }), refused(4, 60, 'in-progress')]),
      says: [/member 4 was told neither/, /member 4 was not granted one/],
    },
    {
      name: 'rejects in-progress after the end of the other request, also of who has one',
      story: story([granted(1, 0, 2), refused(1, 11, 'in-progress')]),
      says: [/member 1 was refused 1 times without a reason \(400 in-progress to m1-11\)/],
    },
    {
      name: "rejects in-progress beside another member's request, and beside others that were told the same",
      story: story([
        granted(1, 0, 2),
        refused(2, 0, 'in-progress'),
        refused(2, 1, 'in-progress'),
        answer(2, 2, { status: 429, code: 'too-many-requests' }),
        granted(2, 200, 1),
      ]),
      says: [
        /member 2 was refused 3 times without a reason \(400 in-progress to m2-0, 400 in-progress to m2-1, 429 /,
      ],
    },
    {
      name: 'accepts that one member is held back who has as many under way as he may',
      story: story([...fiveBeside(0, 1_600), heldBack(1_590)]),
      says: [],
    },
    {
      name: 'accepts that one member is held back who has just begun as many as he may',
      story: story([...fiveBeside(0, 10), heldBack(1_500)]),
      says: [],
    },
    {
      name: 'rejects that one member is held back who began them long ago',
      story: story([...fiveBeside(0, 10), heldBack(1_501)]),
      says: [/member 1 was refused 1 times without a reason \(429 too-many-requests to m1-1501\)/],
    },
    {
      name: 'rejects that one member is held back beside less, or beside those that were held back themselves',
      story: story([...fiveBeside(0, 10).slice(1), granted(1, 5, 2), heldBack(20)].slice(1)),
      says: [/member 1 was refused 1 times without a reason/],
    },
    {
      name: 'does not count what was held back, what another instance was asked, and what comes later',
      story: story([
        ...fiveBeside(0, 10).slice(0, 4),
        ...[1, 2, 3].map(() => heldBack(8)),
        { ...refused(1, 9, 'already-issued'), instance: 'lotto-back-2' },
        refused(1, 31, 'already-issued'),
        heldBack(20),
      ]),
      says: [/member 1 was refused 4 times without a reason/],
    },
    ...['contended', 'lock-timeout'].map((code) => ({
      name: `rejects ${code} to somebody who has none, while some were left`,
      story: story([...two, refused(7, 40, code)]),
      says: [
        /member 7 was refused 1 times without a reason/,
        new RegExp(`member 7 was not granted one, but 1 were left in the end \\(400 ${code} to m7-40\\)`),
      ],
    })),
    ...['sold-out', 'already-issued'].map((code) => ({
      name: `rejects ${code} to somebody who has none, while some were left`,
      story: story([...two, refused(7, 40, code)]),
      says: [
        new RegExp(
          `^I0 .*member 7 was not granted one, but 1 were left in the end \\(400 ${code} to m7-40\\)`,
        ),
      ],
    })),
    {
      name: 'rejects it of each member who went away with nothing',
      story: story([...two, refused(7, 40, 'sold-out'), refused(8, 40, 'sold-out')]),
      says: [/member 7 was not granted/, /member 8 was not granted/],
    },
    {
      name: 'rejects that one is sold out to somebody while the rows say that there was one',
      story: story([granted(1, 0, 2), granted(2, 20, 1), refused(3, 40, 'sold-out')]),
      says: [/member 3 was not granted one/],
    },
    {
      name: 'takes it for granted when only the row shows that he has one',
      story: story([...two, failed(3, 40)], {
        issued: rowsOf(all).map((row) => (row.memberId === 3 ? { ...row, requestId: 'm3-40' } : row)),
      }),
      says: [/member 3 was told neither yes nor no by 1 answers \(500 to m3-40\)/],
    },
    {
      name: 'leaves it to others that there is no row for a success',
      story: story(two, { issued: rowsOf(two).slice(0, 1) }),
      says: [],
    },
    {
      name: 'rejects a failure of the server',
      story: story([...all, failed(4, 60, 503), failed(4, 80)]),
      says: [/member 4 was told neither yes nor no by 2 answers \(503 to m4-60, 500 to m4-80\)/],
    },
    {
      name: 'rejects a missing answer',
      story: story([...all, answer(4, 60, { status: undefined, error: 'reset' })]),
      says: [/member 4 was told neither yes nor no by 1 answers \(nothing reset to m4-60\)/],
    },
    ...[
      'coupon-not-found',
      'invalid-request',
      'strategy-unavailable',
      'not-open',
      'not-eligible',
      'quota-reached',
    ].map((code) => ({
      name: `rejects ${code} where it cannot be so`,
      story: story([...all, refused(4, 60, code)]),
      says: [new RegExp(`member 4 was refused 1 times without a reason \\(400 ${code} to m4-60\\)`)],
    })),
    {
      name: 'rejects a refusal without a code',
      story: story([...all, answer(4, 60, { status: 404 })]),
      says: [/member 4 was refused 1 times without a reason \(404 to m4-60\)/],
    },
    {
      name: 'rejects that one member is granted two',
      story: story([granted(1, 0, 2), granted(1, 20, 1)]),
      says: [/member 1 was granted 2 \(200 to m1-0, 200 to m1-20\)/],
    },
    {
      name: 'accepts that who is not eligible is refused, and that some are left then',
      story: story([granted(1, 0, 2), refused(2, 20, 'not-eligible'), refused(2, 40, 'sold-out')], {
        campaign: campaign({ eligible: new Set([1]) }),
      }),
      says: [],
    },
    {
      name: 'rejects that who is not eligible is granted one',
      story: story([granted(1, 0, 2), granted(2, 20, 1)], { campaign: campaign({ eligible: new Set([1]) }) }),
      says: [/member 2 has one, but is not eligible \(200 to m2-20\)/],
    },
    {
      name: 'rejects that who is not eligible has one, whatever he was told',
      story: story([granted(1, 0, 2), failed(2, 20)], {
        campaign: campaign({ eligible: new Set([1]) }),
        issued: rowsOf([granted(1, 0, 2), granted(2, 20, 1)]),
      }),
      says: [/member 2 was told neither/, /member 2 has one, but is not eligible/],
    },
    {
      name: 'rejects that who is eligible is told that he is not',
      story: story([...all, refused(2, 60, 'not-eligible')], {
        campaign: campaign({ eligible: new Set([1, 2, 3]) }),
      }),
      says: [/member 2 was refused 1 times without a reason \(400 not-eligible to m2-60\)/],
    },
    {
      name: 'accepts that the quota of the day is reached before the stock',
      story: story([...twoOfTen, refused(3, 40, 'quota-reached')], { campaign: withQuota }),
      says: [],
    },
    {
      name: 'rejects that somebody has none while the quota lasts',
      story: story([granted(1, 0, 9, 10), refused(3, 40, 'quota-reached')], { campaign: withQuota }),
      says: [/member 3 was not granted one, but 1 were left/],
    },
    {
      name: 'accepts that somebody asked only before the opening',
      story: story([refused(1, 0, 'not-open'), refused(2, 0, 'not-open'), granted(2, 20, 2)], {
        campaign: opening,
      }),
      says: [],
    },
    {
      name: 'rejects that somebody who asked after the opening has none',
      story: story([granted(2, 20, 2), refused(1, 0, 'not-open'), refused(1, 40, 'sold-out')], {
        campaign: opening,
      }),
      says: [/member 1 was not granted one, but 2 were left/],
    },
    {
      name: 'rejects that it is not open after the opening: it opened late',
      story: story([refused(1, 1, 'not-open'), granted(1, 40, 2), refused(2, 1, 'not-open')], {
        campaign: opening,
      }),
      says: [
        /member 1 was refused 1 times without a reason \(400 not-open to m1-1\)/,
        /member 2 was refused 1 times without a reason \(400 not-open to m2-1\)/,
        /member 2 was not granted one, but 2 were left/,
      ],
    },
    {
      name: 'accepts that it is not open as long as the clocks may differ so much',
      story: story([refused(1, 1, 'not-open'), granted(1, 40, 2)], { campaign: campaign(opensAt(0, 1)) }),
      says: [],
    },
    {
      name: 'names at most five answers',
      story: story([...all, ...[1, 2, 3, 4, 5, 6].map((index) => failed(4, 60 + index))]),
      says: [/by 6 answers \((500 to m4-\d+, ){5}…\)/],
    },
  ]);
});

describe('I4: the stock adds up', () => {
  const kept = (over: Partial<NonNullable<Story['row']>>) => {
    const told = soldOut();
    return { ...told, row: told.row && { ...told.row, ...over } };
  };
  const decidedAt = (answers: Story['answers'], ...times: string[]): IssuedRow[] =>
    rowsOf(answers).map((row, index) => ({ ...row, issuedAtMs: Date.parse(times[index] ?? '') }));

  judges(checkStock, [
    { name: 'accepts a sale to the last one', story: soldOut(), says: [] },
    { name: 'accepts that some are left when not enough asked', story: story(two), says: [] },
    {
      name: 'rejects snapshots that do not add up, and names the first and the worst',
      story: soldOut({
        snapshots: [snapshot(0, 3, 0), snapshot(50, 2, 2), snapshot(100, 2, 3), snapshot(150, 0, 3)],
      }),
      says: [
        /^I4 .*2 of 4 snapshots are not 3 together, first 2 left and 2 issued at \+50 ms, worst 2 left and 3 issued at \+100 ms/,
      ],
    },
    {
      name: 'rejects snapshots in which something is lost',
      story: soldOut({ snapshots: [snapshot(0, 2, 0)] }),
      says: [/1 of 1 snapshots are not 3 together/],
    },
    {
      name: 'rejects less than none in a snapshot, although it adds up',
      story: soldOut({ snapshots: [snapshot(0, 3, 0), snapshot(50, -1, 4)] }),
      says: [/below zero in 1 of 2 snapshots, first -1 left and 4 issued at \+50 ms/],
    },
    {
      name: 'rejects a lost update: more are issued than were taken off',
      story: kept({ remaining: 1 }),
      says: [/1 left and 3 issued in the end are not 3 together/],
    },
    {
      name: 'rejects that more were taken off than issued',
      story: story(two, { row: { ...story(two).row, remaining: 0 } as Story['row'] }),
      says: [/0 left and 2 issued in the end are not 3 together/],
    },
    {
      name: 'rejects overselling, and less than none in the end',
      story: story([...all, granted(4, 60, -1)]),
      says: [/-1 are left in the end/, /oversold: 4 of 3 were issued/],
    },
    {
      name: 'rejects underselling when enough asked',
      story: story([...two, refused(3, 40, 'sold-out')]),
      says: [/undersold: 2 of 3 were issued, though 3 eligible members asked/],
    },
    {
      name: 'counts a member who asks often as one, and who is not eligible as none',
      story: story([...two, refused(1, 40, 'already-issued'), refused(3, 60, 'not-eligible')], {
        campaign: campaign({ eligible: new Set([1, 2]) }),
      }),
      says: [],
    },
    {
      name: 'rejects another number in all',
      story: kept({ numberOfCoupons: 4 }),
      says: [/the shop has 4 in all, not 3/],
    },
    {
      name: 'rejects a coupon that the shop does not know',
      story: soldOut({ row: null }),
      says: [/does not know it/],
    },
    {
      name: 'accepts that the quota of a day is used up',
      story: story([...twoOfTen, refused(3, 40, 'quota-reached')], { campaign: withQuota }),
      says: [],
    },
    {
      name: 'accepts the quota of two days, which end at midnight in the time zone of the coupon',
      story: story([...twoOfTen, granted(3, 40, 7, 10), granted(4, 60, 6, 10)], {
        campaign: withQuota,
        issued: decidedAt(
          [...twoOfTen, granted(3, 40, 7, 10), granted(4, 60, 6, 10)],
          '2026-03-01T14:59:59.998Z',
          '2026-03-01T14:59:59.999Z',
          '2026-03-01T15:00:00.000Z',
          // Decided before the one before it, but of the day that had begun by then.
          '2026-03-01T14:59:59.999Z',
        ),
        row: {
          ...story([]).row,
          couponId: COUPON,
          numberOfCoupons: 10,
          remaining: 6,
          dailyQuota: 2,
          quotaDay: '2026-03-02',
          quotaUsed: 2,
        },
      }),
      says: [],
    },
    {
      name: 'rejects more than the quota of a day, also when UTC makes two days of it',
      story: story([...twoOfTen, granted(3, 40, 7, 10)], {
        campaign: withQuota,
        issued: decidedAt(
          [...twoOfTen, granted(3, 40, 7, 10)],
          '2026-02-28T23:59:59Z',
          '2026-03-01T00:00:00Z',
          '2026-03-01T00:00:01Z',
        ),
      }),
      says: [/3 were issued on 2026-03-01, the quota of a day is 2/],
    },
    {
      name: 'rejects a count of the day that is not that of the rows',
      story: story(twoOfTen, {
        campaign: withQuota,
        row: {
          couponId: COUPON,
          numberOfCoupons: 10,
          remaining: 8,
          dailyQuota: 2,
          quotaDay: '2026-03-01',
          quotaUsed: 1,
        },
      }),
      says: [/the shop counts 1 issues of 2026-03-01, there are 2/],
    },
    {
      name: 'rejects a count of another day',
      story: story(twoOfTen, {
        campaign: withQuota,
        row: {
          couponId: COUPON,
          numberOfCoupons: 10,
          remaining: 8,
          dailyQuota: 2,
          quotaDay: '2026-03-02',
          quotaUsed: 2,
        },
      }),
      says: [/the shop counts 2 issues of 2026-03-02, there are 0/],
    },
    {
      name: 'rejects that less than the quota was issued when enough asked',
      story: story([granted(1, 0, 9, 10), refused(2, 20, 'quota-reached')], { campaign: withQuota }),
      says: [/undersold: 1 of 2 were issued, though 2 eligible members asked/],
    },
    {
      name: 'accepts an issue at the moment of the opening',
      story: story([granted(1, 0, 2)], { campaign: opening }),
      says: [],
    },
    {
      name: 'rejects an issue before the opening',
      story: story(two, { campaign: campaign(opensAt(20.5)) }),
      says: [/2 were issued before the opening, the first 20\.5 ms before it/],
    },
    {
      name: 'rejects that somebody is told before the opening that he has one, which the rows deny',
      story: story(two, {
        campaign: campaign(opensAt(31, 0.5)),
        issued: rowsOf(two).map((row) => ({ ...row, issuedAtMs: NOON_MS + 31 })),
      }),
      says: [/2 were told before the opening that they have one, the first 21\.0 ms before it \(m1-0\)/],
    },
    {
      name: 'says it once of a request of which the rows say it',
      story: story(two, {
        campaign: campaign(opensAt(31)),
        issued: rowsOf(two).map((row, index) => ({ ...row, issuedAtMs: NOON_MS + index * 31 })),
      }),
      says: [
        /1 were issued before the opening/,
        /1 were told before the opening that they have one, the first 1\.0 ms before it \(m2-20\)/,
      ],
    },
    {
      name: 'accepts it as long as the clocks may differ so much',
      story: story([granted(1, 0, 2)], {
        campaign: campaign(opensAt(15, 5)),
        issued: rowsOf([granted(1, 0, 2)]).map((row) => ({ ...row, issuedAtMs: NOON_MS + 15 })),
      }),
      says: [],
    },
    {
      name: 'accepts a counter that says what the row says',
      story: soldOut({ counter: counter() }),
      says: [],
    },
    {
      name: 'accepts that there is no counter where nobody was granted one by it',
      story: story([refused(1, 0, 'not-open')], {
        campaign: opening,
        counter: counter({ remaining: null }),
      }),
      says: [],
    },
    {
      name: 'rejects that there is no counter where somebody was',
      story: soldOut({ counter: counter({ remaining: null }) }),
      says: [/^I4 .*there is no counter, though 3 were granted by it/],
    },
    {
      name: 'rejects reservations without an outcome, also where there is no counter',
      story: soldOut({ counter: counter({ remaining: null, reserved: 2 }) }),
      says: [/2 reservations have no outcome/, /there is no counter/],
    },
    {
      name: 'rejects reservations without an outcome, and another counter than the row',
      story: soldOut({ counter: counter({ remaining: 1, reserved: 2 }) }),
      says: [/2 reservations have no outcome/, /the counter says that 1 are left, the row 0/],
    },
    {
      name: 'accepts a count of the day that is that of the row',
      story: story(twoOfTen, {
        campaign: withQuota,
        counter: counter({ remaining: 8, quotaDay: '2026-03-01', quotaUsed: 2 }),
      }),
      says: [],
    },
    {
      name: 'rejects a count of the day that is not that of the row',
      story: story(twoOfTen, {
        campaign: withQuota,
        counter: counter({ remaining: 8, quotaDay: '2026-03-01', quotaUsed: 1 }),
      }),
      says: [/the counter counts 1 issues of 2026-03-01, the row 2/],
    },
    {
      name: 'accepts that the counter has begun a day of which the row has no issue',
      story: story(twoOfTen, {
        campaign: withQuota,
        counter: counter({ remaining: 8, quotaDay: '2026-03-02', quotaUsed: 0 }),
      }),
      says: [],
    },
  ]);
});

describe('I5: one a member, and one a number', () => {
  const renumbered = (...serials: number[]) =>
    soldOut({ issued: rowsOf(all).map((row, index) => ({ ...row, serial: serials[index] ?? 0 })) });

  judges(checkOnceEach, [
    { name: 'accepts a sale to the last one', story: soldOut(), says: [] },
    { name: 'accepts numbers in any order', story: renumbered(3, 1, 2), says: [] },
    { name: 'accepts that nobody has one', story: story([]), says: [] },
    {
      name: 'rejects two for one member',
      story: story([granted(1, 0, 2), granted(1, 20, 1)]),
      says: [/^I5 .*member 1 has 2 \(m1-0 on lotto-back-1, m1-20 on lotto-back-1\)/],
    },
    {
      name: 'rejects a number that is given twice',
      story: renumbered(1, 2, 2),
      says: [/serial 2 was given 2 times \(m2-20 .*, m3-40 /],
    },
    {
      name: 'rejects a gap',
      story: renumbered(1, 2, 4),
      says: [/1 serials up to 4 were not given, the first is 3/],
    },
    {
      name: 'rejects numbers that begin late',
      story: renumbered(2, 3, 4),
      says: [/1 serials up to 4 were not given, the first is 1/],
    },
    {
      name: 'rejects numbers that begin early',
      story: renumbered(0, 1, 2),
      says: [/1 serials are below 1, the lowest is 0/],
    },
    {
      name: 'is not kept busy by a wild number',
      story: renumbered(1, 2, 2_147_483_647),
      says: [/2147483644 serials up to 2147483647 were not given, the first is 3/],
    },
  ]);
});

describe('I6 and I7: what was told is what is kept', () => {
  judges(checkKeptAsTold, [
    { name: 'accepts a sale to the last one', story: soldOut(), says: [] },
    {
      name: 'accepts an unknown outcome, with a row and without',
      story: story([...two, failed(3, 40), failed(4, 60)], {
        issued: [...rowsOf(two), ...rowsOf([granted(3, 40, 0)])],
      }),
      says: [],
    },
    {
      name: 'rejects a success without a row',
      story: soldOut({
        issued: rowsOf(two).map((row) => ({ ...row, requestId: row.requestId.replace('m2-20', 'm2-40') })),
      }),
      says: [/^I6 .*m3-60 of member 3 was told serial 3, but left no row/],
    },
    {
      name: 'rejects another number than was told',
      story: story(two, {
        issued: rowsOf(two).map((row) => ({ ...row, serial: row.serial === 2 ? 3 : row.serial })),
      }),
      says: [/^I6 .*request m2-20 of member 2 was told serial 2, but has row 2 \(serial 3, member 2\)/],
    },
    {
      name: 'rejects a success that tells no number',
      story: story([answer(1, 0, { status: 200 })], { issued: rowsOf([granted(1, 0, 2)]) }),
      says: [/^I6 .*m1-0 of member 1 was told no serial, but has row 1/],
    },
    {
      name: "rejects another member's row, of which nobody knows",
      story: story(two, {
        issued: rowsOf(two).map((row) => ({ ...row, memberId: row.memberId === 2 ? 9 : row.memberId })),
      }),
      says: [
        /^I6 .*m2-20 of member 2 was told serial 2, but has row 2 \(serial 2, member 9\)/,
        /^I7 .*nobody asked for row 2 \(serial 2, member 9\) by request m2-20/,
      ],
    },
    {
      name: 'rejects a row of who was refused',
      story: story([...two, refused(3, 40, 'contended')], {
        issued: [...rowsOf(two), ...rowsOf([granted(3, 40, 0)])],
      }),
      says: [
        /^I7 .*request m3-40 of member 3 was refused \(400 contended\), but left row 3 \(serial 3, member 3\)/,
      ],
    },
    {
      name: 'rejects a row of a request that was never made',
      story: story(two, { issued: rowsOf(all) }),
      says: [/^I7 .*nobody asked for row 3 \(serial 3, member 3\) by request m3-40/],
    },
  ]);
});

describe('I10: the answers have an order', () => {
  const together = (...answers: Story['answers']) =>
    answers.map((one) => ({ ...one, releasedAtUs: 0, answeredAtUs: 100_000 }));

  judges(checkOrder, [
    { name: 'accepts a sale to the last one', story: soldOut(), says: [] },
    {
      name: 'accepts answers that come in another order than the stock gave',
      story: story(together(granted(1, 0, 0), refused(4, 1, 'sold-out'), granted(2, 2, 2), granted(3, 3, 1))),
      says: [],
    },
    {
      name: 'rejects that none is left before some more are given',
      story: story([granted(1, 0, 2), refused(4, 20, 'sold-out'), granted(2, 40, 1), granted(3, 60, 0)]),
      says: [
        /^I10 .*after 1 of them 2 are left, and sold-out to request m4-20 of member 4 \(asked \+20\.0 ms, answered \+30\.0 ms\) does not fit/,
      ],
    },
    {
      name: 'rejects that none is left although some are in the end',
      story: story([...two, refused(3, 40, 'sold-out')]),
      says: [/after 2 of them 1 are left, and sold-out to request m3-40/],
    },
    {
      name: 'rejects that the same is left twice, as a lost update tells it',
      story: story(together(granted(1, 0, 2), granted(2, 1, 2), granted(3, 2, 1))),
      says: [/after 1 of them 2 are left, and 2 left to request m\d-\d .* does not fit/],
    },
    {
      name: 'rejects that a number is skipped',
      story: story(together(granted(1, 0, 2), granted(3, 2, 0))),
      says: [/after 1 of them 2 are left, and 0 left to request m3-2/],
    },
    {
      name: 'rejects a success after it was sold out',
      story: story([...all, refused(4, 60, 'sold-out'), granted(5, 80, 0)]),
      says: [/after 3 of them 0 are left, and 0 left to request m5-80/],
    },
    {
      name: 'rejects that more is left after than before',
      story: story([granted(1, 0, 1), granted(2, 20, 2)]),
      says: [/after 0 of them 3 are left, and 1 left to request m1-0/],
    },
    {
      name: 'accepts that an unknown one took one',
      story: story([granted(1, 0, 2), failed(2, 5), granted(3, 40, 0), refused(4, 60, 'sold-out')]),
      says: [],
    },
    {
      name: 'accepts that an unknown one took none, and that it took one long after it was asked for',
      story: story([failed(2, 0), ...all.map((one) => ({ ...one, memberId: one.memberId + 10 }))]),
      says: [],
    },
    {
      name: 'rejects that an unknown one took one before it was asked for',
      story: story([granted(1, 0, 2), granted(3, 20, 0), failed(2, 40)]),
      says: [/after 1 of them 2 are left, and 0 left to request m3-20/],
    },
    {
      name: 'rejects that one unknown one took two',
      story: story([failed(1, 0), granted(2, 20, 0)]),
      says: [/0 left to request m2-20/],
    },
    {
      name: 'accepts a success that tells nothing, where there is room for it',
      story: story([answer(1, 0, { status: 200 }), granted(2, 20, 1)]),
      says: [],
    },
    {
      name: 'rejects a success that tells nothing, where there is none',
      story: story([...all, answer(4, 60, { status: 200 })]),
      says: [/after 3 of them 0 are left, and a success to request m4-60/],
    },
    {
      name: 'accepts an answer that came before the request was whole',
      story: story([granted(1, 0, 2), { ...granted(2, 40, 1), error: 'early-answer' }, granted(3, 20, 0)]),
      says: [],
    },
    {
      name: 'accepts refusals that say nothing of the stock',
      story: story([
        ...two,
        refused(4, 50, 'contended'),
        refused(4, 55, 'not-eligible'),
        refused(4, 60, 'not-open'),
        granted(3, 70, 0),
      ]),
      says: [],
    },
    {
      name: 'accepts the quota of the day',
      story: story([...twoOfTen, refused(3, 40, 'quota-reached')], { campaign: withQuota }),
      says: [],
    },
    {
      name: 'rejects that the quota is reached before it is used',
      story: story([granted(1, 0, 9, 10), refused(3, 15, 'quota-reached'), granted(2, 40, 8, 10)], {
        campaign: withQuota,
      }),
      says: [/after 1 of them 9 are left and 1 are issued of 2026-03-01, and quota-reached to request m3-15/],
    },
    {
      name: 'rejects more than the quota',
      story: story([...twoOfTen, granted(3, 40, 7, 10)], { campaign: withQuota }),
      says: [/after 2 of them 8 are left and 2 are issued of 2026-03-01, and 7 left to request m3-40/],
    },
    {
      name: 'accepts the quota of the next day, by the day of the rows',
      story: story([...twoOfTen, refused(3, 40, 'quota-reached'), granted(3, 60, 7, 10)], {
        campaign: withQuota,
        issued: rowsOf([...twoOfTen, granted(3, 60, 7, 10)]).map((row) =>
          row.memberId === 3 ? { ...row, issuedAtMs: row.issuedAtMs + 86_400_000 } : row,
        ),
      }),
      says: [],
    },
    ...[
      [0, 1],
      [1, 0],
    ].map((days) => ({
      name: `accepts the quota of the next day, whichever order of those who were told nothing is tried first: ${days}`,
      story: story(
        [...together(answer(1, 0, { status: 200 }), answer(2, 1, { status: 200 })), granted(3, 200, 7, 10)],
        {
          campaign: withQuota,
          issued: rowsOf([granted(1, 0, 9, 10), granted(2, 1, 8, 10), granted(3, 200, 7, 10)]).map(
            (row, index) => ({
              ...row,
              // Of the first two, one is of the day before; so in the order of their numbers.
              serial: index === 2 ? 3 : (days[index] ?? 0) + 1,
              issuedAtMs: row.issuedAtMs + (days[index] ?? 1) * 86_400_000,
            }),
          ),
        },
      ),
      says: [],
    })),
    {
      name: 'accepts that it was not open until somebody has one',
      story: story([refused(1, 0, 'not-open'), granted(1, 20, 2)], { campaign: opening }),
      says: [],
    },
    {
      name: 'rejects that it is not open after somebody was given one',
      story: story([granted(1, 0, 2), refused(2, 20, 'not-open'), granted(2, 40, 1)], { campaign: opening }),
      says: [/after 1 of them 2 are left, and not-open to request m2-20/],
    },
    {
      name: 'rejects two for one member',
      story: story([granted(1, 0, 2), granted(1, 20, 1)]),
      says: [
        /the answers to member 1 have no order: after 1 of them he has one, and 1 left to request m1-20/,
      ],
    },
    {
      name: 'accepts that one is already issued beside the request that gets it',
      story: story(together(refused(1, 0, 'already-issued'), granted(1, 1, 2))),
      says: [],
    },
    {
      name: 'rejects that one is already issued before it is asked for',
      story: story([refused(1, 0, 'already-issued'), granted(1, 20, 2)]),
      says: [
        /the answers to member 1 have no order: after 0 of them he has none, and already-issued to request m1-0/,
      ],
    },
    {
      name: 'rejects that one is already issued to somebody who was only refused',
      story: story([...two, refused(3, 40, 'contended'), refused(3, 60, 'already-issued')]),
      says: [/the answers to member 3 have no order/],
    },
    {
      name: 'accepts that one is already issued by a request with an unknown outcome',
      story: story([failed(1, 0), refused(1, 20, 'already-issued')]),
      says: [],
    },
  ]);
});
