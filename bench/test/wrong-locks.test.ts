import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Loads, measureBursts, measureContended, WORKERS } from '../src/groups/locks/contended.ts';
import type { Contender } from '../src/groups/locks/contender.ts';
import { openPromiseMutex } from '../src/groups/locks/contenders/promise-mutex.ts';
import { contenderOf } from '../src/groups/locks/contenders.ts';
import { contend } from '../src/groups/locks/load.ts';
import type { LoadOrder } from '../src/groups/locks/load-messages.ts';
import type { LoadProcess } from '../src/groups/locks/load-process.ts';
import { ratiosOf } from '../src/groups/locks/ratios.ts';
import type { Measured, Measurement } from '../src/measurement.ts';

/** A row of ours whose two processes have these locks. */
function loadsOf(...locks: readonly Contender[]): Loads {
  const directory = mkdtempSync(join(tmpdir(), 'bench-test-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const processes = locks.map(
    (lock): LoadProcess => ({
      carryOut: async (given) => {
        const order: LoadOrder = given;
        if (order.kind !== 'contend') throw new TypeError(`not asked for: ${order.kind}`);
        return (await contend(lock, order)) as never;
      },
      end: () => undefined,
    }),
  );
  return { spec: contenderOf('pawl redis'), processes, directory };
}

describe('two processes that each have a lock of their own', () => {
  test('are wrong: both hold it at the same time, and lose what they write', async () => {
    const apart = loadsOf(await openPromiseMutex(), await openPromiseMutex());
    const { wrong } = await measureContended(apart, 30, 'k');
    expect(wrong).toEqual([
      expect.stringMatching(/another one was under way/),
      expect.stringMatching(/lost/),
    ]);
    expect((await measureBursts(apart, 2, 'k')).wrong).toHaveLength(4);
  });

  test('with one lock for both they are right', async () => {
    const mutex = await openPromiseMutex();
    const shared = loadsOf(mutex, mutex);
    expect(await measureContended(shared, 30, 'k')).toMatchObject({
      wrong: [],
      failures: { 'not granted': 0, errors: 0 },
      figures: { 'sections/s': expect.any(Number) },
    });
    const burst = await measureBursts(shared, 2, 'k');
    expect(burst).toMatchObject({ wrong: [], firstError: null });
    // So many sections of a millisecond, one after the other.
    expect(burst.figures['drained ms']).toBeGreaterThanOrEqual(WORKERS);
  });
});

test('a burst in which somebody was turned away has not drained', async () => {
  let turnedAway = false;
  const mutex = await openPromiseMutex();
  const lock: Contender = {
    ...mutex,
    async section(key, work) {
      if (turnedAway) return mutex.section(key, work);
      turnedAway = true;
      return false;
    },
  };
  expect(await measureBursts(loadsOf(lock), 1, 'k')).toMatchObject({
    wrong: [],
    failures: { 'not granted': 1 },
    figures: { 'drained ms': null },
  });
});

describe('the ratios', () => {
  const round = (perSecond: number, wrong: readonly string[] = []): Measurement => ({
    figures: { 'sections/s': perSecond },
    failures: {},
    wrong,
    firstError: null,
  });
  const contendedRatio = (ours: Measured, limit: Measured) => {
    const loads = (row: string): Loads => ({ spec: contenderOf(row), processes: [], directory: '' });
    const contended = new Map([
      [loads('mutex'), limit],
      [loads('pawl redis'), ours],
    ]);
    const none = new Map();
    return ratiosOf({ contended, burst: none, busy: none, single: none })[
      'locks: contended, pawl redis ÷ mutex'
    ];
  };
  const right = { warmUp: round(1), rounds: [round(100), round(100), round(100)] };
  const wrong = { warmUp: round(1, ['two holders']), rounds: [round(900), round(900), round(900)] };

  test('of a row that was wrong, however fast, do not hold', () => {
    expect(contendedRatio(right, right)).toMatchObject({ value: 1, holds: true });
    expect(contendedRatio(wrong, right)).toMatchObject({ value: null, holds: false });
  });

  test('to a limit that was wrong say nothing', () => {
    expect(contendedRatio(right, wrong)).toMatchObject({ value: null, holds: null });
  });
});
