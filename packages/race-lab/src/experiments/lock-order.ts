import { doubleCharge } from '../checkers/double-charge.ts';
import { judge } from '../checkers/judge.ts';
import { faultyPurchaseCheckers, MIN_OK_SHARE } from '../checkers/judge-locks.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { answerOf, type PurchaseRequest } from '../history/answer.ts';
import { ledgerSummary, patterns, replays, responses } from '../history/counts.ts';
import { latencyDistribution } from '../history/latency-distribution.ts';
import { stepsOf } from '../history/steps.ts';
import type { LockSubject } from './lock-subject.ts';
import { confirmation, gather } from './purchase-run.ts';
import type { PurchaseStrategyName } from './purchase-strategies.ts';
import { targetOf } from './run-context.ts';
import { shuffled } from './seeded.ts';
import { prepareOrders } from './shop-client.ts';

/** How many confirmations of the order every instance gets. */
export const CONFIRMATIONS_EACH = 4;

/**
 * A fresh order that is confirmed at all instances, several times at each.
 *
 * @param earlier  Orders of earlier runs on the same store; this one is among them when it has been judged.
 * @throws as prepareOrders does
 */
export async function orderUnderLock(
  cluster: Cluster,
  { strategy, seed, earlier }: { strategy: PurchaseStrategyName; seed: number; earlier: Set<string> },
  signal: AbortSignal,
): Promise<LockSubject<PurchaseRequest>> {
  const [order] = await prepareOrders({
    shopUrls: cluster.frontDoor.urls,
    sandboxUrl: cluster.sandbox.baseUrl,
    orders: 1,
    openSessions: true,
    signal,
  });
  if (order === undefined) throw new RangeError('no order was prepared');
  const at = shuffled(
    cluster.instances.flatMap((instance) => Array.from({ length: CONFIRMATIONS_EACH }, () => instance)),
    seed,
  );
  const requests = at.map(({ baseUrl }, index) =>
    confirmation(order, index + 1, strategy, targetOf(baseUrl)),
  );
  const instanceOf = new Map(requests.map(({ requestId }, index) => [requestId, at[index]?.name]));
  return {
    lockName: `purchase:${order.orderId}`,
    isPaidByFirst: true,
    takes: () => true,
    requests,
    async judge(exchanges, killed) {
      const answers = exchanges.map(answerOf);
      const evidence = await gather(cluster, answers, earlier);
      const judgement = judge(evidence, { checkers: faultyPurchaseCheckers, minOkShare: MIN_OK_SHARE });
      const steps = new Map(exchanges.map((exchange) => [exchange.request.requestId, stepsOf(exchange)]));
      const latencies = (some: typeof answers) => latencyDistribution(some.map(({ latencyMs }) => latencyMs));
      const { ledger, rows } = evidence;
      // Whoever charges has the lock, and an order whose instance dies over it is a story of its own.
      const heldByKilled =
        killed !== null &&
        ledger.some((event) => event.type === 'request' && instanceOf.get(event.requestId ?? '') === killed);
      return {
        judgement,
        report: {
          responses: responses(answers),
          replays: replays(answers),
          patterns: patterns(answers),
          ledger: ledgerSummary(ledger, new Set([order.orderId])),
          rows: { orders: rows.orders.length, bills: rows.bills.length, audit: rows.audit.length },
          latencyMs: {
            all: latencies(answers.filter(({ status }) => status !== undefined)),
            ok: latencies(answers.filter(({ result }) => result === 'ok')),
          },
        },
        stock: null,
        damage: doubleCharge(answers, ledger, steps),
        misfired: heldByKilled ? `${killed} had the lock when it was killed` : null,
      };
    },
  };
}
