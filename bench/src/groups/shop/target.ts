import { randomBytes, randomUUID } from 'node:crypto';
import { checkoutMains } from '../../../../packages/race-lab/src/cluster/checkout.ts';
import { withDatabase } from '../../../../packages/race-lab/src/cluster/database-session.ts';
import type { Guardian } from '../../../../packages/race-lab/src/cluster/guardian.ts';
import {
  type NodeService,
  startNodeService,
} from '../../../../packages/race-lab/src/cluster/node-service.ts';
import { freePort } from '../../../../packages/race-lab/src/cluster/ports.ts';
import type { ServerUrls, ShopTarget } from '../../servers.ts';
import type { DatabaseName } from '../operations/contenders/database.ts';
import { type HttpSockets, openHttpSockets } from '../operations/http-sockets.ts';

const LIMIT_MS = 30_000;
const POOL_SIZE = 10;
const MEMBER = { 'x-member-id': 1 };

/** More than any run issues. */
export const SHOP_STOCK = 100_000_000;

export interface ShopOptions {
  readonly database: DatabaseName;
  readonly instances: number;
  /** Whether there is to be a paid order, and a provider that was asked. */
  readonly pays: boolean;
  readonly servers: ServerUrls;
  readonly guardian: Guardian;
  readonly signal: AbortSignal;
}

/** A shop that has been started. */
export interface StartedShop {
  readonly target: ShopTarget;
  /** Ends its instances, so that they do not run beside what is measured next. */
  stop(): Promise<void>;
}

/**
 * Starts the shop as it comes, on a database of its own, and makes what is asked for.
 *
 * @throws as startNodeService does, and ShopRefusedError.
 */
export async function startShop(options: ShopOptions): Promise<StartedShop> {
  const { database, instances, pays, servers, guardian, signal } = options;
  const name = `bench_shop_${randomBytes(6).toString('hex')}`;
  await withDatabase(servers[database], LIMIT_MS, (query) => query(`CREATE DATABASE ${name}`));
  const mains = checkoutMains();
  const secretKey = `test_sk_${randomBytes(16).toString('hex')}`;
  const provider = pays
    ? await startNodeService(guardian, {
        ...{ name: `${name}-payments`, main: mains.sandbox, port: freePort, signal },
        env: {
          SECRET_KEY: secretKey,
          LEDGER_FILE: `${guardian.directory}/${name}-payments/ledger.jsonl`,
          MODE: 'toss',
          AUTO_SESSION: '1',
          LOG_LEVEL: 'warn',
        },
      })
    : undefined;
  const started: NodeService[] = provider === undefined ? [] : [provider];
  const baseUrls: string[] = [];
  // One after the other: the first makes the tables.
  for (let index = 1; index <= instances; index++) {
    const instance = await startNodeService(guardian, {
      ...{ name: `${name}-${index}`, main: mains.shop, port: freePort, signal },
      env: {
        SERVER_NAME: `lotto-back-${index}`,
        DATABASE_URL: Object.assign(new URL(servers[database]), { pathname: `/${name}` }).href,
        DATABASE_POOL_SIZE: String(POOL_SIZE),
        REDIS_URL: servers.redis,
        PAYMENT_BASE_URL: provider?.baseUrl ?? 'http://127.0.0.1:9',
        PAYMENT_SECRET_KEY: secretKey,
        LOG_LEVEL: 'warn',
      },
    });
    started.push(instance);
    baseUrls.push(instance.baseUrl);
  }
  const sockets = openHttpSockets(baseUrls);
  try {
    const couponId = await makeCoupon(sockets);
    const confirmation = pays ? await payOrder(sockets) : null;
    return {
      target: { instances: baseUrls, couponId, confirmation },
      async stop() {
        await Promise.all(started.map((service) => service.stop()));
      },
    };
  } finally {
    sockets.close();
  }
}

async function makeCoupon(sockets: HttpSockets): Promise<string> {
  const body = JSON.stringify({
    ...{ couponName: `bench ${randomUUID()}`, couponCode: 'BENCH', couponType: 'ALL' },
    ...{ downloadStartDate: '20200101', downloadEndDate: '20991231' },
    ...{ availableStartDate: '20200101', availableEndDate: '20991231' },
    ...{ discountType: 'WON', cost: 1_000, numberOfCoupons: SHOP_STOCK },
  });
  const { id } = (await asked(sockets, '/api/coupon', body)) as { id: string };
  return id;
}

/** @returns the confirmation that paid it. */
async function payOrder(sockets: HttpSockets): Promise<string> {
  const order = (await asked(sockets, '/api/orders', '{}')) as { orderId: string; lottoPublishId: number };
  const { orderId, lottoPublishId } = order;
  // The provider makes a payment of any key that it is asked for.
  const confirmation = JSON.stringify({
    lottoPublishId,
    purchaseHttpRequest: { orderId, paymentKey: orderId },
  });
  await asked(sockets, '/api/tickets', confirmation);
  return confirmation;
}

/** What is left of the coupon. */
export async function readRemaining({ instances, couponId }: ShopTarget): Promise<number> {
  const sockets = openHttpSockets(instances);
  try {
    const { body } = await sockets.ask({ method: 'GET', path: `/api/coupon/${couponId}` });
    return Number(JSON.parse(body).data.remaining);
  } finally {
    sockets.close();
  }
}

/** The shop does not do what it is to be measured with. */
class ShopRefusedError extends Error {
  override readonly name = 'ShopRefusedError';
  readonly code = 'SHOP_REFUSED';
}

async function asked(sockets: HttpSockets, path: string, body: string): Promise<unknown> {
  const answer = await sockets.ask({ method: 'POST', path, headers: MEMBER, body });
  if (answer.status !== 200)
    throw new ShopRefusedError(`${path} was answered ${answer.status}: ${answer.body}`);
  return JSON.parse(answer.body).data;
}
