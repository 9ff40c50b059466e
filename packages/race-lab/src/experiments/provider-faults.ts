import { requestJson } from './shop-client.ts';

/** What goes wrong at the payment provider: a rule of the sandbox, as its POST /sandbox/faults takes it. */
export interface ProviderFault {
  operation: 'confirm' | 'cancel' | 'lookup';
  /** Only the next so many requests; absent: all. */
  next?: number;
  /** Before the money moves, or after; absent: what is shown lags behind. */
  when?: 'before' | 'after';
  fault:
    | { kind: 'hang' | 'reset' | 'truncate' | 'garble' }
    | { kind: 'status'; status: number }
    | { kind: 'code'; code: string }
    | { kind: 'slow'; delayMs: number }
    | { kind: 'lag'; lagMs: number };
}

/** Lets it go wrong for one order. @throws PreparationError, the signal's reason */
export async function addProviderFault(
  sandboxUrl: string,
  orderId: string,
  fault: ProviderFault,
  signal: AbortSignal,
): Promise<void> {
  await requestJson('POST', `${sandboxUrl}/sandbox/faults`, { body: { ...fault, orderId }, signal });
}
