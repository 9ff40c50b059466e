import { describe, expect, test } from 'vitest';
import { checkStandstill } from '../../src/checkers/judge-locks.ts';
import {
  type LockAnswer,
  longestStandstill,
  overlapsOf,
  sectionsOf,
} from '../../src/history/lock-sections.ts';

/** What a request at `lotto-back-<instance>` was told: `name atMs`, one after the other. */
function asked(
  requestId: string,
  instance: number,
  askedAtMs: number,
  steps: string,
  answeredAtMs = 9_000,
): LockAnswer {
  return {
    requestId,
    instance: `lotto-back-${instance}`,
    askedAtUs: askedAtMs * 1000,
    answeredAtUs: answeredAtMs * 1000,
    steps: (steps === '' ? [] : steps.split(', ')).map((step) => {
      const [name = '', atMs] = step.split(' ');
      return { name, atUs: Number(atMs) * 1000 };
    }),
  };
}

const spans = (...answers: LockAnswer[]) =>
  sectionsOf(answers).map(({ requestId, lockedAtUs, endedAtUs }) => [
    requestId,
    lockedAtUs / 1000,
    endedAtUs / 1000,
  ]);

const longestOf = (answers: LockAnswer[], turnedAway: LockAnswer[] = []) => {
  const found = longestStandstill(sectionsOf(answers), turnedAway);
  return found && [found.requestId, found.fromUs / 1000, found.untilUs / 1000];
};

describe('sections', () => {
  test('go from the lock to its end, or to the last that is known; in the order of time', () => {
    expect(
      spans(
        asked('b', 1, 0, 'locked 10, read 11, unlocked 15, answered 20'),
        asked('a', 2, 0, 'locked 1, read 2, wrote 3'),
        asked('c', 3, 0, 'read 4'),
        asked('d', 4, 0, ''),
        asked('e', 4, 0, 'locked 30'),
      ),
    ).toEqual([
      ['a', 1, 3],
      ['b', 10, 15],
      ['e', 30, 30],
    ]);
  });

  test('of a request that had the lock twice are two', () => {
    expect(spans(asked('a', 1, 0, 'locked 1, read 2, locked 5, read 6, unlocked 7'))).toEqual([
      ['a', 1, 2],
      ['a', 5, 7],
    ]);
  });

  test('overlap where another instance begins before the end', () => {
    const first = asked('a', 1, 0, 'locked 1, wrote 10, unlocked 12');
    const overlaps = (...others: LockAnswer[]) => overlapsOf(sectionsOf([first, ...others]));
    expect(overlaps(asked('b', 2, 0, 'locked 10, unlocked 11'))).toBe(0);
    expect(overlaps(asked('b', 2, 0, 'locked 9, unlocked 11'))).toBe(1);
    expect(overlaps(asked('b', 2, 0, 'locked 3, unlocked 4'), asked('c', 3, 0, 'locked 5, unlocked 6'))).toBe(
      2,
    );
  });
});

describe('a standstill', () => {
  test('is the longest time between sections while somebody waited', () => {
    const history = [
      asked('a', 1, 0, 'locked 1, unlocked 5'),
      asked('b', 2, 0, 'locked 7, unlocked 9'),
      asked('c', 2, 0, 'locked 12, unlocked 13'),
    ];
    expect(longestOf(history)).toEqual(['c', 9, 12]);
  });

  test('is none while nobody had asked, nor while a longer section goes on', () => {
    expect(
      longestOf([asked('a', 1, 0, 'locked 1, unlocked 5'), asked('b', 2, 99, 'locked 100, unlocked 101')]),
    ).toEqual(['b', 99, 100]);
    const around = [
      asked('a', 1, 0, 'locked 1, unlocked 50'),
      asked('b', 2, 0, 'locked 3, unlocked 4'),
      asked('c', 2, 0, 'locked 48, unlocked 49'),
    ];
    expect(longestOf(around)).toBeNull();
  });

  test('lasts until those who never got the lock were told so', () => {
    const first = asked('a', 1, 0, 'locked 1, unlocked 5');
    expect(longestOf([first], [asked('b', 2, 0, '', 5_000)])).toEqual(['b', 5, 5_000]);
    expect(longestOf([first], [asked('b', 2, 0, '', 4)])).toBeNull();
    expect(longestOf([])).toBeNull();
  });

  test('that is longer than is allowed violates I14, and names who waited', () => {
    const sections = sectionsOf([
      asked('a', 1, 0, 'locked 1, unlocked 5'),
      asked('b', 2, 0, 'locked 605, unlocked 606'),
    ]);
    expect(checkStandstill(sections, [], 600)).toEqual([]);
    expect(checkStandstill(sections, [], 599)).toEqual([
      {
        invariant: 'I14',
        detail: 'nobody had the lock for 600 ms, while request b waited for it (at most 599 ms are allowed)',
      },
    ]);
    expect(checkStandstill(sections, [asked('c', 3, 0, '', 2_000)], 1_000)).toMatchObject([
      { detail: expect.stringContaining('for 1394 ms, while request c waited') },
    ]);
    expect(checkStandstill([], [], 0)).toEqual([]);
  });
});
