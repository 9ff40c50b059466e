import type { EventOf } from './events.ts';
import { CURRENCY } from './fields.ts';
import type { Decision } from './ledger.ts';

/** Opens the payment window of a key that has none yet, and says when it closes. It is never extended. */
export function openSession(
  decision: Decision,
  { paymentKey, orderId, amount }: Pick<EventOf<'session'>, 'paymentKey' | 'orderId' | 'amount'>,
  sessionMs: number,
): { paymentKey: string; orderId: string; amount: number; currency: string; expiresAt: string } {
  const expiresAt = new Date(decision.atMs + sessionMs).toISOString();
  const session = { paymentKey, orderId, amount, currency: CURRENCY, expiresAt };
  decision.append({ type: 'session', ...session });
  return session;
}
