import { checkStandstill } from '../checkers/judge-locks.ts';
import { summarise } from '../checkers/violation.ts';
import type { Cluster } from '../cluster/cluster.ts';
import {
  type LockAnswer,
  type LockSection,
  longestStandstill,
  overlapsOf,
  sectionsOf,
} from '../history/lock-sections.ts';
import { type LockFaultName, queueGoesOn } from '../nemesis/lock-fault-names.ts';
import type { Strike } from '../nemesis/nemesis.ts';
import { isAsExpected, type LockReport, type RunReport } from '../report/report.ts';
import { LEASE_MS } from './lock-settings.ts';
import { expectedUnder, type LockStrategyName } from './lock-strategies.ts';
import type { SubjectSeen } from './lock-subject.ts';
import { emptyReport, type RunContext, type RunPlan } from './run-context.ts';

/** What a busy machine may add to a lease before somebody else has the lock, in milliseconds. */
const STANDSTILL_SLACK_MS = 250;

/** One run of a strategy under a fault. */
export interface LockRun extends RunPlan {
  strategy: LockStrategyName;
  fault: LockFaultName;
  /** Of this kind, from 1. */
  nth: number;
}

/** What a fault did and what was seen of it, in one attempt. */
export interface LockAttempt {
  startedAt: Date;
  strike: Strike | null;
  seen: SubjectSeen;
  answers: LockAnswer[];
  /** Requests that were not answered, though their instance was not killed. */
  unanswered: number;
  refusals: Record<string, number>;
}

/** What a run showed; of its last attempt, where there were several. */
export function lockReport(
  cluster: Cluster,
  run: LockRun,
  { ended }: RunContext,
  { startedAt, strike, seen, answers, unanswered, refusals, attempts }: LockAttempt & { attempts: number },
): RunReport {
  const { strategy, fault } = run;
  const { judgement, report, stock, damage, misfired } = seen;
  const limitMs = queueGoesOn.includes(fault) ? LEASE_MS + STANDSTILL_SLACK_MS : null;
  const told = sectionsOf(answers);
  const sections = told.map((section) => cutOff(section, strike));
  const turnedAway = answers.filter(({ steps }) => !steps.some(({ name }) => name === 'locked'));
  const waited = turnedAway.filter(
    ({ answeredAtUs, askedAtUs }) => answeredAtUs - askedAtUs > LEASE_MS * 1000,
  );
  const standstill = longestStandstill(sections, waited);
  const resumed = strike && sections.find(({ lockedAtUs }) => lockedAtUs > strike.atUs);
  const lock: LockReport = {
    ...{ fault, leaseMs: LEASE_MS, did: strike?.did ?? null },
    ...{ attempts, requests: answers.length, refusals, stock },
    sections: told.length,
    // Whoever is fenced off has nothing to show for the time that he had the lock beside another.
    overlaps: overlapsOf(told) + (refusals.fenced ?? 0),
    resumedAfterMs: strike && resumed ? (resumed.lockedAtUs - strike.atUs) / 1000 : null,
    standstillMs: standstill && (standstill.untilUs - standstill.fromUs) / 1000,
    standstillLimitMs: limitMs,
    damage,
  };
  const found = [
    ...judgement.violations,
    ...(limitMs === null ? [] : checkStandstill(sections, waited, limitMs)),
  ];
  const unknownBecause =
    judgement.unknownBecause ??
    (ended.size > 0 ? `${[...ended].join(' and ')} had ended by itself` : null) ??
    (unanswered > 0 ? `${unanswered} of ${answers.length} requests were not answered` : null) ??
    (found.length === 0 ? whyNotStruck({ strike, misfired, attempts }) : null);
  const verdict = unknownBecause !== null ? 'unknown' : found.length > 0 ? 'fail' : 'pass';
  const expected = expectedUnder(strategy, fault);
  const result: RunReport = {
    ...emptyReport(cluster, run, startedAt),
    // The lab goes round the instances itself: it has to know who waits where.
    frontDoor: 'rotate',
    ...report,
    ...{ lock, violations: summarise(found), verdict, unknownBecause, expected },
  };
  return {
    ...result,
    asExpected: isAsExpected(verdict, expected, isDamaged({ stock, ledger: report.ledger })),
  };
}

function whyNotStruck({
  strike,
  misfired,
  attempts,
}: {
  strike: Strike | null;
  misfired: string | null;
  attempts: number;
}): string | null {
  if (strike === null) return `in ${attempts} attempts the fault never found the lock held and waited for`;
  return misfired;
}

/** Of who stands still it counts as held until then. */
function cutOff(section: LockSection, strike: Strike | null): LockSection {
  if (strike === null || section.instance !== strike.victim) return section;
  const { lockedAtUs, endedAtUs } = section;
  return lockedAtUs <= strike.atUs && endedAtUs > strike.atUs
    ? { ...section, endedAtUs: strike.atUs }
    : section;
}

/** Somebody took what somebody else had taken, or an order was charged twice. */
export function isDamaged({ stock, ledger }: Pick<LockReport, 'stock'> & Pick<RunReport, 'ledger'>): boolean {
  if (ledger !== null) return ledger.ordersCapturedTwice > 0;
  if (stock === null) return false;
  const { initial, issued, remaining } = stock;
  return remaining !== null && issued > initial - remaining;
}
