import { beforeAll, describe, expect, test } from 'vitest';
import { newDatabase } from '../../../../test/stores.ts';
import { type Ends, type Shops, startProvider, startShops, untilFileEnds } from '../harness.ts';
import { labRoutes, methodOf, type RouteCase, shopRoutes, type World } from './route-table.ts';
import { asBearerOf, asMember, asOperator, inSeconds, JWT_SECRET, tokenOf } from './tokens.ts';

const METRICS_TOKEN = 'the-token-of-who-reads-the-metrics';

const ends: Ends = untilFileEnds();
let demo: Shops;
let lab: Shops;
let tokens: Shops;

beforeAll(async () => {
  const provider = await startProvider({}, ends);
  const databaseUrl = await newDatabase();
  const start = (env: Record<string, string>) =>
    startShops({ databaseUrl, providerUrl: provider.url, ends, env });
  [demo, lab, tokens] = await Promise.all([
    start({ LAB_MODE: '0' }),
    start({ LAB_MODE: '1' }),
    start({ LAB_MODE: '0', JWT_SECRET, METRICS_TOKEN, ORDERS_PER_MEMBER: '1000' }),
  ]);
});

/** Asks, and expects nothing yet. */
async function ask(shops: Shops, route: string, asked: { path: string; body?: unknown }, headers = {}) {
  const { path, body } = asked;
  const response = await fetch(`${shops.urls[0]}${path}`, {
    method: methodOf(route),
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** Runs `judge` for all at once, as none has what is another’s, and names all that are wrong. */
async function forAll(
  routes: Readonly<Record<string, RouteCase>>,
  judge: (route: string, routeCase: RouteCase) => Promise<void>,
): Promise<void> {
  const wrong: string[] = [];
  const judged = Object.entries(routes).map(([route, routeCase]) =>
    judge(route, routeCase).catch((error: unknown) => wrong.push(`${route}: ${String(error)}`)),
  );
  await Promise.all(judged);
  expect(wrong).toEqual([]);
}

const is = (given: { status: number; text: string }, status: number, code: string) => {
  expect(`${given.status} ${given.text}`).toMatch(new RegExp(`^${status} .*"code":"${code}"`));
  expect(JSON.parse(given.text)).toMatchObject({ success: false, status, code, data: null });
};

describe('the table of routes', () => {
  test.each([
    ['demo mode', () => demo, shopRoutes],
    ['lab mode', () => lab, { ...shopRoutes, ...labRoutes }],
    ['with tokens', () => tokens, shopRoutes],
  ] as const)(
    'in %s: each route stands in it with its rule, and there is no other',
    (_mode, shops, table) => {
      const registered = shops().routes.map(({ method, url, auth }) => `${method} ${url}: ${auth}`);
      const listed = Object.entries(table).map(([route, { auth }]) => `${route}: ${auth}`);
      expect(registered.toSorted()).toEqual(listed.toSorted());
    },
  );

  test.each([
    ['demo mode', () => demo, shopRoutes],
    ['lab mode', () => lab, { ...shopRoutes, ...labRoutes }],
  ] as const)('in %s: everybody is let in, and what is right is done', async (_mode, shops, table) => {
    const world: World = { shops: shops(), member: {}, operator: {} };
    await forAll(table, async (route, { right, type = /^application\/json/ }) => {
      const reply = await ask(shops(), route, await right(world));
      expect(`${reply.status} ${reply.text}`).toMatch(/^200 /);
      expect(reply.headers.get('content-type')).toMatch(type);
    });
  });
});

describe('with tokens, by the rule of each route', () => {
  const world = (): World => ({ shops: tokens, member: asMember(7), operator: asOperator() });

  test('without a token: 401, in the envelope, whatever else is wrong with the request', async () => {
    await forAll(shopRoutes, async (route, { auth, right }) => {
      const asked = await right(world());
      const reply = await ask(tokens, route, asked, { 'x-member-id': '7' });
      if (auth === 'public') {
        expect(reply.status).toBe(200);
        return;
      }
      is(reply, 401, 'unauthenticated');
      expect(reply.headers.get('www-authenticate')).toBe('Bearer');
      // Neither the body nor the address has been looked at.
      if (methodOf(route) !== 'GET')
        is(await ask(tokens, route, { ...asked, body: '{' }), 401, 'unauthenticated');
      const strange = { ...asked, path: route.replace(/^\w+ /, '').replace(/:\w+/, '%00') };
      if (strange.path.includes('%00')) is(await ask(tokens, route, strange), 401, 'unauthenticated');
    });
  });

  test('with an expired one: 401, and it is said that it has expired', async () => {
    const expired = asBearerOf(tokenOf({ sub: '7', role: 'operator', exp: inSeconds(-1) }));
    await forAll(shopRoutes, async (route, { auth, right }) => {
      if (auth === 'public') return;
      const reply = await ask(tokens, route, await right(world()), expired);
      is(reply, 401, 'token-expired');
      expect(reply.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"');
    });
  });

  test('a member: 403 where it is for operators, before anything is looked at', async () => {
    await forAll(shopRoutes, async (route, { auth, right }) => {
      const asked = await right(world());
      const reply = await ask(tokens, route, asked, asMember(7));
      if (auth === 'public' || auth === 'member') expect(`${reply.status} ${reply.text}`).toMatch(/^200 /);
      else is(reply, 403, 'forbidden');
      if (auth !== 'operator') return;
      is(await ask(tokens, route, { ...asked, body: '{' }, asMember(7)), 403, 'forbidden');
    });
  });

  test('an operator: everything that is not another member’s', async () => {
    const operator = asOperator();
    await forAll(shopRoutes, async (route, { right }) => {
      const asked = await right({ shops: tokens, member: operator, operator });
      expect((await ask(tokens, route, asked, operator)).status).toBe(200);
    });
  });

  test('HEAD, which comes with each GET, is let in as it is', async () => {
    await forAll(shopRoutes, async (route, { auth, right }) => {
      if (methodOf(route) !== 'GET') return;
      const asked = await right(world());
      const reply = await ask(tokens, route.replace('GET', 'HEAD'), asked);
      expect(reply.status).toBe(auth === 'public' ? 200 : 401);
    });
  });

  test('who reads the metrics has a token that is good for nothing else', async () => {
    await forAll(shopRoutes, async (route, { auth, right }) => {
      if (auth === 'public') return;
      const reply = await ask(tokens, route, await right(world()), asBearerOf(METRICS_TOKEN));
      if (auth === 'scraper') expect(reply.status).toBe(200);
      else is(reply, 401, 'unauthenticated');
    });
  });
});

test('what there is in lab mode is nowhere else', async () => {
  const world: World = { shops: lab, member: {}, operator: {} };
  for (const [route, { right }] of Object.entries(labRoutes)) {
    const asked = await right(world);
    for (const shops of [demo, tokens]) is(await ask(shops, route, asked, asOperator()), 404, 'not-found');
  }
  // What a request may choose there means nothing here, not even what would be refused.
  const switches = {
    'x-purchase-strategy': 'luck',
    'x-coupon-strategy': 'luck',
    'x-lab-stop-at': 'nowhere',
    'tosspayments-test-code': 'REJECT_CARD_PAYMENT',
    'x-request-id': 'chosen',
  };
  for (const [shops, headers] of [
    [demo, {}],
    [tokens, asMember(7)],
  ] as const) {
    await forAll(shopRoutes, async (route, { auth, right }) => {
      if (auth !== 'member') return;
      const here: World = { shops, member: headers, operator: shops === tokens ? asOperator() : {} };
      const reply = await ask(shops, route, await right(here), { ...headers, ...switches });
      expect(`${reply.status} ${reply.text}`).toMatch(/^200 /);
      for (const name of ['x-server-name', 'x-arrived-at-us', 'x-steps', 'x-retries']) {
        expect(reply.headers.get(name)).toBeNull();
      }
    });
  }
  const audited = await demo.sql('SELECT DISTINCT strategy FROM order_status_audit');
  expect(audited).toEqual([{ strategy: 'durable' }]);
  expect(await demo.sql(`SELECT 1 FROM order_status_audit WHERE request_id = 'chosen'`)).toEqual([]);
});
