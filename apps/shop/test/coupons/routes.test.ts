import { createStrictServer } from '@pawl/service-kit';
import { refused } from 'pawl';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startProxy } from '../../../../test/proxy.ts';
import { newDatabase } from '../../../../test/stores.ts';
import { couponStrategyNames, strategies } from '../../src/coupons/issue/index.ts';
import { couponRoutes } from '../../src/http/coupon-routes.ts';
import { problem } from '../../src/http/envelope.ts';
import { memberLimit } from '../../src/http/member-limit.ts';
import { identifyMembers } from '../../src/http/members.ts';
import { type Reply, type Shops, startShops } from '../harness.ts';
import { ask, couponBody, newCoupon, refusal, snapshot, stockOf, tally } from './coupons.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const ISO = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;
const UNKNOWN = '00000000-0000-4000-8000-000000000000';
const NO_COUNTER = { remaining: null, quotaDay: null, quotaUsed: 0, reserved: 0 };
const STANDINGS = ['GENERAL', 'FIRST', 'MEMBERSHIP', 'VIP'];

const get = (shops: Shops, path: string, member?: number) =>
  shops.call('GET', path, undefined, member === undefined ? {} : { 'x-member-id': String(member) });
const list = async (shops: Shops, path: string, member?: number) =>
  (await get(shops, path, member)).body.data as unknown as Record<string, unknown>[];
const setStanding = (shops: Shops, member: number, standing: string) =>
  shops.call('PUT', `/api/members/${member}/standing`, { standing });

/** What every success looks like, and nothing besides. */
const ok = (data: unknown) => ({ success: true, status: 200, message: 'ok', data });

