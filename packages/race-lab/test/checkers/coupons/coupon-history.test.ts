import { describe, expect, test } from 'vitest';
import { byDay, leftOver, rightfulAskers } from '../../../src/history/campaign.ts';
import { type CouponRequest, couponAnswerOf } from '../../../src/history/coupon-answer.ts';
import { byCampaign } from '../../../src/history/coupon-evidence.ts';
import type { Exchange } from '../../../src/racer/exchange.ts';
import { answer, campaign, evidence, granted, opensAt, refused, rowsOf, story } from './coupon-histories.ts';

describe('reading an exchange', () => {
  const request: CouponRequest = {
    target: { host: '127.0.0.1', port: 1 },
    method: 'POST',
    path: '/api/coupon/a',
    headers: {},
    body: '',
    couponId: 'a',
    memberId: 7,
    requestId: 'r-1',
  };
  const exchange = (over: Partial<Exchange<CouponRequest>>): Exchange<CouponRequest> => ({
    request,
    status: 200,
    headers: {},
    body: Buffer.alloc(0),
    releasedAtUs: 1000,
    answeredAtUs: 4500,
    error: undefined,
    ...over,
  });
  const json = (body: unknown) => Buffer.from(JSON.stringify(body));
  const issued = json({
    success: true,
    status: 200,
    message: 'ok',
    data: { remaining: 42, serialNumber: 58 },
  });

  test('a success tells what is left and its number, and how it came about', () => {
    const headers = {
      'x-server-name': 'lotto-back-3',
      'x-arrived-at-us': '1200',
      'x-retries': '4',
      'x-steps': 'locked=1300,read=1400,wrote=1500, read=1600,committed=1700',
    };
    expect(couponAnswerOf(exchange({ headers, body: issued }))).toEqual({
      couponId: 'a',
      memberId: 7,
      requestId: 'r-1',
      instance: 'lotto-back-3',
      result: 'ok',
      status: 200,
      code: undefined,
      remaining: 42,
      serialNumber: 58,
      retries: 4,
      steps: [
        { name: 'locked', atUs: 1300 },
        { name: 'read', atUs: 1400 },
        { name: 'wrote', atUs: 1500 },
        { name: 'read', atUs: 1600 },
        { name: 'committed', atUs: 1700 },
      ],
      releasedAtUs: 1000,
      answeredAtUs: 4500,
      latencyMs: 3.5,
      arrivedAtUs: 1200,
      error: undefined,
    });
  });

  test.each([
    [200, 'ok'],
    [400, 'fail'],
    [404, 'fail'],
    [429, 'fail'],
    [500, 'info'],
    [503, 'info'],
    [202, 'info'],
    [undefined, 'info'],
  ])('%s is %s', (status, result) => {
    expect(couponAnswerOf(exchange({ status, body: issued })).result).toBe(result);
  });

  test('a refusal tells its code, and no number', () => {
    const body = json({
      success: false,
      status: 400,
      code: 'sold-out',
      data: { remaining: 1, serialNumber: 2 },
    });
    expect(couponAnswerOf(exchange({ status: 400, body }))).toMatchObject({
      code: 'sold-out',
      remaining: undefined,
      serialNumber: undefined,
      retries: undefined,
      steps: [],
    });
  });

  test('no answer tells why', () => {
    expect(couponAnswerOf(exchange({ status: undefined, error: 'timeout' }))).toMatchObject({
      result: 'info',
      code: undefined,
      error: 'timeout',
    });
  });

  test.each([
    ['no JSON', Buffer.from('<html>')],
    ['nothing', Buffer.alloc(0)],
    ['null', json(null)],
    ['a list', json([1])],
    ['no data', json({ data: null })],
    ['data in text', json({ data: '42' })],
    ['numbers in text', json({ data: { remaining: '42', serialNumber: '58' } })],
    ['broken numbers', json({ data: { remaining: 4.5, serialNumber: 1e300 } })],
  ])('%s is a success that tells nothing', (_name, body) => {
    expect(couponAnswerOf(exchange({ body }))).toMatchObject({
      result: 'ok',
      remaining: undefined,
      serialNumber: undefined,
    });
  });

  test.each([
    ['read=1,,=5,wrote,committed=x,locked=-1,unlocked=2', ['read', 'unlocked']],
    ['', []],
    ['read=9999999999999999', []],
  ])('of the steps %s those are left out that cannot be read', (header, names) => {
    const { steps } = couponAnswerOf(exchange({ headers: { 'x-steps': header } }));
    expect(steps.map(({ name }) => name)).toEqual(names);
  });
});

