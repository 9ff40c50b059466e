import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { together } from '../../../../test/barrier.ts';
import type { Step } from '../../src/trace.ts';
import { type Reply, type Shops, startShops } from '../harness.ts';
import { ask, couponBody, newCoupon, refusal, snapshot, tally } from './coupons.ts';

/** A name for the report, what is sent, and what the message must speak of. */
type Case = readonly [name: string, send: () => Promise<Pick<Reply, 'status' | 'text'>>, about?: string];

/**
 * Sends each, and expects this status and code in the envelope, a message of moderate length about what is wrong, and every
 * table as it was. All that are answered otherwise are named at once.
 */
async function refusesAll(shops: Shops, cases: readonly Case[], answer = '400 invalid-request') {
  const [status, code] = answer.split(' ');
  const before = await snapshot(shops);
  const wrong: string[] = [];
  for (const [name, send, about = ''] of cases) {
    const reply = await send();
    const body = JSON.parse(reply.text);
    try {
      expect(body).toEqual(refusal(Number(status), code ?? ''));
      expect(reply.status).toBe(Number(status));
      expect(body.message).toContain(about);
      expect(body.message.length).toBeLessThan(350);
    } catch {
      wrong.push(`${name}: ${reply.status} ${reply.text.slice(0, 300)}`);
    }
  }
  expect(wrong).toEqual([]);
  expect(await snapshot(shops)).toEqual(before);
}

const create = (shops: Shops, changes: Record<string, unknown>) =>
  shops.call('POST', '/api/coupon', couponBody(changes));

/** The JSON of a coupon in which `field` is literally `json`. */
const literally = (field: string, json: string) =>
  JSON.stringify(couponBody({ [field]: '@' })).replace('"@"', json);

const shown = (value: unknown) => JSON.stringify(value)?.slice(0, 60);

const wholeNumbers = ['cost', 'numberOfCoupons', 'dailyQuota'];

/** Values that a field must not have. */
const unfit: Record<string, readonly unknown[]> = {
  couponName: [
    ...['', ' ', ' a', 'a ', '\u00a0a', 'a\u3000', '\ta', 'a\n'],
    ...['a\tb', 'a\nb', 'a\u0000b', '\u0000', 'a\u007fb', 'a\u0085b', 'a\u200bb', 'a\ufeffb', '\u202eabc'],
    // Half of a pair of surrogates is no character.
    ...['\ud800', 'a\udc00b', 'a\ud800'],
    // Too long: 101 characters, whatever each of them takes, and what composing makes longer.
    ...['a', '가', '가'.normalize('NFD'), '😀'].map((character) => character.repeat(101)),
    ...['\u0958'.repeat(51), `a${'\u0316'.repeat(150)}`, 'a'.repeat(10_000)],
  ],
  couponCode: ['', ' ', 'a b', 'a\nb', 'a\u0000', 'é', '쿠폰', 'x'.repeat(65)],
  discountType: ['', 'percent', 'PERCENT ', 'PERCENT|WON', 'toString', 'WON\n'],
  couponType: ['', 'all', 'GENERAL', 'ALL,VIP', '__proto__', 'VIP\n'],
  openingTime: [
    ...['', '24:00', '9:00', '10:60', '10:00:60', '-1:00', '10', '1000', '10:00:00.5', '10:00Z', 'T10:00'],
    ...['10:00+09:00', ' 10:00', '10:00\n', '٠٩:٠٠', '24:00:00', '10:00:0'],
  ],
  timeZone: [
    ...['', 'Seoul', 'Asia/Atlantis', 'Asia/Seoul ', ' Asia/Seoul', 'Asia/Seoul\n', 'Asia/Seoul\u0000', 'Z'],
    ...['+09:00', '-00:01', '+0900', '2026-01-01T00:00Z', '2026-01-01T00:00[Asia/Seoul]', '20260101'],
    ...['constructor', '../../etc/passwd', 'x'.repeat(64), 'x'.repeat(65), "'; DROP TABLE coupon; --"],
  ],
};
for (const field of ['downloadStartDate', 'downloadEndDate', 'availableStartDate', 'availableEndDate']) {
  unfit[field] = [
    // Days that do not exist, and those before anybody had a coupon.
    ...['20260229', '21000229', '20260431', '20261301', '20260001', '20260100', '20260132'],
    ...['00000000', '99999999', '19691231', '00000101'],
    ...['2026-01-01', '2026011', '202601011', ' 20260101', '20260101\n', '２０２６０１０１'],
    ...['', '+0260101', '2026W011', 'now'],
  ];
}
for (const field of wholeNumbers) {
  unfit[field] = [
    ...[0, -1, -2_147_483_648, 0.5, 10.000001, 2 ** 31, 2 ** 32 + 1, 2 ** 53, -(2 ** 53), 1e21, 1e300],
  ];
}