describe.each(['postgres', 'mariadb'] as const)('on %s', (store) => {
  test('a coupon is created as it was described, with what was left out, and is found as it was created', async () => {
    const shops = await startShops({ store });
    const plain = couponBody();
    const created = await shops.call('POST', '/api/coupon', plain);
    expect(created.status).toBe(200);
    expect(created.body).toEqual(
      ok({
        ...plain,
        id: expect.stringMatching(UUID),
        timeZone: 'Asia/Seoul',
        openingTime: '00:00:00',
        dailyQuota: null,
        remaining: 5,
      }),
    );
    const everything = couponBody({
      ...{ downloadStartDate: '20260301', downloadEndDate: '20260303' },
      ...{ availableStartDate: '20260302', availableEndDate: '20260331' },
      ...{ discountType: 'WON', cost: 2_147_483_647, numberOfCoupons: 2_147_483_647, couponType: 'VIP' },
      ...{ couponCode: `!~${'x'.repeat(62)}` },
      ...{ timeZone: 'America/Port-au-Prince', openingTime: '09:30', dailyQuota: 2_147_483_647 },
    });
    const other = await shops.call('POST', '/api/coupon', everything);
    expect(other.body.data).toEqual({
      ...everything,
      id: expect.stringMatching(UUID),
      openingTime: '09:30:00',
      remaining: 2_147_483_647,
    });
    for (const { data } of [created.body, other.body]) {
      const found = await get(shops, `/api/coupon/${data.id}`);
      expect(found.status).toBe(200);
      expect(found.body).toEqual(ok(data));
    }
    expect(await list(shops, '/api/coupon')).toEqual([other.body.data, created.body.data]);
  });

  test('the list has the newest first, as many as are asked for, and goes on where it ended', async () => {
    const shops = await startShops({ store });
    expect((await get(shops, '/api/coupon')).body).toEqual(ok([]));
    const ids: string[] = [];
    for (let index = 0; index < 5; index++) ids.unshift(await newCoupon(shops));
    const idsOf = async (query: string) => (await list(shops, `/api/coupon${query}`)).map(({ id }) => id);

    expect(await idsOf('')).toEqual(ids);
    expect(await idsOf('?limit=500')).toEqual(ids);
    expect(await idsOf('?limit=2')).toEqual(ids.slice(0, 2));
    expect(await idsOf(`?limit=2&before=${ids[1]}`)).toEqual(ids.slice(2, 4));
    expect(await idsOf(`?limit=2&before=${ids[3]}`)).toEqual(ids.slice(4));
    expect(await idsOf(`?before=${ids[4]}`)).toEqual([]);
    expect(await idsOf(`?before=${UNKNOWN}`)).toEqual([]);
  });

  test('whoever gets a coupon hears what he has, and the list what is left', async () => {
    const shops = await startShops({ store });
    const id = await newCoupon(shops, { numberOfCoupons: 2 });
    const { data: view } = (await get(shops, `/api/coupon/${id}`)).body;

    const issued = await ask(shops, id, { member: 999_999_999_999_999 });
    expect(issued.status).toBe(200);
    expect(issued.body).toEqual(
      ok({ ...view, remaining: 1, serialNumber: 1, issuedAt: expect.stringMatching(ISO) }),
    );
    const [row] = await shops.sql('SELECT * FROM issued_coupon');
    expect({ ...row, id: 0, issued_at: 0 }).toMatchObject({
      strategy: 'group-commit',
      instance: 'lotto-back-1',
      serial: 1,
    });
    expect(Number(row?.member_id)).toBe(999_999_999_999_999);
    // Nobody in particular is member 1.
    expect((await shops.call('POST', `/api/coupon/${id}`)).body.data).toMatchObject({ serialNumber: 2 });
    expect((await stockOf(shops, id)).members).toEqual([999_999_999_999_999, 1]);

    expect(await list(shops, '/api/coupon')).toEqual([{ ...view, remaining: 0 }]);
    expect((await get(shops, `/api/coupon/${id}`)).body.data).toEqual({ ...view, remaining: 0 });
  });

  test('a refusal has its code and nothing else, and changes nothing', async () => {
    const shops = await startShops({ store });
    const past = { downloadStartDate: '20200101', downloadEndDate: '20200131' };
    const one = { numberOfCoupons: 1 };
    const ids = {
      'not-open': await newCoupon(shops, past),
      'not-open yet': await newCoupon(shops, { downloadStartDate: '20990101' }),
      'not-eligible': await newCoupon(shops, { couponType: 'VIP' }),
      'sold-out': await newCoupon(shops, one),
      'already-issued': await newCoupon(shops),
      'quota-reached': await newCoupon(shops, { dailyQuota: 1 }),
      // Which of two reasons is told.
      'not-open before not-eligible': await newCoupon(shops, { ...past, couponType: 'VIP' }),
      'already-issued before sold-out': await newCoupon(shops, one),
      'sold-out before quota-reached': await newCoupon(shops, { ...one, dailyQuota: 1 }),
    };
    for (const name of ['sold-out', 'quota-reached', 'sold-out before quota-reached'] as const)
      expect((await ask(shops, ids[name], { member: 1 })).status).toBe(200);
    for (const name of ['already-issued', 'already-issued before sold-out'] as const)
      expect((await ask(shops, ids[name], { member: 2 })).status).toBe(200);
    const before = await snapshot(shops);

    for (const [name, id] of Object.entries(ids)) {
      const reply = await ask(shops, id, { member: 2 });
      expect(reply.body, name).toEqual(refusal(400, name.split(' ')[0] ?? ''));
      expect(reply.status, name).toBe(400);
    }
    for (const method of ['GET', 'POST']) {
      const reply = await shops.call(method, `/api/coupon/${UNKNOWN}`);
      expect(reply.body).toEqual(refusal(404, 'coupon-not-found'));
      expect(reply.status).toBe(404);
    }
    expect(await snapshot(shops)).toEqual(before);
  });

  test('a member sees what he has and nobody else’s, the newest first, page by page', async () => {
    const shops = await startShops({ store });
    const path = '/api/members/me/coupons';
    expect((await get(shops, path, 7)).body).toEqual(ok([]));
    const ids: string[] = [];
    for (let index = 0; index < 3; index++) {
      const id = await newCoupon(shops);
      ids.unshift(id);
      // Somebody else's stand in between.
      for (const member of [8, 7, 9]) await ask(shops, id, { member });
    }
    const has = await list(shops, path, 7);
    expect(has.map(({ coupon }) => (coupon as { id: string }).id)).toEqual(ids);
    for (const { id, serialNumber, issuedAt, coupon, ...rest } of has) {
      expect({ id, serialNumber, issuedAt, rest }).toEqual({
        id: expect.any(Number),
        serialNumber: 2,
        issuedAt: expect.stringMatching(ISO),
        rest: {},
      });
      const { id: couponId } = coupon as { id: string };
      expect(coupon).toEqual((await get(shops, `/api/coupon/${couponId}`)).body.data);
    }
    expect(await list(shops, `${path}?limit=2`, 7)).toEqual(has.slice(0, 2));
    expect(await list(shops, `${path}?limit=2&before=${has[1]?.id}`, 7)).toEqual(has.slice(2));
    expect(await list(shops, `${path}?before=${has[2]?.id}`, 7)).toEqual([]);
    expect(await list(shops, `${path}?before=999999999999999`, 7)).toEqual(has);
    expect(await list(shops, path, 6)).toEqual([]);
    // Who does not say who he is is member 1.
    expect(await list(shops, path)).toEqual([]);
  });

  test('a standing is what it was set to last, and nobody has one before', async () => {
    const shops = await startShops({ store });
    for (const standing of [...STANDINGS, 'VIP', 'GENERAL']) {
      const reply = await setStanding(shops, 7, standing);
      expect(reply.status).toBe(200);
      expect(reply.body).toEqual(ok({ memberId: 7, standing }));
    }
    await setStanding(shops, 999_999_999_999_999, 'FIRST');
    const rows = await shops.sql('SELECT * FROM member_standing ORDER BY member_id');
    expect(rows.map(({ member_id, standing }) => [Number(member_id), standing])).toEqual([
      [7, 'GENERAL'],
      [999_999_999_999_999, 'FIRST'],
    ]);
  });

  test('of ten standings at once one stays, and everybody is answered', async () => {
    const shops = await startShops({ store, instances: 2 });
    const standings = Array.from({ length: 10 }, (_, index) => STANDINGS[index % 4] ?? '');
    const replies = await Promise.all(
      standings.map((standing, index) =>
        shops.call('PUT', '/api/members/7/standing', { standing }, {}, index % 2),
      ),
    );
    expect(tally(replies)).toEqual({ ok: 10 });
    expect(await shops.sql('SELECT member_id FROM member_standing')).toHaveLength(1);
  });

  test('whom a coupon is for is decided by his standing, and at once by the one that is set next', async () => {
    const shops = await startShops({ store });
    for (const [index, standing] of STANDINGS.entries()) await setStanding(shops, 10 + index, standing);
    const eligible: Record<string, string[]> = {};
    const stranger: Record<string, number> = {};
    for (const couponType of ['ALL', 'MEMBERSHIP', 'FIRST', 'VIP']) {
      const id = await newCoupon(shops, { couponType });
      eligible[couponType] = [];
      for (const [index, standing] of STANDINGS.entries()) {
        const reply = await ask(shops, id, { member: 10 + index });
        if (reply.status === 200) eligible[couponType].push(standing);
        else expect(reply.body).toEqual(refusal(400, 'not-eligible'));
      }
      stranger[couponType] = (await ask(shops, id, { member: 99 })).status;
    }
    expect(eligible).toEqual({
      ALL: STANDINGS,
      MEMBERSHIP: ['MEMBERSHIP', 'VIP'],
      FIRST: ['FIRST'],
      VIP: ['VIP'],
    });
    expect(stranger).toEqual({ ALL: 200, MEMBERSHIP: 400, FIRST: 400, VIP: 400 });

    const id = await newCoupon(shops, { couponType: 'VIP' });
    expect(tally([await ask(shops, id, { member: 10 })])).toEqual({ '400 not-eligible': 1 });
    await setStanding(shops, 10, 'VIP');
    expect(tally([await ask(shops, id, { member: 10 })])).toEqual({ ok: 1 });
    await setStanding(shops, 13, 'GENERAL');
    expect(tally([await ask(shops, id, { member: 13 })])).toEqual({ '400 not-eligible': 1 });
    // What he has, he keeps.
    await setStanding(shops, 10, 'GENERAL');
    expect(await list(shops, '/api/members/me/coupons', 10)).toHaveLength(2);
  });

  test('a database that is gone: everything that needs it says so in the envelope, and nothing of where it was', async () => {
    const databaseUrl = await newDatabase(store);
    const proxy = await startProxy(databaseUrl);
    onTestFinished(() => proxy.close());
    const port = String(proxy.port);
    const behind = await startShops({ databaseUrl: Object.assign(new URL(databaseUrl), { port }).href });
    const shops = await startShops({ databaseUrl });
    const id = await newCoupon(behind);
    const before = await snapshot(shops);

    await proxy.close();

    const calls: [string, string, unknown?][] = [
      ['POST', '/api/coupon', couponBody()],
      ['GET', '/api/coupon'],
      ['GET', `/api/coupon/${id}`],
      ['GET', '/api/members/me/coupons'],
      ['PUT', '/api/members/7/standing', { standing: 'VIP' }],
    ];
    const replies: Reply[] = [];
    for (const [method, path, body] of calls) replies.push(await behind.call(method, path, body));
    for (const strategy of couponStrategyNames) replies.push(await ask(behind, id, { member: 7, strategy }));
    for (const reply of replies) {
      expect(reply.body).toEqual(refusal(503, 'store-unavailable'));
      expect(reply.status).toBe(503);
      expect(reply.headers.get('retry-after')).toBe('1');
      expect(reply.text).not.toContain(port);
    }
    expect((await behind.call('GET', '/health/live')).status).toBe(200);
    expect(await snapshot(shops)).toEqual(before);
    expect((await get(shops, `/lab/coupon/${id}/counter`)).body.data).toEqual(NO_COUNTER);
  });
});

