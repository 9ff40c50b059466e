import { readFileSync } from 'node:fs';
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  onTestFinished,
  test,
  vi,
} from 'vitest';
import { barrier, until } from '../../../test/barrier.ts';
import { defaultDurableCallTimes, StoreError } from '../src/index.ts';
import { RecoveryLoop, type RecoveryLoopOptions } from '../src/recovery-loop.ts';
import { openStage, type Scene, type Stage, told } from './durable-call-stage.ts';

/* Recovery beside everything else: when it looks, how many it is at, and how it ends. */

const EVERY_MS = 1_000;

/** A loop whose looks the test answers. */
function looped(given: Partial<RecoveryLoopOptions> = {}) {
  /** How many each look asked for. */
  const asked: number[] = [];
  const failures: unknown[] = [];
  const answers: (() => readonly Promise<unknown>[])[] = [];
  const loop = new RecoveryLoop({
    everyMs: EVERY_MS,
    most: 3,
    jitter: 0,
    async takeOver(most) {
      asked.push(most);
      return answers.shift()?.() ?? [];
    },
    sweep: async () => undefined,
    onFailed: (cause) => failures.push(cause),
    ...given,
  });
  return { loop, asked, failures, answers };
}

/** What a recovery is at, until the test lets it end. */
function slow(count: number) {
  const gates = Array.from({ length: count }, () => Promise.withResolvers<void>());
  return { calls: gates.map(({ promise }) => promise), end: (index: number) => gates[index]?.resolve() };
}

test('the README tells the defaults of the code', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const { leaseMs, retentionMs, recovery } = defaultDurableCallTimes;
  for (const told of [
    `\`leaseMs\`, ${leaseMs / 1_000} s`,
    `\`retentionMs\` (${retentionMs / 86_400_000} days)`,
  ]) {
    expect(readme).toContain(told);
  }
  const settings = {
    leaseMs: `${leaseMs / 1_000} s`,
    'recovery.everyMs': `${recovery.everyMs / 1_000} s`,
    'recovery.most': `${recovery.most}`,
    'recovery.pauseMs': `${recovery.pauseMs} ms`,
    'recovery.maxPauseMs': `${recovery.maxPauseMs / 1_000} s`,
    'recovery.jitter': `${recovery.jitter}`,
  };
  for (const [name, value] of Object.entries(settings)) {
    expect(readme).toMatch(new RegExp(`^\\| \`${name.replace('.', '\\.')}\` +\\| ${value} +\\|`, 'm'));
  }
});

describe('the loop', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

  test('sweeps once a minute, and goes on when that fails', async () => {
    let sweeps = 0;
    const gone = new StoreError('UNAVAILABLE', 'none', 'no connection');
    const { loop, asked, failures } = looped({
      sweep: async () => {
        sweeps++;
        throw gone;
      },
    });
    loop.start();
    await pass(59_000);
    expect(sweeps).toBe(0);
    await pass(2_000);
    expect([sweeps, failures]).toEqual([1, [gone]]);
    const looks = asked.length;
    await pass(61_000);
    expect(sweeps).toBe(2);
    expect(asked.length).toBeGreaterThan(looks);
    const closed = loop.close();
    await pass(EVERY_MS);
    await closed;
  });

  test('looks at once, and again after each pause, until it is closed', async () => {
    const { loop, asked } = looped();
    loop.start();
    await pass(0);
    expect(asked).toEqual([3]);
    await pass(EVERY_MS - 1);
    expect(asked).toEqual([3]);
    await pass(1);
    expect(asked).toEqual([3, 3]);
    await loop.close();
    await pass(10 * EVERY_MS);
    expect(asked).toEqual([3, 3]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('shortens its pauses by chance, so that instances do not look in step', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5);
    onTestFinished(() => void vi.restoreAllMocks());
    const { loop, asked } = looped({ jitter: 0.5 });
    loop.start();
    await pass(0.75 * EVERY_MS - 1);
    expect(asked).toEqual([3]);
    await pass(1);
    expect(asked).toEqual([3, 3]);
    await loop.close();
  });

  test('looks again at once when it was given as many as it asked for', async () => {
    const { loop, asked, answers } = looped();
    const all = () => Array.from({ length: 3 }, () => Promise.resolve());
    answers.push(all, all, () => [Promise.resolve()]);
    loop.start();
    await pass(0);
    expect(asked).toEqual([3, 3, 3]);
    await loop.close();
  });

  test('is at no more than so many, and one that takes long holds up none of the others', async () => {
    const { loop, asked, answers } = looped();
    const { calls, end } = slow(3);
    const [first, second, third] = calls as [Promise<void>, Promise<void>, Promise<void>];
    answers.push(
      () => [first],
      () => [second, Promise.resolve()],
      () => [third],
    );
    loop.start();
    await pass(0);
    // Two at once beside the slow one, then one beside two slow ones.
    expect(asked).toEqual([3]);
    await pass(EVERY_MS);
    expect(asked).toEqual([3, 2, 1]);
    // Three are under way: nobody is asked for more, however long it takes.
    await pass(10 * EVERY_MS);
    expect(asked).toEqual([3, 2, 1]);
    end(1);
    await pass(0);
    expect(asked).toEqual([3, 2, 1, 1]);
    end(0);
    end(2);
    await loop.close();
  });

  test('a look that fails is told, and the next one comes', async () => {
    const { loop, asked, failures, answers } = looped();
    const cause = new StoreError('UNAVAILABLE', 'none', 'no connection');
    answers.push(() => {
      throw cause;
    });
    loop.start();
    await pass(0);
    expect([asked, failures]).toEqual([[3], [cause]]);
    await pass(EVERY_MS);
    expect([asked, failures]).toEqual([[3, 3], [cause]]);
    await loop.close();
  });

  test('close waits for what it is at, and for a look that is under way, whose calls it still recovers', async () => {
    const looking = Promise.withResolvers<void>();
    const { calls, end } = slow(1);
    const { loop, asked } = looped({
      async takeOver(most) {
        asked.push(most);
        await looking.promise;
        return calls;
      },
    });
    loop.start();
    await pass(0);
    let closed = false;
    const closing = loop.close().then(() => {
      closed = true;
    });
    looking.resolve();
    await pass(EVERY_MS);
    expect([asked, closed]).toEqual([[3], false]);
    end(0);
    await closing;
  });

  test('is one however often it is started, and none once it is closed', async () => {
    const { loop, asked } = looped();
    loop.start();
    loop.start();
    await pass(0);
    expect(asked).toEqual([3]);
    await Promise.all([loop.close(), loop.close()]);
    loop.start();
    await pass(10 * EVERY_MS);
    expect(asked).toEqual([3]);

    const never = looped();
    await never.loop.close();
    never.loop.start();
    await pass(EVERY_MS);
    expect(never.asked).toEqual([]);
  });
});

