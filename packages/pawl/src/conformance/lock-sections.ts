import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { LockEvent } from '../lock-hold.ts';
import { done } from '../outcome.ts';
import { job } from './job.ts';
import { MOST_AT_ONCE } from './lock-times.ts';
import type { LockTimes } from './locks-world.ts';
import { locksOf } from './world.ts';

/** One stay under a lock. */
export interface Section {
  readonly token: number;
  /** By the clock of the machine, which all processes share and nobody sets, in nanoseconds. */
  readonly enteredNs: number;
  readonly leftNs: number;
}

const SECTION_MS = 1;

const nowNs = () => Number(process.hrtime.bigint());

async function section(token: number): Promise<Section> {
  const enteredNs = nowNs();
  await sleep(SECTION_MS);
  return { token, enteredNs, leftNs: nowNs() };
}

/** What the lock prevents. */
export const workUnlocked = job('distributed-lock/work-unlocked', ['ready'], async ({ index, meet }) => {
  await meet('ready');
  return section(index);
});

/** Works under the lock, again and again; meets at `served` when it has had its turn so often, and ends at `stop`. */
export const work = job(
  'distributed-lock/work',
  [],
  async (
    { world, meet },
    { key, sections, ...times }: LockTimes & { readonly key: string; readonly sections: number },
  ): Promise<readonly Section[]> => {
    const { locks } = locksOf(world).of(times);
    const worked: Section[] = [];
    let stopped = false;
    await meet('ready');
    void meet('stop').then(() => {
      stopped = true;
    });
    while (!stopped) {
      const outcome = await locks.run(key, async ({ token }) => done(await section(token)));
      assert.equal(outcome.outcome, 'done', `a worker was refused after ${worked.length} sections`);
      if (outcome.outcome === 'done') worked.push(outcome.value);
      if (worked.length === sections) void meet('served');
    }
    return worked;
  },
);

export interface Held {
  /** Undefined when its work did not run. */
  readonly section: Section | undefined;
  readonly outcome: 'done' | 'refused' | 'threw';
  /** The error with which its signal had been aborted by the end of its work. */
  readonly lost: string | undefined;
  readonly events: readonly LockEvent['kind'][];
}

class WorkFailed extends Error {
  override readonly name = 'WorkFailed';
}

interface HoldOptions extends LockTimes {
  readonly keys: readonly string[];
  readonly throws?: boolean;
  /** Does not look at its signal before it leaves. */
  readonly heedless?: boolean;
}

/**
 * Stays under the lock, each racer under the next of the keys, until it may pass `in the section`. It is at `told` as soon as
 * it hears that its lock is lost.
 */
export const hold = job(
  'distributed-lock/hold',
  [],
  async ({ world, index, meet }, { keys, throws, heedless, ...times }: HoldOptions): Promise<Held> => {
    const { locks, events } = locksOf(world).of(times);
    let held: Section | undefined;
    let lost: string | undefined;
    const running = locks.run(keys[index % keys.length] ?? '', async (lease) => {
      const enteredNs = nowNs();
      if (!heedless) lease.signal.addEventListener('abort', () => void meet('told'), { once: true });
      await meet('in the section');
      held = { token: lease.token, enteredNs, leftNs: nowNs() };
      if (lease.signal.aborted) lost = lease.signal.reason.name;
      if (throws) throw new WorkFailed();
      return done(undefined);
    });
    const { outcome } = await running.catch((error: unknown) => {
      if (error instanceof WorkFailed) return { outcome: 'threw' as const };
      throw error;
    });
    return { section: held, outcome, lost, events: [...events] };
  },
);

/** Closes the locks of these times, and asks for one more. */
export const closeLocks = job(
  'distributed-lock/close',
  [],
  async ({ world }, { key, ...times }: LockTimes & { readonly key: string }): Promise<string> => {
    const { locks } = locksOf(world).of(times);
    await locks.close();
    return (await locks.run(key, async () => done(undefined))).outcome;
  },
);

const KEY_LENGTH = 5_000;
/** How often the heap is looked at while it is too large. */
const LOOKS = 5;