describe.each(['postgres', 'mariadb'] as const)('on %s', (store) => {
  test('a coupon is not created of what a field must not be, and the field is named', async () => {
    const shops = await startShops({ store });
    await newCoupon(shops);
    const cases = Object.entries(unfit).flatMap(([field, values]) =>
      values.map(
        (value): Case => [`${field}: ${shown(value)}`, () => create(shops, { [field]: value }), field],
      ),
    );
    for (const field of wholeNumbers) {
      for (const json of ['9007199254740993', '1e400', '-1e400', '1e-1', '-0', '-0.0', '2147483648.0']) {
        const body = literally(field, json);
        cases.push([`${field}: ${json}`, () => shops.call('POST', '/api/coupon', body), field]);
      }
    }
    await refusesAll(shops, cases);
  });

  test('names that differ in a byte are different coupons; the same one again is not created', async () => {
    const shops = await startShops({ store });
    const names = [
      ...['Sale', 'sale', 'SALE', 'Sále', 'ＳＡＬＥ', 'ss', 'ß', 'fi', 'ﬁ'],
      ...['i', 'ı', 'I', 'İ', 'Å', 'A', 'ａ', '가', 'ㄱㅏ', '가가'],
      ...['신규 가입 쿠폰', '신규가입쿠폰', '쿠폰 ①', '쿠폰 1', '限定', '한정 😀', '한정 😁', '❤️', '❤'],
      ...['0', '00', '1e0', 'null', 'NULL', 'true', '%', '_', '\\', '\\n', "'", '"'],
      ...["'; DROP TABLE coupon; --", '1; SELECT 1'],
      ...['toString', '__proto__', '<b>', '{x}', 'a  b', 'a b', '?', '$1', ':name'],
      ...['a'.repeat(100), '가'.repeat(100), '😀'.repeat(100), `${'😀'.repeat(99)}😁`],
    ];
    for (const couponName of names) {
      const reply = await create(shops, { couponName });
      expect(reply.body.data?.couponName, couponName).toBe(couponName);
      const found = await shops.call('GET', `/api/coupon/${reply.body.data.id}`);
      expect(found.body.data.couponName).toBe(couponName);
    }
    const listed = (await shops.call('GET', '/api/coupon')).body.data as unknown as { couponName: string }[];
    expect(listed.map(({ couponName }) => couponName).toReversed()).toEqual(names);

    const twice = names.flatMap((couponName) => [
      couponName,
      couponName.normalize('NFD'),
      // Another sign for the same letter (ANGSTROM SIGN).
      couponName.replace('Å', '\u212b'),
    ]);
    const cases = twice.map((couponName): Case => [couponName, () => create(shops, { couponName })]);
    await refusesAll(shops, cases, '409 duplicate-name');
  });

  test('of ten at once with one name, however it is composed, one wins', async () => {
    const shops = await startShops({ store, instances: 2 });
    for (const name of ['한정 쿠폰', 'café', 'plain']) {
      const replies = await together(10, (index) => {
        const couponName = name.normalize(index % 3 === 0 ? 'NFC' : 'NFD');
        return shops.call('POST', '/api/coupon', couponBody({ couponName }), {}, index % 2);
      });
      expect(tally(replies), name).toEqual({ ok: 1, '409 duplicate-name': 9 });
      const winner = replies.find(({ status }) => status === 200)?.body.data;
      expect(winner?.couponName).toBe(name);
      const [row, ...more] = await shops.sql('SELECT id FROM coupon ORDER BY sequence DESC LIMIT 1');
      expect([String(row?.id), more]).toEqual([winner?.id, []]);
    }
    expect(await shops.sql('SELECT id FROM coupon')).toHaveLength(3);
  });

  test('an id that is none finds nothing, issues nothing and lists nothing', async () => {
    const shops = await startShops({ store });
    const id = await newCoupon(shops);
    const malformed = [
      ...[id.toUpperCase(), id.replaceAll('-', ''), `${id}0`, id.slice(1), `{${id}}`, `urn:uuid:${id}`],
      ...[` ${id}`, `${id}\n`, `${id}\u0000`, `${id}\u0000x`, '\u0000', id.replace(/\d/, '０')],
      ...["' OR '1'='1", `${id}' OR '1'='1`, `${id}; DROP TABLE coupon`, '_'.repeat(36), '%'.repeat(36)],
      ...[`../${id}`, '../coupon', '..\\..\\etc', 'x'.repeat(300), '가'],
      ...['1', '0', '-1', 'null', 'undefined', 'NaN', '*', 'true', '[]', '{}'],
    ].map((bad) => encodeURIComponent(bad));
    const paths = malformed.flatMap((bad) => [
      ['GET', `/api/coupon/${bad}`] as const,
      ['POST', `/api/coupon/${bad}`] as const,
      ['GET', `/api/coupon?before=${bad}`] as const,
      ['GET', `/lab/coupon/${bad}/counter`] as const,
    ]);
    const cases: Case[] = paths.map(([method, path]) => [
      `${method} ${path}`,
      () => shops.call(method, path),
    ]);
    for (const path of ['/api/coupon/', '/api/coupon/%zz', '/api/coupon/%ff', '/api/coupon?before='])
      cases.push([path, () => shops.call('GET', path)]);
    await refusesAll(shops, cases);
    const long = [`/api/coupon/${'x'.repeat(301)}`, `/lab/coupon/${'x'.repeat(5_000)}/counter`];
    const tooLong = long.map((path): Case => [path.slice(0, 20), () => shops.call('GET', path)]);
    await refusesAll(shops, tooLong, '414 invalid-request');
  });

  test('a standing that is none, or of nobody, is not set', async () => {
    const shops = await startShops({ store });
    await shops.call('PUT', '/api/members/7/standing', { standing: 'VIP' });
    const put = (member: string, body: unknown) => () =>
      shops.call('PUT', `/api/members/${member}/standing`, body);
    const cases: Case[] = [];
    for (const standing of ['', 'vip', 'ALL', 'VIP ', 'VIP\n', 'GENERAL|VIP', 5, null, true, {}, [], ['VIP']])
      cases.push([`standing ${shown(standing)}`, put('7', { standing }), 'standing']);
    const bodies = [{}, { standing: 'FIRST', memberId: 8 }, [], [{ standing: 'FIRST' }], '"FIRST"', '{', ''];
    for (const body of [...bodies, undefined]) cases.push([`body ${shown(body)}`, put('7', body)]);
    const members = [
      '0',
      '-1',
      '07',
      '1.5',
      '1e3',
      'me',
      '9'.repeat(16),
      '7\u0000',
      '7 ',
      "7' OR '1'='1",
      '７',
    ];
    for (const member of members)
      cases.push([`member ${member}`, put(encodeURIComponent(member), { standing: 'FIRST' })]);
    await refusesAll(shops, cases);
  });
});