describe('the strategy', () => {
  test('is chosen by a header in lab mode, and the answer tells what it did', async () => {
    const shops = await startShops();
    for (const [index, strategy] of couponStrategyNames.entries()) {
      const reply = await ask(shops, await newCoupon(shops), { member: 7, strategy });
      expect(reply.status, strategy).toBe(200);
      expect(reply.headers.get('x-retries'), strategy).toBe('0');
      expect(reply.headers.get('x-steps'), strategy).toMatch(/^([a-z]+=\d+)(,[a-z]+=\d+)*$/);
      expect(reply.headers.get('x-steps'), strategy).toContain('committed=');
      expect(reply.headers.get('x-server-name')).toBe('lotto-back-1');
      expect(reply.headers.get('x-arrived-at-us')).toMatch(/^\d+$/);
      const rows = await shops.sql('SELECT strategy FROM issued_coupon ORDER BY id');
      expect(rows[index]).toEqual({ strategy });
    }
  });

  test('is the one of the settings where no header says otherwise', async () => {
    const shops = await startShops({ env: { COUPON_STRATEGY: 'redis-counter' } });
    const id = await newCoupon(shops);
    await ask(shops, id, { member: 7 });
    expect(await shops.sql('SELECT strategy FROM issued_coupon')).toEqual([{ strategy: 'redis-counter' }]);
    expect((await get(shops, `/lab/coupon/${id}/counter`)).body.data).toMatchObject({ remaining: 4 });
  });

  test('cannot be chosen without lab mode: the header means nothing, whatever it says, and nothing is told', async () => {
    const shops = await startShops({ env: { LAB_MODE: '0' } });
    const id = await newCoupon(shops);
    for (const [index, strategy] of ['none', 'luck', '', 'x'.repeat(1_000)].entries()) {
      const reply = await ask(shops, id, { member: 1 + index, strategy });
      expect(reply.status).toBe(200);
      for (const name of ['x-retries', 'x-steps', 'x-server-name', 'x-arrived-at-us'])
        expect(reply.headers.get(name), name).toBeNull();
    }
    const rows = await shops.sql('SELECT DISTINCT strategy FROM issued_coupon');
    expect(rows).toEqual([{ strategy: 'group-commit' }]);
    const counter = await get(shops, `/lab/coupon/${id}/counter`);
    expect(counter.body).toEqual(refusal(404, 'not-found'));
    expect(counter.status).toBe(404);
  });

  test('is not available where it needs Redis and there is none; all others are', async () => {
    const shops = await startShops({ env: { REDIS_URL: '' } });
    const id = await newCoupon(shops, { numberOfCoupons: 100 });
    const needing = couponStrategyNames.filter((name) => strategies[name].needs === 'redis');
    expect(needing).toHaveLength(5);
    const before = await snapshot(shops);
    for (const strategy of needing) {
      const reply = await ask(shops, id, { member: 7, strategy });
      expect(reply.body).toEqual(refusal(400, 'strategy-unavailable'));
      expect(reply.status).toBe(400);
    }
    expect(await snapshot(shops)).toEqual(before);
    const others = couponStrategyNames.filter((name) => !needing.includes(name));
    for (const [index, strategy] of others.entries())
      expect((await ask(shops, id, { member: 100 + index, strategy })).status, strategy).toBe(200);
    expect((await get(shops, `/lab/coupon/${id}/counter`)).body).toEqual(ok(NO_COUNTER));
  });

  test('whichever it is says that there is no such coupon, and makes none', async () => {
    const shops = await startShops();
    const before = await snapshot(shops);
    for (const strategy of couponStrategyNames) {
      const reply = await ask(shops, UNKNOWN, { member: 7, strategy });
      expect(reply.body, strategy).toEqual(refusal(404, 'coupon-not-found'));
      expect(reply.status).toBe(404);
    }
    expect(await snapshot(shops)).toEqual(before);
    const counter = await get(shops, `/lab/coupon/${UNKNOWN}/counter`);
    expect(counter.body).toEqual(ok(NO_COUNTER));
  });
});

