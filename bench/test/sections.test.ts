import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { momentIn } from '../src/clock.ts';
import type { Contender } from '../src/groups/locks/contender.ts';
import { openPromiseMutex } from '../src/groups/locks/contenders/promise-mutex.ts';
import { contend, exclude, takeOwnKeys } from '../src/groups/locks/load.ts';
import {
  overlapsOf,
  type Section,
  sectionsOf,
  shareOf,
  waitsOf,
  wrongIn,
} from '../src/groups/locks/sections.ts';
import { readCounter, resetCounter } from '../src/groups/locks/shared-counter.ts';

const section = (enteredMs: number, leftMs: number, worker = 0): Section => ({
  worker,
  askedMs: 0,
  enteredMs,
  leftMs,
});

/** Lets everybody in. */
const noLock: Contender = {
  async section(_key, work) {
    await work();
    return true;
  },
  close: async () => undefined,
};

/** Lets nobody in a second time. */
function neverGivenBack(): Contender {
  let taken = false;
  return {
    async section(_key, work) {
      if (taken) return false;
      taken = true;
      await work();
      return true;
    },
    close: async () => undefined,
  };
}

describe('sections', () => {
  test('that follow each other do not overlap, in whatever order they were told', () => {
    expect(overlapsOf([section(2, 3), section(0, 1), section(1, 2)])).toBe(0);
  });

  test('overlap where one begins before another has ended, also when a third has ended between', () => {
    expect(overlapsOf([section(0, 2), section(1.9, 3)])).toBe(1);
    expect(overlapsOf([section(0, 10), section(1, 2), section(3, 4)])).toBe(2);
  });

  test('that lost what they had written are wrong, be there an overlap or not', () => {
    expect(wrongIn([section(0, 1), section(1, 2)], 2)).toEqual([]);
    expect(wrongIn([section(0, 1), section(1, 2)], 1)).toEqual([
      'of 2 sections 1 lost what they had written',
    ]);
    expect(wrongIn([section(0, 2), section(1, 2)], 2)).toHaveLength(1);
  });

  test('tell how evenly the workers were served; one who got none counts', () => {
    const sections = [section(0, 1, 0), section(1, 2, 0), section(2, 3, 0), section(3, 4, 1)];
    expect(shareOf(sections, 2)).toEqual({ least: 0.5, most: 1.5 });
    expect(shareOf(sections, 4)).toEqual({ least: 0, most: 3 });
    expect(shareOf([], 4)).toBeNull();
  });

  test('tell how long each waited', () => {
    expect(waitsOf([section(5, 6), section(7, 8)])).toMatchObject({ p50: 5, max: 7 });
  });
});

describe('a load', () => {
  function counterFile(): string {
    const folder = mkdtempSync(join(tmpdir(), 'bench-test-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    return join(folder, 'sections');
  }

  async function contended(contender: Contender, untilMs: number | null) {
    const file = counterFile();
    resetCounter(file);
    const order = {
      ...({ kind: 'contend', key: 'k', workers: { first: 32, count: 8 }, startAt: momentIn(20) } as const),
      ...{ untilMs, sectionMs: 1, counterFile: file },
    };
    const result = await contend(contender, order);
    return { result, sections: sectionsOf([result]), counted: readCounter(file) };
  }

  test('without a lock, sections overlap and lose what they wrote', async () => {
    const { sections, counted } = await contended(noLock, null);
    expect(sections).toHaveLength(8);
    expect(overlapsOf(sections)).toBe(7);
    expect(counted).toBe(1);
    expect(wrongIn(sections, counted)).toHaveLength(2);
  });

  test('with a lock, they follow each other, and every one is counted', async () => {
    const { result, sections, counted } = await contended(await openPromiseMutex(), 50);
    expect(wrongIn(sections, counted)).toEqual([]);
    expect(counted).toBe(sections.length);
    expect(new Set(sections.map(({ worker }) => worker))).toEqual(new Set([32, 33, 34, 35, 36, 37, 38, 39]));
    expect(Math.max(...sections.map(({ leftMs }) => leftMs))).toBeGreaterThanOrEqual(50);
    expect(result).toMatchObject({ notGranted: 0, errors: 0, firstError: null });
  });

  test('counts who was refused, and who met an error', async () => {
    const { result, sections } = await contended(neverGivenBack(), null);
    expect(sections).toHaveLength(1);
    expect(result).toMatchObject({ notGranted: 7, errors: 0 });
    const broken: Contender = { ...noLock, section: () => Promise.reject(new Error('no connection')) };
    expect((await contended(broken, null)).result).toMatchObject({
      errors: 8,
      firstError: 'Error: no connection',
    });
  });

  test('a pair that was refused is no pair', async () => {
    const order = { kind: 'own-keys', prefix: 'k', callers: 2, until: { pairsEach: 3 } } as const;
    const served = await takeOwnKeys(noLock, order);
    expect(served.pairMs).toHaveLength(6);
    const refused = await takeOwnKeys(neverGivenBack(), order);
    expect(refused.pairMs).toHaveLength(1);
    expect(refused.notGranted).toBe(5);
  });

  test('a lock must keep another one out, and no longer than it is held', async () => {
    const order = { kind: 'exclude', key: 'k' } as const;
    const mutex = await openPromiseMutex();
    expect(await exclude(mutex, mutex, order)).toEqual([]);
    expect(await exclude(noLock, noLock, order)).toEqual(['a lock was granted while another one held it']);
    const kept = neverGivenBack();
    expect(await exclude(kept, kept, order)).toEqual(['a lock that had been given back was not granted']);
    expect(await exclude(kept, kept, order)).toEqual(['a lock that nobody held was not granted']);
  });
});