test('a field of another type is refused, and named', async () => {
  const shops = await startShops();
  const cases: Case[] = [];
  const fields = couponBody({ timeZone: 'Asia/Seoul', openingTime: '10:00', dailyQuota: 10 });
  expect((await create(shops, fields)).status).toBe(200);
  for (const [field, value] of Object.entries(fields)) {
    const other = typeof value === 'number' ? String(value) : 20260101;
    for (const unlike of [other, null, true, false, {}, [], [value], { value }, { $ne: null }])
      cases.push([`${field}: ${shown(unlike)}`, () => create(shops, { [field]: unlike }), field]);
  }
  await refusesAll(shops, cases);
});

test('a field that is missing or unknown is refused, and named', async () => {
  const shops = await startShops();
  const cases: Case[] = Object.keys(couponBody()).map((field) => [
    `without ${field}`,
    () => create(shops, { [field]: undefined }),
    field,
  ]);
  const unknown = [
    'id',
    'remaining',
    'version',
    'price',
    'coupon_name',
    'CouponName',
    'quotaUsed',
    'toString',
  ];
  for (const field of unknown) cases.push([`with ${field}`, () => create(shops, { [field]: 1 }), field]);
  for (const poison of ['"__proto__":{"cost":1}', '"constructor":{"prototype":{"cost":1}}']) {
    const body = JSON.stringify(couponBody()).replace('{', `{${poison},`);
    cases.push([poison, () => shops.call('POST', '/api/coupon', body)]);
  }
  await refusesAll(shops, cases);
});

