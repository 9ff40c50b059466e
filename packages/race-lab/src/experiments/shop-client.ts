/** An order as the shop made it, with the payment that its member authorised. */
export interface PreparedOrder {
  orderId: string;
  lottoPublishId: number;
  amount: number;
  paymentKey: string;
  memberId: number;
}

/** The shop or the sandbox did not do what the race needs before it starts. Nothing was raced. */
export class PreparationError extends Error {
  override readonly name = 'PreparationError';
  readonly code = 'PREPARATION_FAILED';
}

const AT_ONCE = 10;
const TIMEOUT_MS = 10_000;

export interface PrepareOptions {
  /** The shop's front doors, taken in turn. */
  shopUrls: readonly string[];
  sandboxUrl: string;
  orders: number;
  /** Whether the member authorises each payment first; else the payment key is the order id, as published. */
  openSessions: boolean;
  /** The round to play in; absent: the one that sells now. */
  roundId?: number;
  signal: AbortSignal;
}

/**
 * Orders one ticket for each of as many members, and has each of them authorise the payment.
 *
 * @throws PreparationError
 * @throws the signal's reason
 */
export async function prepareOrders(options: PrepareOptions): Promise<PreparedOrder[]> {
  const { shopUrls, sandboxUrl, orders, roundId, signal } = options;
  const body = roundId === undefined ? {} : { lottoRoundInfoId: roundId };
  const prepared: PreparedOrder[] = [];
  let next = 0;
  const work = async () => {
    while (next < orders) {
      const index = next++;
      const memberId = index + 1;
      const shopUrl = shopUrls[index % shopUrls.length] ?? '';
      const headers = { 'x-member-id': String(memberId) };
      const order = await requestJson('POST', `${shopUrl}/api/orders`, { body, headers, signal });
      const { orderId, lottoPublishId, amount } = (order.data ?? {}) as Partial<PreparedOrder>;
      if (typeof orderId !== 'string' || typeof lottoPublishId !== 'number' || typeof amount !== 'number') {
        throw new PreparationError(`the shop answered an order with ${JSON.stringify(order)}`);
      }
      const paymentKey = options.openSessions
        ? await openSession(sandboxUrl, { orderId, amount }, signal)
        : orderId;
      prepared[index] = { orderId, lottoPublishId, amount, paymentKey, memberId };
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return prepared;
}

/**
 * The member authorises a payment of his order.
 *
 * @param session  `sessionMs`: how long the payment window lives; absent: as long as the sandbox' usually do.
 * @returns the payment key
 * @throws PreparationError, the signal's reason
 */
export async function openSession(
  sandboxUrl: string,
  { orderId, amount, sessionMs }: Pick<PreparedOrder, 'orderId' | 'amount'> & { sessionMs?: number },
  signal: AbortSignal,
): Promise<string> {
  const body = { orderId, amount, ...(sessionMs === undefined ? {} : { sessionMs }) };
  const session = await requestJson('POST', `${sandboxUrl}/sandbox/sessions`, { body, signal });
  return String(session.paymentKey);
}

/** The isolation of an instance's sessions, which it tells in lab mode; null when it does not. Never throws. */
export async function readShopIsolation(baseUrl: string): Promise<string | null> {
  try {
    const response = await fetch(`${baseUrl}/health/ready`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    await response.body?.cancel();
    return response.headers.get('x-transaction-isolation');
  } catch {
    return null; // The race finds out by itself what is wrong with the instance.
  }
}

/**
 * Asks the shop or the sandbox for something that the race needs.
 *
 * @throws PreparationError  It was not answered with success.
 * @throws the signal's reason, and fetch's error when nobody answers
 */
export async function requestJson(
  method: 'GET' | 'POST' | 'PUT',
  url: string,
  { body, headers = {}, signal }: { body?: unknown; headers?: Record<string, string>; signal: AbortSignal },
): Promise<Record<string, unknown>> {
  const response = await fetch(url, {
    method,
    ...(body === undefined
      ? { headers }
      : { headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) }),
    signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
  });
  const text = await response.text();
  if (!response.ok)
    throw new PreparationError(`${method} ${url} was answered ${response.status}: ${text.slice(0, 300)}`);
  return JSON.parse(text);
}
