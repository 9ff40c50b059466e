import { type Percentiles, percentiles } from '../history/percentiles.ts';
import type { HttpVersion, Target } from '../racer/exchange.ts';
import { exitCodes } from '../report/report.ts';
import type { AnswerClass, Expected } from './define-race.ts';
import { plural } from './plural.ts';
import type { EndpointRace, EndpointRaceSeen, RaceEnd } from './race-endpoint.ts';
import type { RoundSeen } from './round-seen.ts';
import { mayHaveTakenEffect, type NotTelling, whyNotTelling } from './telling-round.ts';

/** What was seen of a race of somebody's endpoint, as it is written to a file. */
export interface EndpointReport {
  schema: 'race-lab/1';
  experiment: 'endpoint';
  /** The race file, or the method and URL without what its query carries. */
  subject: string;
  targets: { address: string; port: number; tls: boolean; http: HttpVersion }[];
  fanout: number;
  expect: Expected;
  budget: { rounds: number; seconds: number };
  startedAt: string;
  durationMs: number;
  rounds: {
    raced: number;
    /** In which something succeeded. */
    withSuccess: number;
    /** In which at least two requests were sent before any was answered. */
    overlapping: number;
    /** In which the answers came one by one, as from somebody who handles one request at a time. */
    oneByOne: number;
    /**
     * Those that could have shown the race: overlapping, not one by one, with as many successes as expected, and no failure
     * that may have taken effect without a check's counting it.
     */
    telling: number;
  };
  endedBy: RaceEnd['by'];
  responses: Record<string, number>;
  /** Of the requests that have no complete answer, and of answers that came too early. */
  errors: Record<string, number>;
  answers: Record<AnswerClass, number>;
  /** Failures of requests that the server had: whether they took effect is not known. None where a check counts them. */
  unknownEffects: number;
  /** Successes / refusals and replays / failures of a round, and how many rounds were so. */
  patterns: Record<string, number>;
  latencyMs: { all: Percentiles | null; ok: Percentiles | null };
  /** Between the first and the last request of a round, as they were sent; of their arrival nothing is known. */
  releaseSpreadMs: Percentiles | null;
  violations: { invariant: 'expected'; count: number; first: string }[];
  /** The round that was caught. */
  caught: RoundSeen | null;
  verdict: 'caught' | 'not-caught' | 'unknown';
  unknownBecause: string | null;
  /** The command that races it again, without what may be secret. */
  again: string;
}

export function endpointReport(
  seen: EndpointRaceSeen,
  race: EndpointRace,
  { subject, again }: Pick<EndpointReport, 'subject' | 'again'>,
): EndpointReport {
  const { rounds, end } = seen;
  const { expect, fanout } = race;
  const members = rounds.flatMap((round) => round.members);
  const caught = rounds.find(({ violations }) => violations.length > 0) ?? null;
  const isChecked = race.definition.check !== undefined;
  const silences = rounds.flatMap((round) => whyNotTelling(round, expect, isChecked) ?? []);
  const unknownBecause = caught === null ? unknownReason(seen, silences, race) : null;
  const answered = members.filter(({ status }) => status !== null);
  const latencies = (some: typeof members) => percentiles(some.map((one) => one.answeredMs - one.sentMs));
  return {
    schema: 'race-lab/1',
    experiment: 'endpoint',
    subject,
    targets: seen.targets.map(targetSeen),
    ...{ fanout, expect, budget: { rounds: race.rounds, seconds: race.seconds } },
    startedAt: seen.startedAt.toISOString(),
    durationMs: Math.round(seen.durationMs),
    rounds: {
      raced: rounds.length,
      withSuccess: rounds.filter(({ counts }) => counts.success > 0).length,
      overlapping: rounds.filter(({ overlapped }) => overlapped).length,
      oneByOne: rounds.filter(({ oneByOne }) => oneByOne).length,
      telling: rounds.length - silences.length,
    },
    endedBy: end.by,
    responses: countBy(answered.map(({ status }) => String(status))),
    errors: countBy(members.flatMap(({ error }) => error ?? [])),
    answers: {
      success: sum(rounds, 'success'),
      refusal: sum(rounds, 'refusal'),
      replay: sum(rounds, 'replay'),
      failure: sum(rounds, 'failure'),
    },
    unknownEffects: isChecked ? 0 : members.filter(mayHaveTakenEffect).length,
    patterns: countBy(
      rounds.map(({ counts: { success, refusal, replay, failure } }) =>
        [success, refusal + replay, failure].join('/'),
      ),
    ),
    latencyMs: {
      all: latencies(answered),
      ok: latencies(answered.filter((one) => one.class === 'success')),
    },
    releaseSpreadMs: percentiles(rounds.map(({ releaseSpreadMs }) => releaseSpreadMs)),
    violations:
      caught === null
        ? []
        : [{ invariant: 'expected', count: caught.violations.length, first: caught.violations[0] ?? '' }],
    caught,
    verdict: caught !== null ? 'caught' : unknownBecause === null ? 'not-caught' : 'unknown',
    unknownBecause,
    again,
  };
}

/** 0: the race was not observed. 1: it was. 2: nobody can say. */
export function exitCodeOfEndpoint({ verdict }: EndpointReport): number {
  if (verdict === 'caught') return exitCodes.notAsExpected;
  return verdict === 'unknown' ? exitCodes.unknown : exitCodes.asExpected;
}

const SILENCES: Record<Exclude<NotTelling, 'nothing-succeeded'>, string> = {
  'no-overlap': 'each request was answered before the next one was sent',
  'one-by-one': 'one request was handled at a time, so that the race was not tried',
  'too-few-succeeded': 'fewer requests succeeded than may',
  'unknown-effects': 'requests failed that may have taken effect all the same',
};

function unknownReason(
  { end, rounds }: EndpointRaceSeen,
  silences: readonly NotTelling[],
  race: EndpointRace,
): string | null {
  if ('because' in end) return end.because;
  if (silences.length < rounds.length) return null;
  // Rounds after the one in which all was done say nothing of why that one could not tell.
  const others = silences.filter((silence) => silence !== 'nothing-succeeded');
  if (others.length === 0) {
    return race.definition.prepare === undefined
      ? 'nothing ever succeeded: perhaps it had been done before, or the request is wrong'
      : 'nothing ever succeeded: perhaps the request is wrong';
  }
  return [...Map.groupBy(others, (silence) => silence)]
    .map(([silence, some]) => `in ${plural(some.length, 'round')} ${SILENCES[silence]}`)
    .join('; ');
}

function targetSeen({ host, port, tls, http = '1.1' }: Target): EndpointReport['targets'][number] {
  return { address: host, port, tls: tls !== undefined, http };
}

function sum(rounds: readonly RoundSeen[], name: AnswerClass): number {
  return rounds.reduce((total, { counts }) => total + counts[name], 0);
}

/** How often each text occurs, the most frequent first. */
function countBy(texts: readonly string[]): Record<string, number> {
  const groups = [...Map.groupBy(texts, (text) => text)].map(([text, some]) => [text, some.length] as const);
  return Object.fromEntries(groups.toSorted(([, a], [, b]) => b - a));
}
