import { describe, expect, test } from 'vitest';
import { alternate, type Measurement } from '../src/measurement.ts';
import { judge, judgedOn, wrong } from '../src/ratio.ts';
import { quotients, spreadOf } from '../src/statistics.ts';

const measurement: Measurement = { figures: {}, failures: {}, wrong: [], firstError: null };

describe('spreadOf', () => {
  test('the median of an odd number of values is one of them, of an even number it lies halfway', () => {
    expect(spreadOf([9, 1, 5])).toEqual({ median: 5, min: 1, max: 9 });
    expect(spreadOf([9, 1, 5, 4])).toEqual({ median: 4.5, min: 1, max: 9 });
    expect(spreadOf([7])).toEqual({ median: 7, min: 7, max: 7 });
  });

  test('numbers are not sorted as text', () => {
    expect(spreadOf([100, 9, 20])).toEqual({ median: 20, min: 9, max: 100 });
  });

  test('without values there is none', () => expect(spreadOf([])).toBeNull());
});

describe('quotients', () => {
  test('divides round by round', () => expect(quotients([90, 40], [100, 50])).toEqual([0.9, 0.8]));

  test('there are none where a round lacks one of the two', () => {
    expect(quotients([90, null], [100, 50])).toBeNull();
    expect(quotients([90, 40], [100, null])).toBeNull();
    expect(quotients([90, 40], [100])).toBeNull();
    expect(quotients([90], [0])).toBeNull();
    expect(quotients([], [])).toBeNull();
  });
});

describe('a ratio', () => {
  const atLeast = { bound: 'at-least', floor: 0.85, aim: 0.95 } as const;
  const atMost = { bound: 'at-most', floor: 1.4, aim: null } as const;

  test('holds by its median, in the direction that is demanded', () => {
    expect(judge([0.7, 0.85, 0.99], atLeast)).toEqual({
      ...atLeast,
      value: 0.85,
      min: 0.7,
      max: 0.99,
      holds: true,
    });
    expect(judge([0.7, 0.84, 0.99], atLeast).holds).toBe(false);
    expect(judge([1.4], atMost).holds).toBe(true);
    expect(judge([1.3, 1.41, 1.5], atMost).holds).toBe(false);
  });

  test('what was not measured neither holds nor fails, what was measured and is wrong fails', () => {
    expect(judge(null, atMost)).toMatchObject({ value: null, holds: null });
    expect(judge([], atMost)).toMatchObject({ value: null, holds: null });
    expect(wrong(atMost)).toMatchObject({ value: null, holds: false });
  });

  test('what misses its floor is not judged where the machine did something else; what is wrong is', () => {
    const ratios = { misses: judge([0.1], atLeast), holds: judge([0.99], atLeast), wrong: wrong(atLeast) };
    const holds = (busy: number) => Object.values(judgedOn(busy, ratios)).map((ratio) => ratio.holds);
    expect(holds(0.4)).toEqual([false, true, false]);
    expect(holds(0.9)).toEqual([null, true, false]);
  });
});

describe('alternate', () => {
  test('warms all up, and then measures them in turn', async () => {
    const order: string[] = [];
    const measured = await alternate(['A', 'B', 'C'], 2, async (subject, round) => {
      order.push(`${subject}${round}`);
      return { ...measurement, figures: { round } };
    });
    expect(order).toEqual(['A0', 'B0', 'C0', 'A1', 'B1', 'C1', 'A2', 'B2', 'C2']);
    expect(measured.get('B')).toMatchObject({
      warmUp: { figures: { round: 0 } },
      rounds: [{ figures: { round: 1 } }, { figures: { round: 2 } }],
    });
  });
});