test('a percentage is from 1 to 100; so many won may be more', async () => {
  const shops = await startShops();
  const percent = (cost: number) => create(shops, { discountType: 'PERCENT', cost });
  for (const cost of [1, 100]) expect((await percent(cost)).body.data).toMatchObject({ cost });
  for (const cost of [1, 101, 2_147_483_647])
    expect((await create(shops, { discountType: 'WON', cost })).body.data).toMatchObject({ cost });
  const cases = [0, 101, 1_000, 2_147_483_647].map(
    (cost): Case => [String(cost), () => percent(cost), 'cost'],
  );
  await refusesAll(shops, cases);
});

test('a period ends on the day that it begins, or later, and what is handed out can still be used', async () => {
  const shops = await startShops();
  const periods = (days: string) => {
    const [downloadStartDate, downloadEndDate, availableStartDate, availableEndDate] = days.split(' ');
    return { downloadStartDate, downloadEndDate, availableStartDate, availableEndDate };
  };
  const right = [
    '20260601 20260601 20260601 20260601',
    '20260601 20260630 20260501 20260630',
    '20260601 20260630 20260801 20260831',
    '19700101 99991231 19700101 99991231',
    '20240229 20240301 20240229 20240301',
  ];
  for (const days of right)
    expect((await create(shops, periods(days))).body.data).toMatchObject(periods(days));
  const wrong = {
    '20260602 20260601 20260601 20260630': 'downloadEndDate must not be before downloadStartDate',
    '20270101 20261231 20260101 20271231': 'downloadEndDate must not be before downloadStartDate',
    '20260601 20260601 20260702 20260701': 'availableEndDate must not be before availableStartDate',
    '20260601 20260630 20260601 20260629': 'availableEndDate must not be before downloadEndDate',
  };
  const cases = Object.entries(wrong).map(
    ([days, about]): Case => [days, () => create(shops, periods(days)), about],
  );
  await refusesAll(shops, cases);
});

test('times and time zones that exist are taken', async () => {
  const shops = await startShops();
  const times = { '00:00': '00:00:00', '09:00': '09:00:00', '23:59': '23:59:00', '23:59:59': '23:59:59' };
  for (const [openingTime, shownTime] of Object.entries(times))
    expect((await create(shops, { openingTime })).body.data).toMatchObject({ openingTime: shownTime });
  const zones = ['UTC', 'America/New_York', 'Asia/Kathmandu', 'Pacific/Kiritimati', 'Etc/GMT+9', 'EST5EDT'];
  for (const timeZone of zones) {
    const id = await newCoupon(shops, { timeZone });
    expect((await ask(shops, id, { member: 7 })).body.data).toMatchObject({ timeZone, serialNumber: 1 });
  }
});

test('a body that is none is refused', async () => {
  const shops = await startShops();
  const id = await newCoupon(shops);
  const post = (body?: string, contentType = 'application/json', path = '/api/coupon') => {
    const headers = { 'content-type': contentType };
    return () => shops.call('POST', path, body, headers);
  };
  const whole = JSON.stringify(couponBody());
  const bodies = ['null', '7', '"x"', 'true', '[]', '{}', '{', 'couponName=x'];
  bodies.push(`[${whole}]`, whole.slice(0, -1), `${whole}x`);
  await refusesAll(shops, [
    ['none', () => shops.call('POST', '/api/coupon')],
    ['of no length', post('')],
    ...bodies.map((body): Case => [body, post(body)]),
    ['a NUL', post(whole.replace('WELCOME', 'WEL\u0000COME'))],
    ['nested deep', post(`${'['.repeat(10_000)}${']'.repeat(10_000)}`)],
    ['text', post(whole, 'text/plain')],
    ['an issue with what is no JSON', post('{', undefined, `/api/coupon/${id}`)],
    ['an issue with JSON of no length', post('', undefined, `/api/coupon/${id}`)],
  ]);
  await refusesAll(
    shops,
    [
      ['a form', post('couponName=x', 'application/x-www-form-urlencoded')],
      ['XML', post('<coupon/>', 'application/xml')],
      ['an issue with a form', post('a=1', 'application/x-www-form-urlencoded', `/api/coupon/${id}`)],
    ],
    '415 unsupported-media-type',
  );
  const large = JSON.stringify({ padding: 'x'.repeat(40_000) });
  await refusesAll(
    shops,
    [
      ['large', post(large)],
      ['an issue with a large one', post(large, undefined, `/api/coupon/${id}`)],
    ],
    '413 body-too-large',
  );
});

