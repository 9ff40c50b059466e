import fc from 'fast-check';
import { expect, test } from 'vitest';
import { judgeCoupons } from '../../../src/checkers/judge-coupons.ts';
import type { Invariant } from '../../../src/checkers/violation.ts';
import type { CouponAnswer } from '../../../src/history/coupon-answer.ts';
import type { Campaign } from '../../../src/history/coupon-evidence.ts';
import { campaign, evidence, granted, refused, type Story, snapshot, story } from './coupon-histories.ts';

/** Who may ask; 5 and 6 are not eligible. */
const ELIGIBLE = new Set([1, 2, 3, 4]);

interface Asked {
  memberId: number;
  /** From the request to the moment at which it is decided, and from there to the answer, in milliseconds. */
  beforeMs: number;
  afterMs: number;
}

const anyAsked: fc.Arbitrary<Asked> = fc.record({
  memberId: fc.integer({ min: 1, max: 6 }),
  beforeMs: fc.nat({ max: 100 }),
  afterMs: fc.nat({ max: 100 }),
});

const anyCampaign = fc.record({
  initial: fc.integer({ min: 1, max: 5 }),
  dailyQuota: fc.option(fc.integer({ min: 1, max: 5 }), { nil: null }),
});

/** What a shop does that decides one request every 10 ms, whatever came in which order. */
function sell(of: Campaign, requests: readonly Asked[]): Story {
  let remaining = of.initial;
  const owners = new Set<number>();
  const decide = (memberId: number, atMs: number): CouponAnswer => {
    if (!ELIGIBLE.has(memberId)) return refused(memberId, atMs, 'not-eligible');
    if (owners.has(memberId)) return refused(memberId, atMs, 'already-issued');
    if (remaining === 0) return refused(memberId, atMs, 'sold-out');
    if (owners.size === of.dailyQuota) return refused(memberId, atMs, 'quota-reached');
    owners.add(memberId);
    remaining -= 1;
    return granted(memberId, atMs, remaining, of.initial);
  };
  const snapshots = [snapshot(0, remaining, 0)];
  const answers = requests.map(({ memberId, beforeMs, afterMs }, index) => {
    const atMs = index * 10;
    const told = decide(memberId, atMs);
    snapshots.push(snapshot(atMs, remaining, owners.size));
    return { ...told, releasedAtUs: (atMs - beforeMs) * 1000, answeredAtUs: (atMs + afterMs) * 1000 };
  });
  return story(answers, { campaign: of, snapshots });
}

/** In which at least one coupon is issued. */
const goodSale: fc.Arbitrary<Story> = fc
  .tuple(anyCampaign, fc.array(anyAsked, { minLength: 1, maxLength: 20 }), fc.integer({ min: 1, max: 4 }))
  .map(([over, requests, memberId]) =>
    sell(campaign({ ...over, eligible: ELIGIBLE }), [...requests, { memberId, beforeMs: 5, afterMs: 5 }]),
  );

test('a shop that decides one after the other passes, in whatever order its answers came', () => {
  const shuffled = goodSale.chain((sale) =>
    fc
      .shuffledSubarray(sale.answers, { minLength: sale.answers.length })
      .map((answers) => ({ ...sale, answers })),
  );
  fc.assert(
    fc.property(shuffled, (sale) => {
      expect(judgeCoupons(evidence(sale))).toEqual({ verdict: 'pass', violations: [], unknownBecause: null });
    }),
    { numRuns: 500 },
  );
});

/** One success of the sale, by `seed`: which it is does not matter, all of them must be guarded. */
function successOf({ answers }: Story, seed: number): CouponAnswer {
  const successes = answers.filter(({ result }) => result === 'ok');
  const [one] = successes.slice(seed % successes.length);
  if (one === undefined) throw new Error('nobody was granted one');
  return one;
}

test.each<{ name: string; spoil: (sale: Story, one: CouponAnswer) => Story; breaks: Invariant[] }>([
  {
    name: 'a row that is lost',
    spoil: (sale, one) => ({ ...sale, issued: sale.issued.filter((row) => row.requestId !== one.requestId) }),
    breaks: ['I4', 'I6'],
  },
  {
    name: 'a coupon that comes back to the stock, though it is issued',
    spoil: (sale) => ({ ...sale, row: sale.row && { ...sale.row, remaining: sale.row.remaining + 1 } }),
    breaks: ['I4'],
  },
  {
    name: 'a number that is told by one more',
    spoil: (sale, one) => ({
      ...sale,
      answers: sale.answers.map((told) =>
        told === one ? { ...told, remaining: (told.remaining ?? 0) + 1 } : told,
      ),
    }),
    breaks: ['I10'],
  },
  {
    name: 'a coupon that is granted twice',
    spoil: (sale, one) => ({
      ...sale,
      answers: [...sale.answers, { ...one, requestId: 'twice' }],
      issued: [
        ...sale.issued,
        ...sale.issued
          .filter(({ requestId }) => requestId === one.requestId)
          .map((row) => ({ ...row, requestId: 'twice' })),
      ],
    }),
    breaks: ['I0', 'I4', 'I5', 'I10'],
  },
  {
    name: 'a success that is told as a refusal',
    spoil: (sale, one) => ({
      ...sale,
      answers: sale.answers.map((told) =>
        told === one ? { ...told, result: 'fail', status: 400, code: 'contended' } : told,
      ),
    }),
    breaks: ['I7'],
  },
  {
    name: 'a success that is told as a failure',
    spoil: (sale, one) => ({
      ...sale,
      answers: sale.answers.map((told) => (told === one ? { ...told, result: 'info', status: 500 } : told)),
    }),
    breaks: ['I0'],
  },
  {
    name: 'a snapshot that was taken between two statements',
    spoil: (sale) => ({ ...sale, snapshots: [...sale.snapshots, snapshot(0, sale.campaign.initial, 1)] }),
    breaks: ['I4'],
  },
])('$name is found', ({ spoil, breaks }) => {
  fc.assert(
    fc.property(goodSale, fc.nat(), (sale, seed) => {
      const { violations } = judgeCoupons(evidence(spoil(sale, successOf(sale, seed))));
      const found = new Set(violations.map(({ invariant }) => invariant));
      expect([...found]).toEqual(expect.arrayContaining(breaks));
    }),
  );
});