test('the counter of a coupon tells what is left in Redis, and of which day how much is used, once somebody has asked there', async () => {
  const shops = await startShops();
  const id = await newCoupon(shops);
  const counter = () => get(shops, `/lab/coupon/${id}/counter`);
  expect((await counter()).body).toEqual(ok(NO_COUNTER));
  await ask(shops, id, { member: 7 });
  expect((await counter()).body).toEqual(ok(NO_COUNTER));
  await ask(shops, id, { member: 8, strategy: 'redis-counter' });
  const timeZone = String((await get(shops, `/api/coupon/${id}`)).body.data.timeZone);
  const quotaDay = new Date().toLocaleDateString('sv-SE', { timeZone });
  expect((await counter()).body).toEqual(ok({ remaining: 3, quotaDay, quotaUsed: 2, reserved: 0 }));
});

test('the largest stock counts down like any other, in the rows and in Redis', async () => {
  const shops = await startShops();
  const most = { numberOfCoupons: 2_147_483_647, dailyQuota: 2_147_483_647 };
  for (const strategy of couponStrategyNames) {
    const reply = await ask(shops, await newCoupon(shops, most), { member: 7, strategy });
    expect(reply.body.data, strategy).toMatchObject({ remaining: 2_147_483_646, serialNumber: 1 });
  }
});

