import type { Finding } from './violation.ts';

export interface Judgement<Found extends Finding> {
  verdict: 'pass' | 'fail' | 'unknown';
  /** What the checkers found, also when the verdict is unknown. */
  violations: Found[];
  /** Why the verdict is unknown, in one sentence; null otherwise. */
  unknownBecause: string | null;
}

/** Lets every checker judge the evidence: what they found, and who of them could not judge it. */
export function runCheckers<Evidence, Found extends Finding>(
  checkers: readonly ((evidence: Evidence) => Iterable<Found>)[],
  evidence: Evidence,
): { violations: Found[]; crashes: string[] } {
  const violations: Found[] = [];
  const crashes: string[] = [];
  for (const check of checkers) {
    try {
      for (const violation of check(evidence)) violations.push(violation);
    } catch (error) {
      crashes.push(`${check.name} threw ${String(error)}`);
    }
  }
  return { violations, crashes };
}
