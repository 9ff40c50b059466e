import { StoreError } from 'pawl';
import { conditionalUpdate } from './conditional-update.ts';
import type { RowsRefusal, StockCounter, Taken } from './stock-counter.ts';
import { readClaimants, readStocks } from './stock-rows.ts';
import type { Issue, IssueOutcome, IssueStrategy, IssueTools } from './strategy.ts';

/** How often a counter is filled for one request that finds it lost each time. */
const MOST_FILLS = 3;

/**
 * A counter in Redis in front of the rows: it refuses the sold-out, the duplicates and the day's quota before they wait for
 * the lock of the row that everybody wants, and takes a reservation for the others. They are written by `conditional-update`,
 * so the rows decide; then the reservation is confirmed, or given back.
 *
 * What if the process dies, or an answer is lost …
 *
 * - … before the reservation: nothing has happened.
 * - … between the reservation and the commit: the rows know nothing. The reservation is given back when it is older than
 *   `COUPON_RESERVATION_MS` (`stockReconciler`). Until then the member hears `in-progress`, and the stock is one less.
 * - … at the commit (`effect: 'unknown'`): nobody gives anything back. When the reservation is old enough, the rows are read.
 * - … between the commit and the confirmation: the rows have it, so the reconciler confirms it.
 * - … after a refusal by the rows: given back as above, or confirmed where the member has one from another request; then the
 *   counter is one too low, and is corrected as soon as nothing is reserved.
 *
 * A reservation that is given back too early, while its owner stands still and commits later, makes the counter one too high,
 * as a Redis that has lost or restored something may. That is harmless: the rows refuse the one too many, and correct it. A
 * counter that does not exist is filled from the rows. Where Redis cannot be asked, nobody gets a coupon.
 *
 * What it does not promise: that `sold-out` is the last word. While the last ones are reserved, others hear it; when one of
 * those comes to nothing, whoever asks next gets it.
 *
 * Cost: one round trip to Redis for whoever it refuses; two, and one transaction, for whoever it lets through. That is
 * beside the one statement with which everybody's request begins (`issues`): it reads the row, and waits for no lock.
 */
export const redisCounter: IssueStrategy = (tools) => {
  if (tools.redis === undefined) throw new Error('redis-counter needs Redis');
  const { counter } = tools.redis;
  const take = takeFrom(counter, tools.db);
  const write = conditionalUpdate(tools);

  return async (issue) => {
    const taken = await take(issue);
    if (taken.outcome !== 'taken') return taken;
    const settle = (outcome: IssueOutcome | undefined) =>
      settled(tools, issue, taken.reservation, () => {
        if (outcome?.outcome === 'done') return counter.confirm(issue.couponId, taken.reservation);
        return counter.giveBack(issue.couponId, taken.reservation, lastingReason(outcome));
      });
    let outcome: IssueOutcome;
    try {
      outcome = await write(issue);
    } catch (error) {
      if (error instanceof StoreError && error.effect === 'none') await settle(undefined);
      throw error;
    }
    await settle(outcome);
    return outcome;
  };
};

/** A refusal that whoever asks next would hear too. */
function lastingReason(outcome: IssueOutcome | undefined): RowsRefusal | undefined {
  if (outcome?.outcome !== 'refused') return undefined;
  switch (outcome.reason) {
    case 'already-issued':
    case 'sold-out':
    case 'quota-reached':
      return outcome.reason;
    default:
      return undefined;
  }
}

/** The rows have decided, so a Redis that cannot be told must not hide it: the reconciler tells it. */
async function settled(
  { onTrouble }: IssueTools,
  { couponId, actor }: Issue,
  reservation: string,
  settle: () => Promise<boolean>,
): Promise<void> {
  try {
    await settle();
  } catch (cause) {
    const details = { couponId, reservation, requestId: actor.requestId, cause };
    onTrouble('what became of a reservation could not be told to Redis', details);
  }
}

/** Takes from the counter, which is filled first where there is none: once for all who ask this process meanwhile. */
function takeFrom(counter: StockCounter, db: IssueTools['db']) {
  const filling = new Map<string, Promise<void>>();

  /** The members first: the stock is what makes it a counter, and until then nobody is refused. */
  async function fill(couponId: string): Promise<void> {
    for await (const members of readClaimants(db, couponId)) await counter.remember(couponId, members);
    const stock = (await readStocks(db, [couponId])).get(couponId);
    if (stock === undefined) throw new Error(`the coupon ${couponId} is gone`);
    await counter.fill(couponId, stock);
  }

  function fillOnce(couponId: string): Promise<void> {
    const under = filling.get(couponId);
    if (under !== undefined) return under;
    const filled = fill(couponId).finally(() => filling.delete(couponId));
    filling.set(couponId, filled);
    return filled;
  }

  return async (issue: Issue): Promise<Exclude<Taken, { outcome: 'empty' }>> => {
    for (let fills = 0; ; fills++) {
      const taken = await counter.take(issue);
      if (taken.outcome !== 'empty') return taken;
      if (fills === MOST_FILLS) {
        throw new StoreError('UNAVAILABLE', 'none', 'Redis loses the counter as soon as it is filled');
      }
      await fillOnce(issue.couponId);
    }
  };
}