describe.each(['postgres', 'mariadb'] as const)('%s', (name) => {
  let stage: Stage;
  let scene: Scene;

  beforeAll(async () => {
    stage = await openStage(name);
  });

  afterAll(() => stage.close());

  beforeEach(() => {
    scene = stage.scene();
  });

  const RECOVERY = { everyMs: 5, pauseMs: 1, maxPauseMs: 1 };

  test('two instances recover what others have left, each call once, beside one that takes long', async () => {
    const slowIsLookedUp = barrier(2);
    const slowGoesOn = barrier(2);
    scene.receiver.script('look-up', async (honestly) => {
      await slowIsLookedUp();
      await slowGoesOn();
      return honestly();
    });
    const instances = [0, 1].map(() => scene.instance({ recovery: { ...RECOVERY, most: 2 } }));
    for (const { calls } of instances) calls.start();
    const left = async () => {
      const parcel = await scene.parcel();
      scene.receiver.script('send', (honestly) => {
        honestly();
        return { outcome: 'unknown', code: 'TIMEOUT' };
      });
      await scene.instance().book(parcel);
      return parcel;
    };
    const slowOne = await left();
    await slowIsLookedUp();
    const others: string[] = [];
    for (let count = 0; count < 8; count++) others.push(await left());
    for (const parcel of others) {
      await until(async () => (await stage.rows(parcel)).state === 'BOOKED');
    }
    expect(await stage.rows(slowOne)).toMatchObject({ state: 'BOOKING' });
    const closing = Promise.all(instances.map(({ calls }) => calls.close()));
    await slowGoesOn();
    await closing;
    expect(await stage.rows(slowOne)).toMatchObject({ state: 'BOOKED', receipts: 1 });
    expect(scene.receiver.heard.filter((what) => what.startsWith('look-up'))).toHaveLength(9);
    for (const { events } of instances) expect(events).toEqual([]);
  });

  test('while the store fails it is told so; when it is back, it goes on', async () => {
    let fails = true;
    const cause = new StoreError('UNAVAILABLE', 'none', 'no connection');
    const { calls, events, book } = scene.instance({
      recovery: RECOVERY,
      store: (store) => ({
        ...store,
        takeOver: (...given) => (fails ? Promise.reject(cause) : store.takeOver(...given)),
      }),
    });
    const parcel = await scene.parcel();
    scene.receiver.script('send', () => ({ outcome: 'unknown', code: 'TIMEOUT' }));
    await book(parcel);
    calls.start();
    await until(() => events.filter(({ kind }) => kind === 'recovery-failed').length >= 2);
    expect(events.at(-1)).toEqual({ kind: 'recovery-failed', cause });
    fails = false;
    await until(async () => (await stage.rows(parcel)).state === 'BOOKED');
    await calls.close();
    expect(told(await book(parcel))).toMatchObject({ outcome: 'done', replayed: true });
  });
});
