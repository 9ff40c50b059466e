import { sqlValue } from '../checkers/sql-value.ts';
import type { AnswerSeen, RaceDefinition } from './define-race.ts';

/** What the race's own check says of a round. */
export interface Checked {
  /** In words; empty when all is well. */
  violations: readonly string[];
  /** Whether there is more than there may be. False where nobody can tell: a text, or a function's words. */
  isTooMuch: boolean;
}

/** @throws whatever the check throws, and TypeError when it answers something else than texts; nothing is known then. */
export async function checkRound(
  check: RaceDefinition<unknown>['check'],
  context: unknown,
  seen: { round: number; answers: readonly AnswerSeen[] },
): Promise<Checked> {
  if (check === undefined) return { violations: [], isTooMuch: false };
  if (typeof check === 'function') {
    const violations = (await check(context, seen)) ?? [];
    if (!Array.isArray(violations) || !violations.every((one) => typeof one === 'string')) {
      throw new TypeError('the check must return an array of texts, or nothing');
    }
    return { violations, isTooMuch: false };
  }
  const { url, sql, expect } = check;
  const statement = typeof sql === 'string' ? sql : sql(context, { round: seen.round });
  const value = await sqlValue(url, statement);
  if (value === String(expect)) return { violations: [], isTooMuch: false };
  return {
    violations: [`the check answered ${value ?? 'nothing'} where ${expect} was expected: ${statement}`],
    // Of what is no number, nothing is more than the other.
    isTooMuch: value !== null && Number(value) > Number(expect),
  };
}
