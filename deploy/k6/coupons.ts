/**
 * First come, first served: a crowd of members asks for one coupon at the same time, each of them once. As many are issued as there
 * are, all others are refused, and nobody fails.
 *
 *     k6 run deploy/k6/coupons.ts
 *     k6 run -e MEMBERS=2000 -e STOCK=500 -e STRATEGY=none deploy/k6/coupons.ts
 *
 * `BASE_URL`: the shop. `STRATEGY`: in lab mode (`npm start`), another strategy than the shop's own. Where members have tokens: `TOKEN`
 * is the operator's who makes the coupon, and `TOKENS_FILE` a file (its absolute path) with a member's on each line, who are the crowd.
 */
import { check, fail } from 'k6';
import { SharedArray } from 'k6/data';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter } from 'k6/metrics';
import type { Options } from 'k6/options';
import { BASE_URL, JSON_BODY, memberHeader, strategyHeader, wholeNumber } from './shop.ts';

const tokens = new SharedArray('tokens', () =>
  __ENV.TOKENS_FILE ? open(__ENV.TOKENS_FILE).split(/\s+/).filter(Boolean) : [],
);
const MEMBERS = tokens.length || wholeNumber('MEMBERS', 1000);
const STOCK = wholeNumber('STOCK', 100);
const OPERATOR = 1;

const issued = new Counter('coupons_issued');
const refused = new Counter('coupons_refused');
const failed = new Counter('coupons_failed');

export const options: Options = {
  scenarios: { crowd: { executor: 'per-vu-iterations', vus: MEMBERS, iterations: 1, maxDuration: '10m' } },
  thresholds: {
    coupons_issued: [`count==${Math.min(STOCK, MEMBERS)}`],
    coupons_refused: [`count==${Math.max(0, MEMBERS - STOCK)}`],
    coupons_failed: ['count==0'],
    checks: ['rate==1'],
  },
};

// A refusal is no failed request.
http.setResponseCallback(http.expectedStatuses(200, 400));

interface Sale {
  couponId: string;
}

/** Makes the coupon; it is open from now on. */
export function setup(): Sale {
  const coupon = {
    couponName: `k6 ${Date.now()}`,
    couponCode: 'K6',
    downloadStartDate: '20200101',
    downloadEndDate: '20991231',
    availableStartDate: '20200101',
    availableEndDate: '20991231',
    discountType: 'WON',
    cost: 1000,
    numberOfCoupons: STOCK,
    couponType: 'ALL',
  };
  const headers = { ...JSON_BODY, ...memberHeader(OPERATOR) };
  const made = http.post(`${BASE_URL}/api/coupon`, JSON.stringify(coupon), { headers });
  if (made.status !== 200) fail(`the coupon was answered ${made.status}: ${made.body}`);
  return { couponId: String(made.json('data.id')) };
}

export default function ({ couponId }: Sale): void {
  // A threshold is not looked at while its metric has no sample.
  for (const counter of [issued, refused, failed]) counter.add(0);
  const member = exec.vu.idInTest;
  const { status, body } = http.post(`${BASE_URL}/api/coupon/${couponId}`, null, {
    headers: { ...memberHeader(member, tokens[member - 1]), ...strategyHeader('X-Coupon-Strategy') },
  });
  const answer = status === 200 ? issued : status === 400 ? refused : failed;
  answer.add(1);
  check(status, { 'issued or refused': () => answer !== failed });
  if (answer === failed) fail(`member ${member} was answered ${status}: ${body}`);
}

/** What the shop says is left must fit what it has issued. */
export function teardown({ couponId }: Sale): void {
  const coupon = http.get(`${BASE_URL}/api/coupon/${couponId}`);
  check(coupon, {
    'what is left is the stock without what was issued': () =>
      coupon.status === 200 && coupon.json('data.remaining') === Math.max(0, STOCK - MEMBERS),
  });
}
