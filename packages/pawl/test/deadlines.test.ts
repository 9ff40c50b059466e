import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Deadlines } from '../src/deadlines.ts';

const LIMIT_MS = 1_000;

// The clock stands still but for the test, so that a moment is exactly that.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const passes = (ms: number) => vi.advanceTimersByTime(ms);

function start(): { readonly deadlines: Deadlines<string>; readonly late: string[] } {
  const late: string[] = [];
  return { deadlines: new Deadlines(LIMIT_MS, (item: string) => late.push(item)), late };
}

test('what has lasted for the limit is told, not before, and once', () => {
  const { deadlines, late } = start();
  deadlines.add('one');
  passes(LIMIT_MS - 1);
  expect(late).toEqual([]);
  passes(1);
  expect(late).toEqual(['one']);
  passes(10 * LIMIT_MS);
  expect(late).toEqual(['one']);
});

test('each has the whole limit, whenever it came', () => {
  const { deadlines, late } = start();
  deadlines.add('one');
  passes(400);
  deadlines.add('two');
  passes(400);
  deadlines.add('three');
  passes(200);
  expect(late).toEqual(['one']);
  passes(399);
  expect(late).toEqual(['one']);
  passes(1);
  expect(late).toEqual(['one', 'two']);
  passes(400);
  expect(late).toEqual(['one', 'two', 'three']);
});

test('what has ended in time is never told, also if it was what the timer was set for', () => {
  const { deadlines, late } = start();
  const one = deadlines.add('one');
  passes(400);
  deadlines.add('two');
  deadlines.delete(one);
  passes(LIMIT_MS - 1);
  expect(late).toEqual([]);
  passes(1);
  expect(late).toEqual(['two']);
});

test('what comes when all before has been told, or has ended, has its own limit', () => {
  const { deadlines, late } = start();
  deadlines.add('one');
  passes(LIMIT_MS);
  passes(LIMIT_MS / 2);
  const two = deadlines.add('two');
  deadlines.delete(two);
  passes(LIMIT_MS / 2);
  deadlines.add('three');
  passes(LIMIT_MS - 1);
  expect(late).toEqual(['one']);
  passes(1);
  expect(late).toEqual(['one', 'three']);
});

test('what has been told, and is deleted then, takes nobody else with it', () => {
  const { deadlines, late } = start();
  const one = deadlines.add('one');
  passes(400);
  deadlines.add('two');
  deadlines.add('three');
  passes(600);
  deadlines.delete(one);
  passes(400);
  expect(late).toEqual(['one', 'two', 'three']);
});

test('after a standstill all that is late is told at once, in its order', () => {
  const { deadlines, late } = start();
  deadlines.add('one');
  passes(100);
  deadlines.add('two');
  passes(100);
  const now = performance.now();
  vi.spyOn(performance, 'now').mockReturnValue(now + 10 * LIMIT_MS);
  passes(LIMIT_MS - 200);
  expect(late).toEqual(['one', 'two']);
});

test('what is late is forgotten before it is told: it may be told of again', () => {
  const late: number[] = [];
  const deadlines = new Deadlines(LIMIT_MS, (item: string) => {
    late.push(performance.now());
    if (late.length < 3) setTimeout(() => deadlines.add(item), 0);
  });
  const beganAtMs = performance.now();
  deadlines.add('one');
  passes(10 * LIMIT_MS);
  expect(late.map((atMs) => Math.round((atMs - beganAtMs) / LIMIT_MS))).toEqual([1, 2, 3]);
});

test('one that fails to be told keeps no other from it', () => {
  const late: string[] = [];
  const deadlines = new Deadlines(LIMIT_MS, (item: string) => {
    if (item === 'fails') throw new Error(item);
    late.push(item);
  });
  deadlines.add('fails');
  deadlines.add('at the same time');
  passes(400);
  deadlines.add('later');
  expect(() => passes(600)).toThrow('fails');
  passes(1);
  expect(late).toEqual(['at the same time']);
  passes(399);
  expect(late).toEqual(['at the same time', 'later']);
});

test('one timer watches over a thousand things, and none when there are none', () => {
  const { deadlines, late } = start();
  for (let count = 0; count < 1_000; count++) deadlines.add(String(count));
  expect(vi.getTimerCount()).toBe(1);
  passes(LIMIT_MS);
  expect([late.length, vi.getTimerCount()]).toEqual([1_000, 0]);
});
