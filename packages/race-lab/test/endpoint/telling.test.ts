import { expect, test } from 'vitest';
import { classAnswers } from '../../src/endpoint/class-answers.ts';
import type { RaceDefinition } from '../../src/endpoint/define-race.ts';
import { endpointReport } from '../../src/endpoint/endpoint-report.ts';
import { endpointText } from '../../src/endpoint/endpoint-text.ts';
import { roundSeen } from '../../src/endpoint/round-seen.ts';
import { never } from '../cluster/helpers.ts';
import { exchanges, type Told } from './told-exchanges.ts';

type Race = Pick<RaceDefinition<unknown>, 'expect' | 'check'>;

/** What is reported of a race of these rounds, which ended with its budget. */
function reportOf(rounds: readonly Told[][], { expect: expected = { successes: 1 }, check }: Race = {}) {
  const seen = rounds.map((told, index) =>
    roundSeen(index + 1, classAnswers(exchanges(...told), undefined), expected),
  );
  const report = endpointReport(
    { rounds: seen, end: { by: 'rounds' }, targets: [], startedAt: new Date(0), durationMs: 1 },
    {
      ...{ definition: { request: { url: 'http://127.0.0.1/' }, check }, isRepeated: false, signal: never },
      ...{
        fanout: rounds[0]?.length ?? 0,
        expect: expected,
        firstRound: 1,
        rounds: rounds.length,
        seconds: 10,
      },
      targetOf: () => Promise.reject(new Error('nothing is sent')),
    },
    { subject: 'pay.race.ts', again: '' },
  );
  return { report, text: endpointText(report, false).join('\n') };
}

const paid: Told = { status: 200 };
const refused: Told = { status: 409 };
const telling = [paid, ...Array<Told>(4).fill(refused)];
const queued = [20, 41, 60, 82, 99].map((ms, index): Told => ({ ...telling[index], at: [0, ms] }));

test('a round that overlapped, with a success and refusals beside it, tells', () => {
  const { report, text } = reportOf([telling, telling]);
  expect(report).toMatchObject({ verdict: 'not-caught', rounds: { telling: 2 }, unknownEffects: 0 });
  expect(text).toContain('NOT CAUGHT: 2 rounds of 5 requests');
});

test.each<[string, Told[], Race, string]>([
  [
    'nothing succeeded',
    Array(5).fill(refused),
    {},
    'nothing ever succeeded: perhaps it had been done before',
  ],
  [
    'each was answered before the next one was sent',
    [
      { status: 200, at: [0, 1] },
      { status: 409, at: [1, 2] },
    ],
    {},
    'in 1 round each request was answered before the next one was sent',
  ],
  ['one was handled at a time', queued, {}, 'in 1 round one request was handled at a time'],
  [
    'fewer succeeded than may',
    telling,
    { expect: { successes: 2 } },
    'in 1 round fewer requests succeeded than',
  ],
  ['one of them failed', [...telling, { status: 503 }], {}, 'in 1 round requests failed that may have taken'],
  [
    'one was not answered',
    [...telling, { error: 'timeout' }],
    {},
    'in 1 round requests failed that may have',
  ],
  [
    'one failed before it was whole',
    [...telling, { status: 500, error: 'early-answer', at: [5, 5] }],
    {},
    'in 1 round requests failed that may have',
  ],
])('a round in which %s tells nothing', (_what, told, race, because) => {
  const { report, text } = reportOf([told], race);
  expect(report).toMatchObject({ verdict: 'unknown', rounds: { telling: 0 } });
  expect(report.unknownBecause).toContain(because);
  expect(text).toContain(`UNKNOWN: ${because}`);
  // Beside one that tells, it changes no verdict.
  expect(reportOf([told, race.expect ? [paid, ...telling] : telling], race).report).toMatchObject({
    ...{ verdict: 'not-caught', rounds: { telling: 1 } },
  });
});

test.each<[string, Told, Race]>([
  ['that was never sent', { error: 'ECONNREFUSED', at: [5, 5] }, {}],
  ['that a check has counted', { status: 503 }, { check: () => [] }],
])('a failure %s leaves a round telling', (_what, failure, race) => {
  const { report, text } = reportOf([[...telling, failure]], race);
  expect(report).toMatchObject({ verdict: 'not-caught', rounds: { telling: 1 }, unknownEffects: 0 });
  expect(text).not.toContain('whether they took effect');
});

test('rounds that tell nothing for several reasons are told apart', () => {
  const { report } = reportOf([queued, queued, [...telling, { error: 'reset' }], [refused]]);
  expect(report.unknownBecause).toBe(
    'in 2 rounds one request was handled at a time, so that the race was not tried; ' +
      'in 1 round requests failed that may have taken effect all the same',
  );
});

test('answers at even intervals are told, also where others were telling', () => {
  const { report, text } = reportOf([queued, telling]);
  expect(report.rounds).toMatchObject({ oneByOne: 1, telling: 1 });
  expect(text).toContain('NOT CAUGHT: 1 round of 5 requests');
  expect(text).toContain('In 1 round the answers came one by one, at even intervals');
});
