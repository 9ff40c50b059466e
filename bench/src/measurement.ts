/** What one round showed of one row. */
export interface Measurement {
  /** By names that tell the unit. Null: not to be had in this round. */
  readonly figures: Readonly<Record<string, number | null>>;
  /** What was counted and should be none: callers who were not served, errors. */
  readonly failures: Readonly<Record<string, number>>;
  /** What was not as it must be, one sentence each. Empty: right. */
  readonly wrong: readonly string[];
  /** What the first error said, null without one. */
  readonly firstError: string | null;
}

/** All that was measured of one row. */
export interface Measured {
  /** Its speed does not count, its correctness does. */
  readonly warmUp: Measurement;
  readonly rounds: readonly Measurement[];
}

/**
 * Measures all subjects once to warm up, and then in turn, A B C A B C: what disturbs the machine for a while disturbs
 * all alike.
 */
export async function alternate<Subject>(
  subjects: readonly Subject[],
  rounds: number,
  measure: (subject: Subject, round: number) => Promise<Measurement>,
): Promise<ReadonlyMap<Subject, Measured>> {
  const warmUps = new Map<Subject, Measurement>();
  for (const subject of subjects) warmUps.set(subject, await measure(subject, 0));
  const measured = new Map<Subject, { warmUp: Measurement; rounds: Measurement[] }>();
  for (const [subject, warmUp] of warmUps) measured.set(subject, { warmUp, rounds: [] });
  for (let round = 1; round <= rounds; round++) {
    for (const [subject, seen] of measured) seen.rounds.push(await measure(subject, round));
  }
  return measured;
}

/** One figure, round by round. */
export function figureOf({ rounds }: Measured, name: string): readonly (number | null)[] {
  return rounds.map(({ figures }) => figures[name] ?? null);
}
