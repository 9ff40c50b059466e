import { couponBody } from '../coupons/coupons.ts';
import type { OrderRef, Reply, Shops } from '../harness.ts';

/** Whose requests are right, and who makes what they need. */
export interface World {
  readonly shops: Pick<Shops, 'call' | 'order'>;
  /** Headers of the member whose things these are; another for each address that is asked for. */
  readonly member: Record<string, string>;
  readonly operator: Record<string, string>;
}

export interface Asked {
  readonly path: string;
  readonly body?: unknown;
}

export interface RouteCase {
  readonly auth: 'public' | 'member' | 'operator' | 'scraper' | 'lab';
  /** A request that is answered with 200, of the member or operator of the world. */
  right(world: World): Asked | Promise<Asked>;
  /** Not of JSON in the shop's envelope. */
  readonly type?: RegExp;
}

export const confirmationOf = (order: OrderRef, request: object = {}) => ({
  lottoPublishId: order.lottoPublishId,
  purchaseHttpRequest: { orderId: order.orderId, paymentKey: order.orderId, ...request },
});

async function expectOk(reply: Promise<Reply>): Promise<Record<string, unknown>> {
  const { status, text, body } = await reply;
  if (status !== 200) throw new Error(`not made: ${text}`);
  return body.data;
}

const newOrder = ({ shops, member }: World) => shops.order({}, member);

async function newCoupon({ shops, operator }: World): Promise<string> {
  return String((await expectOk(shops.call('POST', '/api/coupon', couponBody(), operator))).id);
}

async function newBill(world: World): Promise<unknown> {
  const order = await newOrder(world);
  return (await expectOk(world.shops.call('POST', '/api/tickets', confirmationOf(order), world.member))).id;
}

const at = (path: string, type?: RegExp): RouteCase => ({
  auth: 'public',
  right: () => ({ path }),
  ...(type === undefined ? {} : { type }),
});

/** Every route of the shop, whatever its mode. A route that is added is added here, with a request that is right. */
export const shopRoutes: Readonly<Record<string, RouteCase>> = {
  'GET /ping': at('/ping'),
  'GET /health/live': at('/health/live'),
  'GET /health/ready': at('/health/ready'),
  'GET /docs': at('/docs', /^text\/html/),
  'GET /docs/json': at('/docs/json', /^application\/json/),
  'GET /docs/yaml': at('/docs/yaml', /^application\/x-yaml/),
  'GET /docs/static/*': at('/docs/static/swagger-ui.css', /^text\/css/),
  'GET /docs/static/index.html': at('/docs/static/index.html', /^text\/html/),
  'GET /docs/static/swagger-initializer.js': at('/docs/static/swagger-initializer.js', /javascript/),
  'GET /metrics': { auth: 'scraper', right: () => ({ path: '/metrics' }), type: /^text\/plain/ },
  'POST /api/orders': { auth: 'member', right: () => ({ path: '/api/orders', body: { quickPick: 1 } }) },
  'GET /api/orders/:orderId': {
    auth: 'member',
    right: async (world) => ({ path: `/api/orders/${(await newOrder(world)).orderId}` }),
  },
  'POST /api/orders/:orderId/cancel': {
    auth: 'member',
    right: async (world) => ({ path: `/api/orders/${(await newOrder(world)).orderId}/cancel`, body: {} }),
  },
  'POST /api/tickets': {
    auth: 'member',
    right: async (world) => {
      const order = await newOrder(world);
      return { path: '/api/tickets', body: confirmationOf(order, { amount: order.amount }) };
    },
  },
  'GET /api/tickets/:billId': {
    auth: 'member',
    right: async (world) => ({ path: `/api/tickets/${await newBill(world)}` }),
  },
  'POST /api/coupon': {
    auth: 'operator',
    right: () => ({
      path: '/api/coupon',
      body: couponBody({ timeZone: 'UTC', openingTime: '00:00', dailyQuota: 5 }),
    }),
  },
  'GET /api/coupon': at('/api/coupon?limit=5'),
  'GET /api/coupon/:couponId': {
    auth: 'public',
    right: async (world) => ({ path: `/api/coupon/${await newCoupon(world)}` }),
  },
  'POST /api/coupon/:couponId': {
    auth: 'member',
    right: async (world) => ({ path: `/api/coupon/${await newCoupon(world)}` }),
  },
  'GET /api/members/me/coupons': {
    auth: 'member',
    right: () => ({ path: '/api/members/me/coupons?limit=5' }),
  },
  'PUT /api/members/:memberId/standing': {
    auth: 'operator',
    right: () => ({ path: '/api/members/7/standing', body: { standing: 'VIP' } }),
  },
};

/** What there is in lab mode besides. */
export const labRoutes: Readonly<Record<string, RouteCase>> = {
  'GET /lab/coupon/:couponId/counter': {
    auth: 'lab',
    right: async (world) => ({ path: `/lab/coupon/${await newCoupon(world)}/counter` }),
  },
};

export const methodOf = (route: string) => route.split(' ')[0] ?? '';
