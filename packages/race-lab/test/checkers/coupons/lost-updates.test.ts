import { expect, test } from 'vitest';
import { lostUpdate } from '../../../src/checkers/lost-updates.ts';
import type { CouponAnswer } from '../../../src/history/coupon-answer.ts';
import type { Step } from '../../../src/history/steps.ts';
import { about, granted, rowsOf, story } from './coupon-histories.ts';

/** A member's success with serial `3 - remaining`, and what his instance did for it: `name atMs`, one after the other. */
function writer(
  memberId: number,
  remaining: number,
  steps: string,
  instance = `lotto-back-${memberId}`,
): CouponAnswer {
  return { ...granted(memberId, 0, remaining), instance, steps: stepsOf(steps) };
}

function stepsOf(text: string): Step[] {
  return text
    .split(', ')
    .map((step) => step.split(' '))
    .map(([name = '', atMs]) => ({ name, atUs: 5_000_000 + Number(atMs) * 1000 }));
}

const lines = (...answers: CouponAnswer[]) => lostUpdate(answers, rowsOf(answers));

test('the interleaving of two who read the same number, in the order of time', () => {
  expect(
    lines(
      writer(2, 1, 'locked 1003.2, read 1004, wrote 1010, committed 1011, unlocked 1012'),
      writer(1, 1, 'locked 0, read 0.5, wrote 1008.4, committed 1009, unlocked 1013'),
      writer(3, 2, 'read 0, committed 2000'),
    ),
  ).toEqual([
    '+0.0 ms lotto-back-1 locked (request m1-0)',
    '+0.5 ms lotto-back-1 read (request m1-0)',
    '+1003.2 ms lotto-back-2 locked (request m2-0)',
    '+1004.0 ms lotto-back-2 read (request m2-0)',
    '+1008.4 ms lotto-back-1 wrote (request m1-0)',
    '+1009.0 ms lotto-back-1 committed (request m1-0)',
    '+1010.0 ms lotto-back-2 wrote (request m2-0)',
    '+1011.0 ms lotto-back-2 committed (request m2-0)',
    '+1012.0 ms lotto-back-2 unlocked (request m2-0)',
    '+1013.0 ms lotto-back-1 unlocked (request m1-0)',
    'both wrote serial 2',
  ]);
});

test('of several numbers the one that was lost first, of several writers the first two', () => {
  const told = lines(
    writer(1, 1, 'read 50, committed 60'),
    writer(2, 1, 'read 51, committed 61'),
    writer(3, 2, 'read 12, committed 22'),
    writer(4, 2, 'read 10, committed 20'),
    writer(5, 2, 'read 11, committed 21'),
  );
  expect(told?.filter((line) => line.includes('read'))).toEqual([
    '+0.0 ms lotto-back-4 read (request m4-0)',
    '+1.0 ms lotto-back-5 read (request m5-0)',
  ]);
  expect(told?.at(-1)).toBe('both wrote serial 1, and so did 1 more');
});

test('those who only repeat a number that was written back are none: they do not overlap', () => {
  const told = lines(
    writer(1, 2, 'read 0, committed 1'),
    writer(2, 2, 'read 10, committed 11'),
    writer(3, 1, 'read 20, committed 30'),
    writer(4, 1, 'read 29, committed 40'),
  );
  expect(told?.at(-1)).toBe('both wrote serial 2');
  const alone = lines(writer(1, 2, 'read 0, committed 1'), writer(2, 2, 'read 10, committed 11'));
  expect(alone).toBeNull();
  // Who reads when the other has just committed sees what he made of it.
  expect(lines(writer(1, 2, 'read 0, committed 1'), writer(2, 2, 'read 1, committed 2'))).toBeNull();
  const third = lines(
    writer(1, 2, 'read 0, committed 1'),
    writer(2, 2, 'read 10, committed 20'),
    writer(3, 2, 'read 15, committed 30'),
  );
  expect(third?.[0]).toBe('+0.0 ms lotto-back-2 read (request m2-0)');
});

test('only the attempt that took effect is shown', () => {
  const told = lines(
    writer(1, 2, 'read 0, read 1, wrote 2, read 10, wrote 11, committed 20'),
    writer(2, 2, 'read 3, locked 9, read 12, wrote 15, committed 21, unlocked 22'),
  );
  expect(told?.map((line) => line.replace(/ \(.*/, ''))).toEqual([
    '+0.0 ms lotto-back-2 locked',
    '+1.0 ms lotto-back-1 read',
    '+2.0 ms lotto-back-1 wrote',
    '+3.0 ms lotto-back-2 read',
    '+6.0 ms lotto-back-2 wrote',
    '+11.0 ms lotto-back-1 committed',
    '+12.0 ms lotto-back-2 committed',
    '+13.0 ms lotto-back-2 unlocked',
    'both wrote serial 1',
  ]);
});

test('an instance without a name is told as one', () => {
  const told = lines(
    { ...writer(1, 2, 'read 0, committed 2'), instance: undefined },
    writer(2, 2, 'read 1, committed 3'),
  );
  expect(told?.[0]).toBe('+0.0 ms an instance read (request m1-0)');
});

test('nothing was lost, or nobody told how: null', () => {
  expect(lines(writer(1, 2, 'read 0, committed 2'), writer(2, 1, 'read 1, committed 3'))).toBeNull();
  expect(lines(writer(1, 2, 'read 0, committed 2'), { ...writer(2, 2, ''), steps: [] })).toBeNull();
  expect(lines(writer(1, 2, 'read 0, committed 2'), writer(2, 2, 'read 1, wrote 2'))).toBeNull();
  expect(lostUpdate([], rowsOf([granted(1, 0, 2), granted(2, 0, 2)]))).toBeNull();
  expect(lostUpdate([], [])).toBeNull();
});

test('the same number of another coupon is another number', () => {
  const one = story([writer(1, 2, 'read 0, committed 2')]);
  const other = about('coupon-b', story([writer(2, 2, 'read 1, committed 3')]));
  expect(lostUpdate([...one.answers, ...other.answers], [...one.issued, ...other.issued])).toBeNull();
});
