import type { ServerUrls, ShopTarget } from '../../servers.ts';
import { type HttpSockets, openHttpSockets } from '../operations/http-sockets.ts';
import type { OpenOperation, Operation, OperationSpec } from '../operations/operation.ts';

export const PING = '/ping';
export const ISSUE = 'coupon issue';
export const REPLAY = 'replayed purchase';
export const REFUSAL = 'duplicate purchase';

/** What a request comes to. */
export const DONE = 'done';
export const REFUSED = 'refused';

/** The member who has paid. */
const MEMBER = { 'x-member-id': 1 };

/** One row of the group. */
export interface ShopSpec extends OperationSpec {
  /** What all are told. */
  readonly expected: typeof DONE | typeof REFUSED;
}

const overHttp =
  (operate: (sockets: HttpSockets, shop: ShopTarget, number: number) => Promise<string>): OpenOperation =>
  async ({ shop }: ServerUrls): Promise<Operation> => {
    if (shop === undefined) throw new TypeError('there is no shop');
    const sockets = openHttpSockets(shop.instances);
    return {
      operate: (number) => operate(sockets, shop, number),
      close: async () => sockets.close(),
    };
  };

export const contenders: readonly ShopSpec[] = [
  {
    ...{ row: PING, own: true, expected: DONE },
    settings: 'the shop’s own route that does nothing, with its hooks',
    load: async () =>
      overHttp(async (sockets) => wordOf((await sockets.ask({ method: 'GET', path: '/ping' })).status)),
  },
  {
    ...{ row: ISSUE, own: true, expected: DONE },
    settings: 'POST /api/coupon/{id}, a member each, the shop’s default strategy',
    load: async () =>
      overHttp(async (sockets, { couponId }, member) => {
        const headers = { 'x-member-id': member };
        const { status } = await sockets.ask({ method: 'POST', path: `/api/coupon/${couponId}`, headers });
        return wordOf(status);
      }),
  },
  {
    ...{ row: REPLAY, own: true, expected: DONE },
    settings: 'POST /api/tickets for an order that is paid, the same request again',
    load: async () => overHttp((sockets, { confirmation }) => confirm(sockets, confirmation, {})),
  },
  {
    ...{ row: REFUSAL, own: true, expected: REFUSED },
    settings: 'POST /api/tickets for an order that is paid, each time another request',
    load: async () =>
      overHttp((sockets, { confirmation }, number) =>
        confirm(sockets, confirmation, { 'idempotency-key': `again-${number}` }),
      ),
  },
];

async function confirm(
  sockets: HttpSockets,
  body: string | null,
  more: Readonly<Record<string, string>>,
): Promise<string> {
  const headers = { ...MEMBER, ...more };
  const confirmation = { method: 'POST', path: '/api/tickets', headers, body: body ?? '' } as const;
  return wordOf((await sockets.ask(confirmation)).status);
}

function wordOf(status: number): string {
  if (status === 200) return DONE;
  return status === 400 ? REFUSED : `answered ${status}`;
}

/** @throws TypeError  There is no such row. */
export function contenderOf(row: string): ShopSpec {
  const found = contenders.find((one) => one.row === row);
  if (found === undefined) throw new TypeError(`there is no row "${row}"`);
  return found;
}
