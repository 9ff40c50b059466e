/**
 * The published load script: a member orders, waits as long as a payment window takes, and his confirmation arrives five times
 * at once. The mark of a right strategy is `1 4 0`: one success (200), four refusals (400), no failure (500).
 *
 *     k6 run deploy/k6/tickets.ts
 *     k6 run -e USERS=10 -e ORDERS=50 -e STRATEGY=none deploy/k6/tickets.ts
 *
 * `BASE_URL`: the shop. `TOKEN`: a member's bearer token; without it, demo mode. `STRATEGY`: in lab mode (`npm start`), another
 * strategy than the shop's own.
 */
import { check, fail, sleep } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter, Rate } from 'k6/metrics';
import type { Options } from 'k6/options';
import { BASE_URL, JSON_BODY, memberHeader, strategyHeader, wholeNumber } from './shop.ts';

/** How often a confirmation arrives. */
const AT_ONCE = 5;
const PAYMENT_WINDOW_S = 0.8;
const USERS = wholeNumber('USERS', 1);
/** Of each user, one after the other. */
const ORDERS = wholeNumber('ORDERS', 20);

const successes = new Counter('answers_200');
const refusals = new Counter('answers_400');
const failures = new Counter('answers_500');
const others = new Counter('answers_other');
const exactlyOne = new Rate('exactly_one_success');

const all = USERS * ORDERS;
export const options: Options = {
  scenarios: {
    members: { executor: 'per-vu-iterations', vus: USERS, iterations: ORDERS, maxDuration: '1h' },
  },
  // All five at once, over connections of their own.
  batch: AT_ONCE,
  batchPerHost: AT_ONCE,
  thresholds: {
    exactly_one_success: ['rate==1'],
    answers_200: [`count==${all}`],
    answers_400: [`count==${all * (AT_ONCE - 1)}`],
    answers_500: ['count==0'],
    answers_other: ['count==0'],
    checks: ['rate==1'],
  },
};

// A refusal is no failed request.
http.setResponseCallback(http.expectedStatuses(200, 400));

interface Order {
  orderId: string;
  lottoPublishId: number;
}

export default function (): void {
  // A threshold is not looked at while its metric has no sample.
  for (const counter of [successes, refusals, failures, others]) counter.add(0);
  const headers = { ...JSON_BODY, ...memberHeader(exec.vu.idInTest) };
  const ordered = http.post(`${BASE_URL}/api/orders`, '{}', { headers });
  if (ordered.status !== 200) {
    exactlyOne.add(false);
    fail(`the order was answered ${ordered.status}: ${ordered.body}`);
  }
  const { orderId, lottoPublishId } = ordered.json('data') as unknown as Order;

  sleep(PAYMENT_WINDOW_S);

  // As published, the payment key is the order's id.
  const body = JSON.stringify({ lottoPublishId, purchaseHttpRequest: { orderId, paymentKey: orderId } });
  const params = { headers: { ...headers, ...strategyHeader('X-Purchase-Strategy') } };
  const confirmation = { method: 'POST', url: `${BASE_URL}/api/tickets`, body, params };
  const answers = http.batch(Array.from({ length: AT_ONCE }, () => confirmation));

  const count = (status: number) => answers.filter((answer) => answer.status === status).length;
  successes.add(count(200));
  refusals.add(count(400));
  failures.add(count(500));
  others.add(AT_ONCE - count(200) - count(400) - count(500));
  exactlyOne.add(
    check(answers, {
      'exactly one success and four refusals': () => count(200) === 1 && count(400) === AT_ONCE - 1,
    }),
  );
}
