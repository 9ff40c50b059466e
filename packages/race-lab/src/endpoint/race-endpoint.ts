import type { Target } from '../racer/exchange.ts';
import { raceRequests } from '../racer/race.ts';
import { buildRequest, type MemberRequest } from './build-request.ts';
import { checkRound } from './check-round.ts';
import { classAnswers } from './class-answers.ts';
import type { Expected, RaceDefinition } from './define-race.ts';
import { type RoundSeen, roundSeen } from './round-seen.ts';
import { runStep, StepError } from './run-step.ts';

export interface EndpointRace {
  definition: RaceDefinition<unknown>;
  fanout: number;
  expect: Expected;
  /** The number of the first one. */
  firstRound: number;
  /** At most so many. */
  rounds: number;
  /** None is begun later. */
  seconds: number;
  /** Whether each round is known to ask for the same thing: once it is done, nobody can win again. */
  isRepeated: boolean;
  targetOf: (url: URL) => Promise<Target>;
  signal: AbortSignal;
  onProgress?: (rounds: number, successes: number) => void;
}

/**
 * Why the race ended. `caught`: a round violated what may succeed, or its check. `rounds`, `seconds`: the budget is used up.
 * `spent`: everything is done, and the next round would find that too. `unanswered`: no request of a round had an answer.
 * `nothing-succeeded`: of a round, and its check misses something. `broken`: the race's own functions failed.
 */
export type RaceEnd =
  | { by: 'caught' | 'rounds' | 'seconds' | 'spent' }
  | { by: 'unanswered' | 'nothing-succeeded' | 'broken'; because: string };

export interface EndpointRaceSeen {
  rounds: RoundSeen[];
  end: RaceEnd;
  targets: Target[];
  startedAt: Date;
  durationMs: number;
}

/** For what a race file does in one round, in milliseconds. */
const STEP_LIMIT_MS = 30_000;

/**
 * Races round after round, each when the one before is answered and checked, until one violates what is expected or the
 * budget is used up.
 *
 * @throws BadArgumentsError  A request cannot be raced; earlier rounds, and `prepare`, may have taken effect.
 * @throws the signal's reason  when aborted; what was released by then may have taken effect.
 */
export async function raceEndpoint(race: EndpointRace): Promise<EndpointRaceSeen> {
  const startedAt = new Date();
  const startMs = performance.now();
  const rounds: RoundSeen[] = [];
  const targets = new Set<Target>();
  const isOver = (): RaceEnd | undefined => {
    if (rounds.length >= race.rounds) return { by: 'rounds' };
    return performance.now() - startMs >= race.seconds * 1000 ? { by: 'seconds' } : undefined;
  };
  let end: RaceEnd | undefined;
  while (end === undefined) {
    try {
      const { seen, missed } = await raceRound(race, race.firstRound + rounds.length, targets);
      rounds.push(seen);
      race.onProgress?.(rounds.length, seen.counts.success);
      end = missed ?? endOf(seen, rounds, race) ?? isOver();
    } catch (error) {
      if (!(error instanceof StepError)) throw error;
      end = { by: 'broken', because: error.message };
    }
  }
  return { rounds, end, targets: [...targets], startedAt, durationMs: performance.now() - startMs };
}

function endOf(seen: RoundSeen, rounds: readonly RoundSeen[], race: EndpointRace): RaceEnd | undefined {
  if (seen.violations.length > 0) return { by: 'caught' };
  if (seen.members.every(({ status }) => status === null)) {
    const errors = Map.groupBy(seen.members, ({ error }) => error ?? 'no answer');
    const because = [...errors].map(([error, some]) => `${error} ×${some.length}`).join(', ');
    return { by: 'unanswered', because: `nothing answered in round ${seen.round}: ${because}` };
  }
  const isSpent = seen.counts.success === 0 && rounds.some(({ counts }) => counts.success > 0);
  return race.isRepeated && isSpent ? { by: 'spent' } : undefined;
}

interface Raced {
  seen: RoundSeen;
  /** Nothing succeeded, and the check misses something. */
  missed?: RaceEnd;
}

async function raceRound(race: EndpointRace, round: number, targets: Set<Target>): Promise<Raced> {
  const { definition, signal } = race;
  const step = <T>(name: string, work: () => T | Promise<T>) =>
    runStep(`${name} of round ${round}`, work, { signal, limitMs: STEP_LIMIT_MS });
  const context = await step('prepare', () => definition.prepare?.({ round }));
  const requests: MemberRequest[] = [];
  for (let n = 1; n <= race.fanout; n += 1) {
    const member = { round, n };
    const { request } = definition;
    const asked =
      typeof request === 'function' ? await step('request', () => request(context, member)) : request;
    requests.push(await buildRequest(asked, member, race.targetOf));
  }
  for (const { target } of requests) targets.add(target);
  const exchanges = await raceRequests(requests, { signal });
  const classed = await step('classify', () => classAnswers(exchanges, definition.classify));
  const seen = roundSeen(round, classed, race.expect);
  const answers = classed.flatMap(({ answer }) => answer ?? []);
  // Without any answer the check may say that something is missing, and the reason is another.
  if (answers.length === 0) return { seen };
  try {
    const { violations, isTooMuch } = await step('check', () =>
      checkRound(definition.check, context, { round, answers }),
    );
    const { success, replay } = seen.counts;
    if (violations.length > 0 && success + replay === 0 && !isTooMuch) {
      // All were turned away, and nothing is charged: that is a wrong password, and no race.
      const because = `nothing succeeded in round ${round}, and the check says: ${violations.join('; ')}`;
      return { seen, missed: { by: 'nothing-succeeded', because } };
    }
    seen.violations.push(...violations);
  } catch (error) {
    // What was caught without the check stays caught.
    if (!(error instanceof StepError) || seen.violations.length === 0) throw error;
    seen.violations.push(error.message);
  }
  return { seen };
}
