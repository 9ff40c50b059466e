import { beforeAll, describe, expect, test } from 'vitest';
import { couponBody } from '../coupons/coupons.ts';
import {
  type OrderRef,
  type Reply,
  type Shops,
  startProvider,
  startShops,
  untilFileEnds,
} from '../harness.ts';
import { confirmationOf } from './route-table.ts';
import { asBearerOf, asMember, asOperator, inSeconds, JWT_SECRET, tokenOf } from './tokens.ts';

const ends = untilFileEnds();
let shops: Shops;

beforeAll(async () => {
  const provider = await startProvider({}, ends);
  shops = await startShops({ providerUrl: provider.url, ends, env: { LAB_MODE: '0', JWT_SECRET } });
});

const own = { sub: '7', exp: inSeconds(60) };
const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

describe('a token is believed', () => {
  const whoIs = (headers: Record<string, string>) =>
    shops.call('GET', '/api/members/me/coupons', undefined, headers);

  test('when it is signed with the key, by HS256, and says whose it is and when it ends', async () => {
    for (const good of [tokenOf(own), tokenOf({ ...own, role: 'member', name: 'x' })]) {
      expect((await whoIs(asBearerOf(good))).status).toBe(200);
      expect((await whoIs({ authorization: `bearer ${good}` })).status).toBe(200);
    }
  });

  const [header, payload, signature] = tokenOf(own).split('.');
  const bad: Record<string, string> = {
    'signed with another key': tokenOf(own, { secret: 'another-key-that-is-as-long-as-it' }),
    'signed with none': `${base64url({ alg: 'none', typ: 'JWT' })}.${payload}.`,
    'signed with none, in other letters': `${base64url({ alg: 'nOnE' })}.${payload}.`,
    'without its signature': `${header}.${payload}.`,
    'with the head of none and a signature': `${base64url({ alg: 'none' })}.${payload}.${signature}`,
    'by HS512': tokenOf(own, { header: { alg: 'HS512' }, hash: 'sha512' }),
    'that says RS256': tokenOf(own, { header: { alg: 'RS256' } }),
    'without an algorithm': tokenOf(own, { header: {} }),
    'with what must be understood and is not': tokenOf(own, {
      header: { alg: 'HS256', crit: ['b64'], b64: false },
    }),
    'with claims that were changed': `${header}.${base64url({ ...own, sub: '8' })}.${signature}`,
    'without an end': tokenOf({ sub: '7' }),
    'with an end that is text': tokenOf({ ...own, exp: String(own.exp) }),
    'that is not valid yet': tokenOf({ ...own, nbf: inSeconds(60) }),
    'of nobody': tokenOf({ exp: own.exp }),
    'of members together': tokenOf({ ...own, sub: ['7'] }),
    'of a number': tokenOf({ ...own, sub: 7 }),
    'of member 0': tokenOf({ ...own, sub: '0' }),
    'of member 07': tokenOf({ ...own, sub: '07' }),
    'of a member that a number cannot hold': tokenOf({ ...own, sub: '9'.repeat(16) }),
    'of a line too much': tokenOf({ ...own, sub: '7\n' }),
    'of a statement': tokenOf({ ...own, sub: "7' OR '1'='1" }),
    'that is a list': tokenOf([own]),
    'that is none': 'x.y.z',
    'that is very long': 'x'.repeat(10_000),
  };
  test('and never otherwise; what is wrong with it is not said', async () => {
    const wrong: string[] = [];
    const texts = new Set<string>();
    for (const [name, token] of Object.entries(bad)) {
      const { status, text, headers } = await whoIs(asBearerOf(token));
      if (status !== 401 || headers.get('www-authenticate') !== 'Bearer error="invalid_token"') {
        wrong.push(`${name}: ${status} ${text}`);
      }
      texts.add(text);
    }
    expect(wrong).toEqual([]);
    expect([...texts]).toEqual([
      '{"success":false,"status":401,"message":"The token is not valid.","code":"unauthenticated","data":null}',
    ]);
  });

  test('only as a bearer’s', async () => {
    const basic = `Basic ${Buffer.from('7:x').toString('base64')}`;
    for (const authorization of [
      '',
      'Bearer',
      'Bearer ',
      tokenOf(own),
      `Token ${tokenOf(own)}`,
      basic,
      `Bearer ${tokenOf(own)} x`,
    ]) {
      const reply = await whoIs({ authorization });
      expect(`${authorization}: ${reply.status}`).toBe(`${authorization}: 401`);
    }
    const elsewhere = await whoIs({ cookie: `token=${tokenOf(own)}`, 'x-member-id': '7' });
    expect(elsewhere.body).toMatchObject({ status: 401, code: 'unauthenticated' });
  });

  test('and `role` is `operator`, or nothing', async () => {
    const create = (role: unknown) =>
      shops.call('POST', '/api/coupon', couponBody(), asBearerOf(tokenOf({ ...own, role })));
    for (const role of ['Operator', 'operator ', 'admin', ['operator'], { operator: true }, true, 1, null]) {
      expect((await create(role)).body).toMatchObject({ status: 403, code: 'forbidden' });
    }
    expect((await create('operator')).status).toBe(200);
  });
});