test('who one is matters only where it is asked for', async () => {
  const shops = await startShops();
  const id = await newCoupon(shops);
  const nobody = { 'x-member-id': 'nobody' };
  const open: [string, string, unknown?][] = [
    ['GET', '/api/coupon'],
    ['GET', `/api/coupon/${id}`],
    ['GET', `/lab/coupon/${id}/counter`],
    ['POST', '/api/coupon', couponBody()],
    ['PUT', '/api/members/7/standing', { standing: 'VIP' }],
  ];
  for (const [method, path, body] of open)
    expect((await shops.call(method, path, body, nobody)).status, path).toBe(200);
  const closed = [
    ['POST', `/api/coupon/${id}`],
    ['GET', '/api/members/me/coupons'],
  ] as const;
  for (const [method, path] of closed) {
    const reply = await shops.call(method, path, undefined, nobody);
    expect(reply.body, path).toEqual(refusal(400, 'invalid-request'));
  }
});

test('where too many wait, a request is told when to come again', async () => {
  const { app } = createStrictServer({
    bodyLimitBytes: 1,
    requestTimeoutMs: 1_000,
    logger: { level: 'silent' },
    errorBody: problem,
  });
  onTestFinished(() => app.close());
  await identifyMembers(app, { jwtSecret: undefined, metricsToken: undefined });
  couponRoutes(app, {
    // Nothing but an issue is asked for.
    ...({} as Pick<Parameters<typeof couponRoutes>[1], 'db' | 'sql'>),
    issue: async () => refused('overloaded'),
    limit: memberLimit({ most: 1, windowMs: 0 }),
    defaultStrategy: 'group-commit',
    labMode: false,
  });
  const reply = await app.inject({ method: 'POST', url: `/api/coupon/${UNKNOWN}` });
  expect(reply.json()).toEqual(refusal(503, 'overloaded'));
  expect(reply.statusCode).toBe(503);
  expect(reply.headers['retry-after']).toBe('1');
});

test('there is nothing else', async () => {
  const shops = await startShops();
  const id = await newCoupon(shops);
  const before = await snapshot(shops);
  const none = [
    ...['PUT', 'PATCH', 'DELETE'].flatMap((method) => [
      [method, '/api/coupon'],
      [method, `/api/coupon/${id}`],
      [method, '/api/members/me/coupons'],
      [method, `/lab/coupon/${id}/counter`],
    ]),
    ['POST', '/api/members/me/coupons'],
    ['POST', '/api/members/7/standing'],
    ['GET', '/api/members/7/standing'],
    ['GET', '/api/members/7/coupons'],
    ['GET', '/api/coupons'],
    ['GET', '/API/COUPON'],
    ['GET', '/api//coupon'],
    ['POST', `/api/coupon/${id}/`],
    ['GET', `/api/coupon/${id}/..%2f${id}`],
    ['POST', `/lab/coupon/${id}/counter`],
  ] as const;
  for (const [method, path] of none) {
    const reply = await shops.call(method ?? '', path ?? '');
    expect(reply.body, `${method} ${path}`).toEqual(refusal(404, 'not-found'));
    expect(reply.status).toBe(404);
  }
  expect(await snapshot(shops)).toEqual(before);
});
