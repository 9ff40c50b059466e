import { judgeRecovery } from '../checkers/judge-recovery.ts';
import { checkTrueAnswer } from '../checkers/true-answer.ts';
import { summarise } from '../checkers/violation.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { ledgerSummary, patterns, replays, responses } from '../history/counts.ts';
import { latencyDistribution } from '../history/latency-distribution.ts';
import { deadlineOf } from '../history/recovery-evidence.ts';
import { isAsExpected, type RecoveryReport, type RunReport } from '../report/report.ts';
import type { CellSeen } from './recovery-wave.ts';
import { emptyReport, type RunContext, type RunPlan } from './run-context.ts';

/** Of the orders of a cell, at least so many must have met its fault, or it says nothing. */
const MIN_STRUCK_SHARE = 0.5;

export interface RecoveryRun extends RunPlan {
  orders: number;
}

/** What a cell showed; of its last attempt, where there were several. */
export function recoveryReport(
  cluster: Cluster,
  run: RecoveryRun,
  { ended }: RunContext,
  { cell, startedAt, evidence, standsOver, struckAt, faults }: CellSeen,
  attempts: number,
): RunReport {
  const { answers, ledger, rows, calls, promises } = evidence;
  const judged = judgeRecovery(evidence, cell.path.expects);
  const ids = new Set(promises.keys());
  const ofStatus = (status: string) => rows.orders.filter((order) => order.status === status).length;
  const late = calls.flatMap((call) => {
    const promise = promises.get(call.orderId);
    if (promise === undefined) return [];
    const tookMs = Math.max(0, call.changedAtMs - Math.max(promise.struckAtMs, call.createdAtMs));
    return [{ tookMs, leftMs: deadlineOf(call, promise) - call.changedAtMs }];
  });
  const settled = late.sort((a, b) => a.leftMs - b.leftMs);
  const recovery: RecoveryReport = {
    ...{ kind: cell.kind, cell: cell.name, path: cell.path.title },
    ...{ struckAt, faults, attempts },
    completed: ofStatus('COMPLETE'),
    released: ofStatus('WAITING'),
    refunded: ofStatus('REFUNDED'),
    tookMs: settled.length === 0 ? null : Math.round(Math.max(...settled.map(({ tookMs }) => tookMs))),
    leftMs: settled[0] === undefined ? null : Math.round(settled[0].leftMs),
  };
  const missed = whyMissed(cell, struckAt, attempts);
  const toldLate = standsOver === undefined ? [] : checkTrueAnswer(answers, standsOver);
  const violations = summarise([...judged.violations, ...toldLate]);
  const unknownBecause =
    (ended.size > 0 ? `${[...ended].join(' and ')} had ended by itself` : null) ??
    judged.unknownBecause ??
    (faults < leastFaults(cell, run.orders)
      ? `only ${faults} requests to the provider went wrong as they should`
      : null);
  const verdict =
    violations.length > 0 || missed !== null ? 'fail' : unknownBecause === null ? 'pass' : 'unknown';
  const answered = answers.filter(({ status }) => status !== undefined);
  return {
    ...emptyReport(cluster, { ...run, orders: promises.size }, startedAt),
    // Requests go to the instances themselves: it matters who is asked.
    frontDoor: 'rotate',
    responses: responses(answers),
    replays: replays(answers),
    patterns: patterns(answers),
    ledger: ledgerSummary(ledger, ids),
    rows: {
      orders: rows.orders.length,
      bills: rows.bills.length,
      audit: rows.audit.length,
      calls: calls.length,
    },
    recovery,
    violations: missed === null ? violations : [...violations, { invariant: 'F01', count: 1, first: missed }],
    latencyMs: {
      all: latencyDistribution(answered.map(({ latencyMs }) => latencyMs)),
      ok: latencyDistribution(
        answered.filter(({ result }) => result === 'ok').map(({ latencyMs }) => latencyMs),
      ),
    },
    ...{ verdict, unknownBecause: verdict === 'unknown' ? unknownBecause : null },
    ...{ expected: 'holds', asExpected: isAsExpected(verdict, 'holds') },
  };
}

/** How many requests to the provider must have gone wrong, or the cell says nothing. */
function leastFaults({ path, victim }: CellSeen['cell'], orders: number): number {
  if (path.faults !== undefined) return orders * MIN_STRUCK_SHARE;
  return victim?.does === 'misbehaves' ? 1 : 0;
}

/** A failpoint that nobody passes is one of which nothing is known. */
function whyMissed({ victim }: CellSeen['cell'], struckAt: string | null, attempts: number): string | null {
  if (victim === undefined || victim.does === 'misbehaves' || struckAt !== null) return null;
  const times = attempts === 1 ? 'one attempt' : `${attempts} attempts`;
  return `${victim.at} was not passed in ${times}, or not ${victim.visit} times`;
}