interface UseOnceOptions extends LockTimes {
  readonly name: string;
  readonly keys: number;
  readonly allowedBytes: number;
}

/**
 * Uses long keys once each, in two rounds, so many at once that a pool has opened all its connections in the first.
 *
 * @returns by how many bytes the second has let the heap grow, when a lease has passed, and some more where it is still too much.
 */
export const useOnce = job(
  'distributed-lock/use-once',
  [],
  async ({ world }, { name, keys, allowedBytes, ...times }: UseOnceOptions): Promise<number> => {
    const { locks } = locksOf(world).of(times);
    async function round(number: number): Promise<void> {
      for (let first = 0; first < keys; first += MOST_AT_ONCE) {
        const some = Array.from(
          { length: Math.min(MOST_AT_ONCE, keys - first) },
          (_, index) => first + index,
        );
        const outcomes = await Promise.all(
          some.map((index) => locks.run(usedOnce(name, number, index), async () => done(undefined))),
        );
        for (const { outcome } of outcomes) assert.equal(outcome, 'done');
      }
    }
    await round(1);
    await sleep(times.leaseMs);
    const before = usedHeap();
    await round(2);
    let grown = Number.POSITIVE_INFINITY;
    for (let look = 0; look < LOOKS && grown > allowedBytes; look++) {
      await sleep(times.leaseMs);
      grown = usedHeap() - before;
    }
    return grown;
  },
);

function usedOnce(name: string, round: number, index: number): string {
  // A text that is put together would take no more room than its parts.
  return Buffer.alloc(KEY_LENGTH, `${name} ${round} ${index} `).toString('latin1');
}

/** In bytes, without what nobody refers to. */
function usedHeap(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed;
}

export const distributedLockJobs = [workUnlocked, work, hold, closeLocks, useOnce];

/** All who are in a section while another is. */
export function overlaps(sections: readonly Section[]): number {
  return inOrder(sections).filter(
    ({ leftNs }, index, all) => leftNs > (all[index + 1]?.enteredNs ?? Infinity),
  ).length;
}

function inOrder<Any extends Section>(sections: readonly Any[]): readonly Any[] {
  return sections.toSorted((one, other) => one.enteredNs - other.enteredNs);
}

/** @throws AssertionError  Two were in it at once. */
export function neverTwo(sections: readonly Section[]): void {
  assert.equal(overlaps(sections), 0, `of ${sections.length} sections`);
}

/** @throws AssertionError  One has a token that is not greater than those of all who came before. */
export function tokensGrow(sections: readonly Section[]): void {
  const tokens = inOrder(sections).map(({ token }) => token);
  assert.ok(tokens.every(Number.isSafeInteger), 'tokens are whole numbers');
  const falling = tokens.findIndex((token, index) => token <= (tokens[index - 1] ?? 0));
  assert.equal(
    falling,
    -1,
    `the tokens of two sections: ${tokens.slice(Math.max(0, falling - 1), falling + 1)}`,
  );
}

/** The section of one who was to have the lock to its end. @throws AssertionError  It was not let in, or was told of a loss. */
export function keptIt(held: Held): Section {
  assert.deepEqual(held.events, []);
  return hadIt(held);
}

/** The same of one who may have heard of troubles before or after it. */
export function hadIt({ section, outcome, lost }: Held): Section {
  assert.deepEqual({ outcome, lost }, { outcome: 'done', lost: undefined });
  return section ?? assert.fail('the work has run');
}

/** The section of one who lost the lock meanwhile, and was told. */
export function lostIt({ section, outcome, lost, events }: Held): Section {
  assert.deepEqual({ outcome, lost }, { outcome: 'done', lost: 'LeaseLostError' });
  assert.ok(events.includes('lease-lost'), `it was told of ${events.join(', ') || 'nothing'}`);
  return section ?? assert.fail('the work has run');
}

/** @throws AssertionError  It was let in. */
export function wasRefused({ section, outcome }: Held): void {
  assert.deepEqual({ outcome, worked: section !== undefined }, { outcome: 'refused', worked: false });
}