test('what is asked for in the address is refused where it is not understood', async () => {
  const shops = await startShops();
  const get = (path: string): Case => [path, () => shops.call('GET', path)];
  const cases: Case[] = [];
  for (const path of ['/api/coupon', '/api/members/me/coupons']) {
    for (const limit of [
      '0',
      '-1',
      '01',
      '501',
      '1000',
      '1.5',
      '1e2',
      'all',
      '',
      '%20',
      '1%00',
      '1%0a',
      '１',
    ])
      cases.push(get(`${path}?limit=${limit}`));
    for (const query of ['limit=1&limit=2', 'limit[]=1', 'limit[x]=1', 'offset=1', 'LIMIT=1', '__proto__=1'])
      cases.push(get(`${path}?${query}`));
  }
  for (const before of ['0', '-1', '01', '1.5', '1e3', '9'.repeat(16), '', 'x', '1%00', "1'--"])
    cases.push(get(`/api/members/me/coupons?before=${before}`));
  cases.push(get('/api/members/me/coupons?before=1&before=2'), get('/api/members/me/coupons?memberId=2'));
  await refusesAll(shops, cases);
});

describe('the headers', () => {
  test('a member id that is none gets nothing', async () => {
    const shops = await startShops();
    const id = await newCoupon(shops);
    const ids = ['0', '-1', '+1', '01', '1.5', '1e3', '0x1', 'me', '', '1, 2', '1,1', '9'.repeat(16), 'é'];
    const calls = [['POST', `/api/coupon/${id}`] as const, ['GET', '/api/members/me/coupons'] as const];
    const cases = ids.flatMap((member) =>
      calls.map(([method, path]): Case => {
        const send = () => shops.call(method, path, undefined, { 'x-member-id': member });
        return [`${method} as ${member}`, send, 'X-Member-Id'];
      }),
    );
    await refusesAll(shops, cases);
  });

  test('one that is there twice is refused, also where both say the same', async () => {
    const shops = await startShops();
    const id = await newCoupon(shops);
    const twice = (name: string, first: string, second: string): Case => [
      `${name}: ${first}, ${second}`,
      () => post(shops, `/api/coupon/${id}`, [name, first, name, second]),
    ];
    await refusesAll(shops, [
      twice('x-member-id', '1', '2'),
      twice('x-member-id', '1', '1'),
      twice('X-Member-Id', '1', ''),
      twice('x-coupon-strategy', 'none', 'none'),
      twice('x-coupon-strategy', 'none', 'conditional-update'),
      twice('x-lab-stop-at', 'read', 'wrote'),
    ]);
    const single = await post(shops, `/api/coupon/${id}`, ['X-MEMBER-ID', '7']);
    expect(JSON.parse(single.text)).toMatchObject({ success: true, data: { serialNumber: 1 } });
  });

  test('in lab mode, a strategy that does not exist hands out nothing', async () => {
    const shops = await startShops();
    const id = await newCoupon(shops);
    const names = ['luck', '', 'NONE', 'none ,', 'none,none', 'toString', '__proto__', 'x'.repeat(5_000)];
    const cases = names.map((strategy): Case => [strategy, () => ask(shops, id, { member: 7, strategy })]);
    await refusesAll(shops, cases);
  });

  test('in lab mode, a step that does not exist stops nobody, and hands out nothing', async () => {
    const shops = await startShops();
    const id = await newCoupon(shops);
    const names = ['nowhere', '', 'READ', 'read,wrote', 'toString'];
    const cases = names.map((stopAt): Case => {
      const send = () => ask(shops, id, { member: 7, stopAt: stopAt as Step });
      return [stopAt, send, 'x-lab-stop-at'];
    });
    await refusesAll(shops, cases);
  });
});

/** Sends headers one by one; `fetch` would put those of one name together. */
async function post(shops: Shops, path: string, headers: string[]) {
  const asking = request(`${shops.urls[0]}${path}`, {
    method: 'POST',
    headers: ['host', 'shop', 'connection', 'close', 'content-length', '0', ...headers],
  });
  asking.end();
  const [response] = (await once(asking, 'response')) as [IncomingMessage];
  return { status: response.statusCode ?? 0, text: await text(response) };
}