describe('a campaign', () => {
  const only = (...told: Parameters<typeof story>) => {
    const [one] = byCampaign(evidence(story(...told)));
    if (one === undefined) throw new Error('there is no campaign');
    return one;
  };

  test('its days begin at midnight in its time zone, also where a day has 23 or 25 hours', () => {
    const newYork = campaign({ timeZone: 'America/New_York' });
    const moments = [
      '2026-03-08T04:59:59.999Z',
      '2026-03-08T05:00:00Z',
      '2026-03-09T03:59:59.999Z',
      '2026-03-09T04:00:00Z',
      '2026-11-01T04:00:00Z',
      '2026-11-02T04:59:59.999Z',
      '2026-11-02T05:00:00Z',
    ];
    const rows = rowsOf(moments.map((_, index) => granted(index, 0, 99 - index, 100))).map((row, index) => ({
      ...row,
      issuedAtMs: Date.parse(moments[index] ?? ''),
    }));
    const days = [...byDay(newYork, rows)].map(([day, ofDay]) => [day, ofDay.length]);
    expect(days).toEqual([
      ['2026-03-07', 1],
      ['2026-03-08', 2],
      ['2026-03-09', 1],
      ['2026-11-01', 2],
      ['2026-11-02', 1],
    ]);
  });

  test('a day and a month of one digit are told in two', () => {
    const rows = rowsOf([granted(1, 0, 2)]).map((row) => ({
      ...row,
      issuedAtMs: Date.parse('2026-01-02T00:00:00Z'),
    }));
    expect([...byDay(campaign({ timeZone: 'UTC' }), rows).keys()]).toEqual(['2026-01-02']);
  });

  test('what is left is the least of stock and quota', () => {
    const told = [granted(1, 0, 2), granted(2, 20, 1)];
    expect(leftOver(only(told))).toBe(1);
    expect(leftOver(only(told, { campaign: campaign({ dailyQuota: 2 }) }))).toBe(0);
    expect(leftOver(only([], { campaign: campaign({ dailyQuota: 2 }) }))).toBe(2);
    expect(leftOver(only([...told, ...told], {}))).toBe(-1);
  });

  test('who may have one and asked while it was open', () => {
    const told = [
      granted(1, 0, 2),
      refused(2, 0, 'not-eligible'),
      refused(3, 0, 'not-open'),
      answer(4, 0),
      answer(4, 20),
    ];
    const eligible = new Set([1, 3, 4, 5]);
    expect(rightfulAskers(only(told, { campaign: campaign({ eligible }) }))).toEqual([1, 3, 4]);
    const asked = (openingMs: number, uncertaintyMs = 0) =>
      rightfulAskers(only(told, { campaign: campaign({ eligible, ...opensAt(openingMs, uncertaintyMs) }) }));
    expect(asked(0)).toEqual([1, 4]);
    // Whoever is told that it is not open, though it must be, has asked while it was.
    expect(asked(-5)).toEqual([1, 3, 4]);
    expect(asked(-5, 5)).toEqual([1, 4]);
    expect(rightfulAskers(only(told, { campaign: campaign() }))).toEqual([1, 2, 3, 4]);
  });
});