test('a member is whom the token names, whatever the header says', async () => {
  const order = await shops.order({}, { ...asMember(7), 'x-member-id': '8' });
  const path = `/api/orders/${order.orderId}`;
  expect((await shops.call('GET', path, undefined, { ...asMember(7), 'x-member-id': '8' })).status).toBe(200);
  expect((await shops.call('GET', path, undefined, { ...asMember(8), 'x-member-id': '7' })).status).toBe(404);
  expect(await shops.sql('SELECT member_id FROM orders WHERE order_id = ?', [order.orderId])).toEqual([
    { member_id: '7' },
  ]);
});

/** What a request for somebody's thing is answered, but for its own name. */
const shape = ({ status, body }: Reply, id: string) => JSON.stringify({ status, body }).replaceAll(id, 'ID');

test('what is another’s is not found, over all members and things, in the words of what does not exist', async () => {
  const members = [7, 8, 9];
  const operator = asOperator();
  const things: { owner: number; method: string; path: string; body?: unknown; id: string }[] = [];
  for (const owner of members) {
    const headers = asMember(owner);
    const [waiting, paid] = [await shops.order({}, headers), await shops.order({}, headers)];
    const bill = await shops.call('POST', '/api/tickets', confirmationOf(paid), headers);
    expect(bill.status).toBe(200);
    const of = (order: OrderRef) => [
      { method: 'GET', path: `/api/orders/${order.orderId}`, id: order.orderId },
      { method: 'POST', path: '/api/tickets', body: confirmationOf(order), id: order.orderId },
      { method: 'POST', path: `/api/orders/${order.orderId}/cancel`, body: {}, id: order.orderId },
    ];
    const billId = String(bill.body.data.id);
    for (const thing of [
      ...of(paid),
      ...of(waiting),
      { method: 'GET', path: `/api/tickets/${billId}`, id: billId },
    ]) {
      things.push({ owner, ...thing });
    }
  }
  const absent = async (thing: { method: string; path: string; body?: unknown; id: string }) => {
    const id = /^\d+$/.test(thing.id) ? '999999999' : '00000000-0000-4000-8000-000000000000';
    const path = thing.path.replace(thing.id, id);
    const text = thing.body === undefined ? undefined : JSON.stringify(thing.body).replaceAll(thing.id, id);
    return shape(await shops.call(thing.method, path, text, asMember(7)), id);
  };
  const before = await shops.sql('SELECT order_id, status FROM lotto_publish ORDER BY id');
  for (const { owner, ...thing } of things) {
    const unknown = await absent(thing);
    expect(unknown).toMatch(/^{"status":404,/);
    for (const asking of [...members.filter((member) => member !== owner).map(asMember), operator]) {
      const reply = await shops.call(thing.method, thing.path, thing.body, asking);
      expect(shape(reply, thing.id)).toBe(unknown);
    }
  }
  expect(await shops.sql('SELECT order_id, status FROM lotto_publish ORDER BY id')).toEqual(before);
  // Whose they are gets all of them: what is refused above is refused for whom it is asked.
  for (const { owner, method, path, body } of things) {
    expect((await shops.call(method, path, body, asMember(owner))).status).not.toBe(404);
  }
});

test('own coupons are the member’s own', async () => {
  const created = await shops.call('POST', '/api/coupon', couponBody({ timeZone: 'UTC' }), asOperator());
  const { id } = created.body.data;
  for (const member of [17, 18]) {
    expect((await shops.call('POST', `/api/coupon/${id}`, undefined, asMember(member))).status).toBe(200);
  }
  const of = async (member: number, query = '') => {
    const reply = await shops.call('GET', `/api/members/me/coupons${query}`, undefined, asMember(member));
    return reply.body.data as unknown as { id: number; serialNumber: number }[];
  };
  const [first, second] = [await of(17), await of(18)];
  expect([first.map((one) => one.serialNumber), second.map((one) => one.serialNumber), await of(19)]).toEqual(
    [[1], [2], []],
  );
  // Another's as the place to go on from shows nothing of his.
  expect(await of(17, `?before=${(second[0]?.id ?? 0) + 1}`)).toEqual(first);
});

describe('an answer that is stored', () => {
  const key = { 'idempotency-key': 'the-key-of-a-request' };
  const confirm = (order: OrderRef, headers: Record<string, string>, request = {}) =>
    shops.call('POST', '/api/tickets', confirmationOf(order, request), headers);

  test('is given to whose it is, and to nobody whose token has ended or is another’s', async () => {
    const order = await shops.order({}, asMember(7));
    const paid = await confirm(order, { ...asMember(7), ...key });
    expect(paid.status).toBe(200);
    const again = await confirm(order, { ...asMember(7), ...key });
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(again.text).toBe(paid.text);

    const expired = await confirm(order, {
      ...asBearerOf(tokenOf({ sub: '7', exp: inSeconds(-1) })),
      ...key,
    });
    expect(expired.body).toMatchObject({ status: 401, code: 'token-expired', data: null });
    const nobody = await confirm(order, key);
    expect(nobody.body).toMatchObject({ status: 401, code: 'unauthenticated', data: null });
    for (const other of [asMember(8), asOperator()]) {
      const foreign = await confirm(order, { ...other, ...key });
      expect(foreign.body).toMatchObject({ status: 404, code: 'order-not-found', data: null });
      expect(foreign.headers.get('idempotency-replayed')).toBeNull();
    }
  });

  test('is not given under the same key for another order, to another member, nor on another route', async () => {
    const [one, two, foreign] = [
      await shops.order({}, asMember(7)),
      await shops.order({}, asMember(7)),
      await shops.order({}, asMember(8)),
    ];
    const shared = { 'idempotency-key': 'the-key-of-two' };
    const headers = { ...asMember(7), ...shared };
    const first = await confirm(one, headers);
    expect(first.status).toBe(200);
    const second = await confirm(two, headers);
    expect(second.body).toMatchObject({ status: 422, code: 'payload-mismatch', data: null });
    // Who happens to have the same key has his own answer.
    const others = await confirm(foreign, { ...asMember(8), ...shared });
    expect(others.body).toMatchObject({ status: 200, data: { purchase: { orderId: foreign.orderId } } });
    // Where the header means nothing, it brings nothing.
    for (const path of ['/api/orders', `/api/orders/${one.orderId}/cancel`]) {
      const reply = await shops.call('POST', path, {}, headers);
      expect(reply.text).not.toBe(first.text);
      expect(reply.headers.get('idempotency-replayed')).toBeNull();
    }
  });

  test('has the headers that were chosen for it, and no others', async () => {
    const order = await shops.order({}, asMember(7));
    const sent = { ...asMember(7), cookie: 'session=1', 'x-injected': 'x' };
    for (const reply of [await confirm(order, sent), await confirm(order, sent)]) {
      const names = [...reply.headers.keys()].filter((name) => name !== 'idempotency-replayed');
      expect(names.toSorted()).toEqual([
        'connection',
        'content-length',
        'content-type',
        'date',
        'keep-alive',
      ]);
    }
  });
});

test('a member’s orders are created so fast and no faster, and others’ all the same', async () => {
  const limited = await startShops({
    env: { LAB_MODE: '0', JWT_SECRET, ORDERS_PER_MEMBER: '3', ORDERS_WINDOW_MS: '60000' },
  });
  const create = (member: number) => limited.call('POST', '/api/orders', {}, asMember(member));
  for (let order = 0; order < 3; order++) expect((await create(7)).status).toBe(200);
  const refusing = create(7);
  expect((await create(8)).status).toBe(200);
  const refused = await refusing;
  expect(refused.body).toMatchObject({ status: 429, code: 'too-many-requests', data: null });
  expect(refused.headers.get('retry-after')).toBe('60');
  expect(await limited.sql('SELECT member_id FROM orders WHERE member_id = 7')).toHaveLength(3);
});
