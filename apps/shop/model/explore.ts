import fc from 'fast-check';
import { Counts } from './counts.ts';
import type { Violation } from './invariants.ts';
import type { Mutant } from './mutant.ts';
import { runSchedule } from './run.ts';
import { nameOf, type Schedule, schedules } from './schedule.ts';

/** A schedule that breaks an invariant, as short as it could be made. */
export interface Broken {
  readonly violation: Violation;
  readonly schedule: Schedule;
  readonly trace: readonly string[];
}

export interface Explored {
  readonly schedules: number;
  readonly steps: number;
  readonly counts: Readonly<Record<string, number>>;
  /** The names of the configurations that were met. */
  readonly configurations: readonly string[];
  readonly broken: Broken | undefined;
}

export interface Search {
  /** The same seed finds the same, as long as the steps of the code stay the same. */
  readonly seed: number;
  /** At most so many. */
  readonly schedules: number;
  readonly mutant?: Mutant | undefined;
  /** In all configurations, although the mutant names some. */
  readonly everywhere?: boolean;
  /** Makes what it finds as short as it can. Default true. */
  readonly shrinks?: boolean;
}

/** Runs random schedules until one breaks an invariant. */
export async function explore({
  seed,
  schedules: atMost,
  mutant,
  everywhere = false,
  shrinks = true,
}: Search): Promise<Explored> {
  const counts = new Counts();
  const configurations = new Set<string>();
  let steps = 0;
  let hasFound = false;
  const property = fc.asyncProperty(schedules(everywhere ? {} : mutant?.where), async (schedule) => {
    const ran = await runSchedule(schedule, { mutant, ...(hasFound ? {} : { counts }) });
    // What shrinking runs is not counted.
    if (!hasFound) {
      steps += ran.steps;
      configurations.add(nameOf(schedule.configuration));
    }
    hasFound ||= ran.violation !== undefined;
    return ran.violation === undefined;
  });
  const checked = await fc.check(property, {
    seed,
    numRuns: atMost,
    endOnFailure: !shrinks,
    // Without it, small numbers and short schedules would come oftener than others.
    plugins: [fc.unbiased()],
  });
  // With a plugin, fast-check says no more about what it was given than that it is an object.
  const [schedule] = (checked.counterexample ?? []) as readonly Schedule[];
  if (checked.failed && schedule === undefined) throw checked.errorInstance;
  return {
    schedules: checked.numRuns,
    steps,
    counts: counts.all,
    configurations: [...configurations],
    broken: schedule && (await shown(schedule, mutant)),
  };
}

async function shown(schedule: Schedule, mutant: Mutant | undefined): Promise<Broken> {
  const { violation, trace } = await runSchedule(schedule, { mutant, isTraced: true });
  if (violation === undefined) throw new Error('the schedule breaks nothing when it runs again');
  return { violation, schedule, trace };
}
