import type { Answer, RacedAnswer } from './answer.ts';
import { byOrder } from './evidence.ts';
import type { LedgerEvent } from './ledger.ts';

/** How many answers had each status, and under `none` how many requests got no complete answer. */
export function responses(answers: readonly Pick<RacedAnswer, 'status'>[]): Record<string, number> {
  return tally(answers.map(({ status }) => String(status ?? 'none')));
}

/** A success that repeats an earlier one instead of being one. */
export function isReplay(answer: Answer): boolean {
  return answer.status === 200 && answer.replayed;
}

/** How many answers repeat an earlier success. */
export function replays(answers: readonly Answer[]): number {
  return answers.filter(isReplay).length;
}

/**
 * How many orders show each pattern, the most frequent first. A pattern counts the answers of one order:
 * successes that are not replays / refusals (400) and replays / everything else but 202. The mark of a right
 * strategy under five requests is `1/4/0`.
 */
export function patterns(answers: readonly Answer[]): Record<string, number> {
  return tally(
    [...byOrder(answers).values()].map((ofOrder) => {
      let successes = 0;
      let refusals = 0;
      let failures = 0;
      for (const answer of ofOrder) {
        if (answer.status === 400 || isReplay(answer)) refusals += 1;
        else if (answer.status === 200) successes += 1;
        else if (answer.status !== 202) failures += 1;
      }
      return `${successes}/${refusals}/${failures}`;
    }),
  );
}

export interface LedgerSummary {
  /** Confirm requests that reached the provider. */
  requests: number;
  captures: number;
  refunds: number;
  /** Orders whose payment was asked for more than once. */
  ordersRequestedTwice: number;
  /** Orders whose payment was taken more than once. */
  ordersCapturedTwice: number;
}

/** What the provider was asked and did for the given orders; everything else in the ledger is left out. */
export function ledgerSummary(ledger: readonly LedgerEvent[], orderIds: ReadonlySet<string>): LedgerSummary {
  const requested: string[] = [];
  const captured: string[] = [];
  let refunds = 0;
  for (const event of ledger) {
    if (!('orderId' in event) || event.orderId === null || !orderIds.has(event.orderId)) continue;
    if (event.type === 'refund') refunds += 1;
    else if (event.type === 'capture') captured.push(event.orderId);
    else if (event.type === 'request' && event.operation === 'confirm') requested.push(event.orderId);
  }
  return {
    requests: requested.length,
    captures: captured.length,
    refunds,
    ordersRequestedTwice: repeated(requested),
    ordersCapturedTwice: repeated(captured),
  };
}

function repeated(orderIds: readonly string[]): number {
  return Object.values(tally(orderIds)).filter((count) => count > 1).length;
}

/** How often each occurs, the most frequent first. */
export function tally(keys: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return Object.fromEntries([...counts].sort(([, a], [, b]) => b - a));
}
