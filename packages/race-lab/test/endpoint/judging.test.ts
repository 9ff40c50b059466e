import { expect, test } from 'vitest';
import { classAnswers } from '../../src/endpoint/class-answers.ts';
import type { AnswerClass, RaceDefinition } from '../../src/endpoint/define-race.ts';
import { roundSeen } from '../../src/endpoint/round-seen.ts';
import { exchanges, type Told } from './told-exchanges.ts';

const classesOf = (told: Told[], classify?: RaceDefinition<unknown>['classify']): AnswerClass[] =>
  classAnswers(exchanges(...told), classify).map((one) => one.class);

test('2xx is a success, 4xx a refusal, everything else a failure', () => {
  const statuses = [200, 201, 204, 299, 400, 409, 429, 301, 500, 503, 100, undefined];
  expect(
    classesOf(statuses.map((status) => (status === undefined ? { error: 'reset' } : { status }))),
  ).toEqual([...Array(4).fill('success'), ...Array(3).fill('refusal'), ...Array(5).fill('failure')]);
});

test.each<[string, Told[], AnswerClass[]]>([
  [
    'the same bytes again, and said to be so, are a replay',
    [
      { status: 201, body: 'bill 1' },
      { status: 201, body: 'bill 1', replayed: true },
    ],
    ['success', 'replay'],
  ],
  [
    'the same bytes again without that word are a second success',
    [
      { status: 201, body: 'ok' },
      { status: 201, body: 'ok' },
    ],
    ['success', 'success'],
  ],
  [
    'other bytes are a second success, whatever is said of them',
    [
      { status: 201, body: 'bill 1' },
      { status: 201, body: 'bill 2', replayed: true },
    ],
    ['success', 'success'],
  ],
  [
    'another status is a second success',
    [
      { status: 201, body: 'bill' },
      { status: 200, body: 'bill', replayed: true },
    ],
    ['success', 'success'],
  ],
  [
    'of replays alone, those that repeat the first one are replays',
    [
      { status: 200, body: 'bill 1', replayed: true },
      { status: 200, body: 'bill 1', replayed: true },
      { status: 200, body: 'bill 2', replayed: true },
    ],
    ['replay', 'replay', 'success'],
  ],
  ['a refusal that is replayed stays a refusal', [{ status: 409, body: 'no', replayed: true }], ['refusal']],
])('%s', (_name, told, classes) => {
  expect(classesOf(told)).toEqual(classes);
});

test('a rule of the race’s own comes first, where it says something', () => {
  const told = [{ status: 200, body: '{"ok":false}' }, { status: 303 }, { status: 200, body: '{"ok":true}' }];
  const classes = classesOf(told, ({ status, body }) => {
    if (status === 303) return 'success';
    return body.includes('false') ? 'refusal' : undefined;
  });
  expect(classes).toEqual(['refusal', 'success', 'success']);
  expect(() => classesOf(told, () => 'luck' as AnswerClass)).toThrow(
    expect.objectContaining({ code: 'NO_SUCH_CLASS' }),
  );
});

const seen = (told: Told[], expected = { successes: 1 }) =>
  roundSeen(3, classAnswers(exchanges(...told), undefined), expected);

test('more successes than may are a violation, and as many are none', () => {
  const paid = (count: number) => Array.from({ length: count }, () => ({ status: 200 }));
  expect(seen(paid(1)).violations).toEqual([]);
  expect(seen(paid(2)).violations).toEqual(['2 requests succeeded where 1 may']);
  expect(roundSeen(1, classAnswers(exchanges(...paid(3)), undefined), { atMost: 3 }).violations).toEqual([]);
  expect(roundSeen(1, classAnswers(exchanges(...paid(4)), undefined), { atMost: 3 }).violations).toHaveLength(
    1,
  );
});

test('requests overlap when two are sent before one is answered; what was never sent says nothing about that', () => {
  const at = (...times: [number, number][]) =>
    seen(times.map((pair) => ({ status: 200, at: pair }))).overlapped;
  expect(at([0, 10], [9, 20])).toBe(true);
  expect(at([0, 10], [10, 20], [20, 30])).toBe(false);
  expect(at([0, 0], [5, 10], [6, 11])).toBe(true);
  expect(at([0, 0], [0, 0])).toBe(false);
});

test('answers at even intervals come one by one; a crowd behind one that took long does not', () => {
  const answeredAt = (...times: number[]) => seen(times.map((ms) => ({ status: 409, at: [0, ms] }))).oneByOne;
  expect(answeredAt(20, 41, 60, 82, 99)).toBe(true);
  expect(answeredAt(300, 301, 302, 303, 304)).toBe(false);
  expect(answeredAt(20, 21, 22, 300)).toBe(false);
  expect(answeredAt(20, 40, 60)).toBe(false);
  expect(answeredAt(2, 4, 6, 8)).toBe(true);
  expect(answeredAt(1, 2, 3, 4)).toBe(false);
});

test('a round in which nothing was sent has times nevertheless', () => {
  const { members, releaseSpreadMs } = seen([{ error: 'ECONNREFUSED', at: [5, 5] }]);
  expect(members).toEqual([
    { n: 1, class: 'failure', status: null, error: 'ECONNREFUSED', sentMs: 0, answeredMs: 0 },
  ]);
  expect(releaseSpreadMs).toBe(0);
});
