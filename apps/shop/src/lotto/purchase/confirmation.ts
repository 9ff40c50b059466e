import type { Trace } from '../../trace.ts';
import type { StrategyName } from './index.ts';

/** A confirmation as the member sent it. */
export interface Confirmation {
  readonly memberId: number;
  readonly lottoPublishId: number;
  readonly orderId: string;
  readonly paymentKey: string;
  /** As the client sent it, where it did. Strategies other than `durable` pass over it. */
  readonly idempotencyKey?: string | undefined;
  /** What the member believes to pay, where he says so. */
  readonly amount: number | undefined;
  readonly requestId: string;
  readonly testCode: string | undefined;
  readonly strategy: StrategyName;
  readonly trace: Trace;
}
