import { type DurableCalls, done, refused } from 'pawl';
import type { PaymentProvider, PaymentTransaction } from '../../../payment/provider.ts';
import type { ChargeRequest, ChargeValue } from './definition.ts';
import type { CaptureJudgement, PurchaseRows } from './rows.ts';

/** What an operator is told of a capture that nobody here can settle. */
const STUCK: Readonly<Record<Exclude<CaptureJudgement['judged'], 'accounted-for'>, string | undefined>> = {
  stray: undefined,
  'unknown-order': 'UNKNOWN_ORDER',
  'no-record': 'NO_RECORD',
};

/** Whoever finds a capture first records it; the others find it recorded. */
const SCOPE = ['reconciliation'];

export interface Reconciliation<Transaction> {
  readonly provider: Pick<PaymentProvider, 'transactions'>;
  readonly calls: Pick<DurableCalls<Transaction, ChargeRequest, ChargeValue>, 'adopt'>;
  readonly rows: PurchaseRows<Transaction>;
  /** Of these payment keys, those whose purchase is recorded. A purchase is never unrecorded, so it may be asked at any time. */
  purchased(paymentKeys: readonly string[]): Promise<ReadonlySet<string>>;
  readonly serverName: string;
}

export interface Reconciled {
  /** Captures that were looked at. */
  readonly captures: number;
  /** Found without a purchase and without an attempt that could settle them: they are being given back. */
  readonly strays: readonly string[];
  /** Nobody here can settle them. */
  readonly stuck: readonly string[];
  /** Transactions that say something that nobody here understands, by their keys. */
  readonly unreadable: readonly string[];
}

/**
 * Compares the provider's records from `from` to `to` with ours: a capture that no attempt will ever settle is given back.
 *
 * The provider is read first. The other way round:
 *
 *     reconciliation:  reads that attempt 1 of the order is under way, with payment key A
 *     recovery:        releases attempt 1; the member pays with payment key B: attempt 2 is charged
 *     reconciliation:  reads that B was captured, which is not the current attempt's, and gives it back
 *
 * Then each capture is judged in one transaction on its order's row, so that no attempt can begin or end meanwhile; and only one
 * whose payment key is not the current attempt's is touched, since that attempt's own recovery sees to the others.
 *
 * @throws PaymentRecordsError, StoreError  What was found stays recorded; what could not be judged is for the next time.
 */
export async function reconcile<Transaction>(
  { provider, calls, rows, purchased, serverName }: Reconciliation<Transaction>,
  from: Date,
  to: Date,
): Promise<Reconciled> {
  let captures = 0;
  const strays: string[] = [];
  const stuck: string[] = [];
  const unreadable: string[] = [];
  const failures: unknown[] = [];

  const adopt = async (capture: PaymentTransaction) => {
    const { paymentKey, orderId, amount, currency } = capture;
    let code: string | undefined;
    const adopted = await calls.adopt({ scope: SCOPE, key: keyOf(paymentKey) }, async (transaction) => {
      const judgement = await rows.judgeCapture(transaction, capture);
      if (judgement.judged === 'accounted-for') return refused('not-eligible');
      code = STUCK[judgement.judged];
      const found = judgement.judged === 'stray' ? judgement : { lottoPublishId: 0, memberId: 0, attempt: 0 };
      const { lottoPublishId, memberId, attempt } = found;
      const request = { orderId, lottoPublishId, memberId, paymentKey, amount, currency, attempt };
      return done({
        ...(code === undefined ? { state: 'compensating' as const } : { state: 'stuck' as const, code }),
        subject: `stray:${paymentKey}`,
        attempt: 1,
        request: {
          ...request,
          lottoRoundInfoId: 0,
          requestId: `reconciled-by-${serverName}`,
          isStray: true,
          testCode: null,
        },
        value: { paymentKey, orderId, totalAmount: amount, currency, method: 'UNKNOWN' },
      });
    });
    if (adopted.outcome === 'refused') return;
    if (code !== undefined) stuck.push(paymentKey);
    else strays.push(paymentKey);
  };

  for await (const page of provider.transactions(from, to)) {
    unreadable.push(...page.unreadable);
    const captured = page.transactions.filter(({ kind }) => kind === 'capture');
    captures += captured.length;
    const known = await purchased(captured.map(({ paymentKey }) => paymentKey));
    for (const capture of captured) {
      if (known.has(capture.paymentKey)) continue;
      try {
        await adopt(capture);
      } catch (error) {
        // One capture must not keep the others from being judged.
        failures.push(error);
      }
    }
  }
  if (failures.length > 0) throw failures[0];
  return { captures, strays, stuck, unreadable };
}

/** A payment key may be longer than an idempotency key, and one of another merchant's may be the same. */
function keyOf(paymentKey: string): string {
  return `stray:${paymentKey}`;
}
