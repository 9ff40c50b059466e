import type { LedgerEvent } from '@pawl/payment-sandbox';

type Asked = Extract<LedgerEvent, { type: 'request' }>;

/** A payment, as much of it as the provider must be told. */
export interface PaymentOf {
  readonly orderId: string;
  readonly amount: number;
  readonly paymentKey: string;
}

/** Whose answers go wrong, and how; the sandbox refuses what it does not know. `operation`: confirm, unless it says otherwise. */
export interface FaultRule {
  readonly operation?: Asked['operation'];
  readonly orderId?: string;
  readonly paymentKey?: string;
  /** Only the next so many. */
  readonly next?: number;
  /** Before or after the provider has decided, and money has moved. */
  readonly when: 'before' | 'after';
  readonly fault: { readonly kind: string; readonly code?: string; readonly status?: number };
}

/** What a test does to the provider, and sees of it, behind the shop's back. */
export function providerControls(url: string) {
  async function ledger(): Promise<LedgerEvent[]> {
    const response = await fetch(`${url}/sandbox/ledger`);
    const lines = (await response.text()).split('\n').filter((line) => line !== '');
    return lines.map((line) => JSON.parse(line) as LedgerEvent);
  }
  const ofType = async (type: LedgerEvent['type']) =>
    (await ledger()).filter((event) => event.type === type).length;
  /** Those that arrived, in order. */
  const asked = async (operation: Asked['operation']): Promise<Asked[]> =>
    (await ledger()).flatMap((event) =>
      event.type === 'request' && event.operation === operation ? [event] : [],
    );
  async function post(path: string, body: object, headers: Record<string, string> = {}): Promise<void> {
    const response = await fetch(`${url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  }
  return {
    ledger,
    requests: () => ofType('request'),
    captures: () => ofType('capture'),
    refunds: () => ofType('refund'),
    confirms: () => asked('confirm'),
    cancels: () => asked('cancel'),
    listings: () => asked('transactions'),
    /** Opens the payment window. `sessionMs`: how long it stays open. */
    openSession: ({ orderId, amount, paymentKey }: PaymentOf, sessionMs?: number) =>
      post('/sandbox/sessions', {
        orderId,
        amount,
        paymentKey,
        ...(sessionMs === undefined ? {} : { sessionMs }),
      }),
    fault: (rule: FaultRule) => post('/sandbox/faults', rule),
    /** Takes back all faults. */
    heal: () => fetch(`${url}/sandbox/faults`, { method: 'DELETE' }),
    /** Confirms a payment of which the shop knows nothing. */
    captureUnnoticed: ({ orderId, amount, paymentKey }: PaymentOf) =>
      post(
        '/v1/payments/confirm',
        { orderId, amount, paymentKey },
        { authorization: `Basic ${Buffer.from('test_sk_sandbox:').toString('base64')}` },
      ),
  };
}
