import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type IdempotencyKeyOptions, idempotencyKeys } from '../idempotency-key.ts';
import { recordIdOf } from '../idempotency-request.ts';
import type { IdempotencyEvent } from '../idempotency-run.ts';
import { done } from '../outcome.ts';
import { newAnswer, requestOf, type Seen, type SeenAnswer, seen } from './answers.ts';
import type { ConformanceCase } from './case.ts';
import { job, type Racer } from './job.ts';
import { onlyValue, RACERS, race, values } from './race.ts';
import type { OnRecordsBench, RecordsBench } from './records-bench.ts';
import { recordsOf } from './world.ts';

/** So long that no lease is over only because a machine is slow, in milliseconds. */
const LONG_MS = 300_000;
/** A lease that somebody waits for to be over, in milliseconds. */
const SHORT_MS = 500;
/** The lease of a process that is killed: others have to come while it lasts, in milliseconds. */
const KILLED_LEASE_MS = 2_000;
/** What a loaded machine may need beside the lease until somebody else runs, in milliseconds. */
const KILLED_MARGIN_MS = 20_000;
const LOOK_AGAIN_MS = 20;

/** What the key does not do: each looks for an answer, finds none, and runs. */
const lookThenRun = job('leased-key/look-then-run', ['looked'], async (racer, { key }: { key: string }) => {
  const { store, runs } = recordsOf(racer.world);
  const found = await store.read(recordIdOf(requestOf(key)));
  await racer.meet('looked');
  if (found !== undefined) return false;
  await runs.note(key);
  return true;
});

const ask = job(
  'leased-key/ask',
  ['ready'],
  async ({ world, meet }, { key, handlerMs }: { key: string; handlerMs: number }) => {
    const { store, runs } = recordsOf(world);
    const keys = idempotencyKeys(store, { leaseMs: LONG_MS });
    await meet('ready');
    const outcome = await keys.run(requestOf(key), async () => {
      await runs.note(key);
      if (handlerMs > 0) await sleep(handlerMs);
      return done(newAnswer());
    });
    return seen(outcome);
  },
);

interface Held {
  readonly seen: Seen;
  readonly events: readonly IdempotencyEvent['kind'][];
  readonly attempt: number;
}

type HoldOptions = Pick<IdempotencyKeyOptions, 'leaseMs' | 'renewForMs'> & { readonly key: string };

/** Stays in its handler until it is told to go on. Whoever is told that his outcome is unknown asks until he knows. */
const hold = job('leased-key/hold', [], async (racer, { key, ...times }: HoldOptions): Promise<Held> => {
  const { store, runs } = recordsOf(racer.world);
  const events: IdempotencyEvent['kind'][] = [];
  const keys = idempotencyKeys(store, { ...times, onEvent: ({ kind }) => events.push(kind) });
  let attempt = 0;
  const run = () =>
    keys.run(requestOf(key), async (lease) => {
      attempt = lease.attempt;
      await runs.note(key);
      await racer.meet('in the handler');
      return done(newAnswer());
    });
  let outcome = await run();
  while (outcome.outcome === 'refused' && attempt === 0) {
    await sleep(LOOK_AGAIN_MS);
    outcome = await run();
  }
  if (outcome.outcome === 'unknown') await racer.meet('unknown');
  return { seen: seen(await resolved(outcome)), events, attempt };
});

interface Asked {
  readonly refused: readonly Seen[];
  readonly seen: Seen;
  readonly attempt: number;
}

/** Asks again and again while somebody else is at work, until it runs the handler itself or is answered. */
const askUntilAnswered = job(
  'leased-key/ask-until-answered',
  [],
  async ({ world, meet }: Racer, { key }: { key: string }): Promise<Asked> => {
    const { store, runs } = recordsOf(world);
    const keys = idempotencyKeys(store, { leaseMs: LONG_MS });
    const refused: Seen[] = [];
    let attempt = 0;
    for (;;) {
      const outcome = await keys.run(requestOf(key), async (lease) => {
        attempt = lease.attempt;
        await runs.note(key);
        return done(newAnswer());
      });
      if (outcome.outcome !== 'refused') return { refused, seen: seen(outcome), attempt };
      refused.push(seen(outcome));
      if (refused.length === 1) await meet('refused');
      await sleep(LOOK_AGAIN_MS);
    }
  },
);

type AnyOutcome = Parameters<typeof seen>[0] & { resolve?(): Promise<AnyOutcome> };

async function resolved(outcome: AnyOutcome): Promise<AnyOutcome> {
  let known = outcome;
  while (known.outcome === 'unknown' && known.resolve !== undefined) {
    await sleep(LOOK_AGAIN_MS);
    known = await known.resolve();
  }
  return known;
}

export const leasedKeyJobs = [lookThenRun, ask, hold, askUntilAnswered];

export interface LeasedKeyOptions {
  /** Whether racers run in two processes, of which one may be stopped and killed. */
  readonly processes: 1 | 2;
  /** How often 50 identical keys are raced. */
  readonly trials: number;
}

export function leasedKeyCases(
  onBench: OnRecordsBench,
  { processes, trials }: LeasedKeyOptions,
): readonly ConformanceCase[] {
  const where = processes === 1 ? 'in one process' : 'over two processes';
  return [
    {
      name: `leased key: without it, ${RACERS} identical requests ${where} that look first all run`,
      run: () =>
        onBench(async ({ hosts, runs }) => {
          const key = randomUUID();
          const ran = values(await race(await hosts(), lookThenRun, { key }));
          assert.equal(ran.filter(Boolean).length, RACERS);
          assert.equal(await runs.count(key), RACERS);
        }),
    },
    ...[0, 50].map(
      (handlerMs): ConformanceCase => ({
        name: `leased key: ${RACERS} identical keys ${where} run a handler of ${handlerMs} ms once, in ${trials} trials of ${trials}`,
        run: () =>
          onBench(async (bench) => {
            const hosts = await bench.hosts();
            let inProgress = 0;
            for (let trial = 1; trial <= trials; trial++) {
              const key = randomUUID();
              const all = values(await race(hosts, ask, { key, handlerMs }));
              inProgress += await ranOnce(bench, key, all, `trial ${trial}`);
            }
            assert.ok(handlerMs === 0 || inProgress > 0, 'nobody came while the handler was at work');
          }),
      }),
    ),
    {
      name: 'leased key: a handler that stands still for longer than its lease has a successor, whose answer is the only one',
      run: () =>
        onBench(async (bench) => {
          const [first, second] = await bench.hosts();
          const key = randomUUID();
          const stalled = first.start(hold, { key, leaseMs: SHORT_MS, renewForMs: 0 });
          await stalled.reached('in the handler');
          const winner = tookOver(await askedBy(second, key));
          stalled.pass('in the handler');
          await wasOvertaken(bench, key, await onlyValue(stalled), winner);
        }),
    },
    {
      name: 'leased key: a late completion is unknown while the successor is at work, and then the successor’s answer',
      run: () =>
        onBench(async (bench) => {
          const [first, second] = await bench.hosts();
          const key = randomUUID();
          const stalled = first.start(hold, { key, leaseMs: SHORT_MS, renewForMs: 0 });
          await stalled.reached('in the handler');
          const successor = second.start(hold, { key, leaseMs: LONG_MS });
          await successor.reached('in the handler');
          stalled.pass('in the handler');
          await stalled.reached('unknown');
          successor.pass('in the handler');
          const { seen, attempt, events } = await onlyValue(successor);
          assert.deepEqual(events, []);
          const winner = tookOver({ seen, attempt, refused: [] });
          stalled.pass('unknown');
          await wasOvertaken(bench, key, await onlyValue(stalled), winner);
        }),
    },
    ...(processes === 1 ? [] : inTwoProcesses(onBench)),
  ];
}

function inTwoProcesses(onBench: OnRecordsBench): readonly ConformanceCase[] {
  return [
    {
      name: 'leased key: a process that is stopped in its handler has a successor, and its late completion is refused',
      run: () =>
        onBench(async (bench) => {
          const [first, second] = await bench.hosts();
          const key = randomUUID();
          const stopped = first.start(hold, { key, leaseMs: SHORT_MS });
          await stopped.reached('in the handler');
          await first.signal('SIGSTOP');
          const winner = tookOver(await askedBy(second, key));
          await first.signal('SIGCONT');
          stopped.pass('in the handler');
          await wasOvertaken(bench, key, await onlyValue(stopped), winner);
        }),
    },
    {
      name: 'leased key: a process that is killed in its handler blocks its key, and no longer than the lease',
      run: () =>
        onBench(async ({ hosts, runs }) => {
          const [first, second] = await hosts();
          const key = randomUUID();
          const killed = first.start(hold, { key, leaseMs: KILLED_LEASE_MS });
          await killed.reached('in the handler');
          await first.signal('SIGKILL');
          const killedAtMs = performance.now();
          const asking = second.start(askUntilAnswered, { key });
          await asking.reached('refused');
          asking.pass('refused');
          const { refused, attempt } = await onlyValue(asking);
          const blockedMs = performance.now() - killedAtMs;
          assert.equal(attempt, 2);
          assert.equal(await runs.count(key), 2);
          for (const { reason, retryAfterMs = Number.NaN } of refused) {
            assert.equal(reason, 'in-progress');
            assert.ok(
              retryAfterMs >= 0 && retryAfterMs <= KILLED_LEASE_MS,
              `retryAfterMs is ${retryAfterMs}`,
            );
          }
          assert.ok(blockedMs <= KILLED_LEASE_MS + KILLED_MARGIN_MS, `blocked for ${blockedMs} ms`);
        }),
    },
  ];
}

/** Asks by way of a host, and goes on when it has been refused. */
async function askedBy(
  host: Awaited<ReturnType<RecordsBench['hosts']>>[number],
  key: string,
): Promise<Asked> {
  const asking = host.start(askUntilAnswered, { key });
  // Nobody waits for it there.
  asking.pass('refused');
  return onlyValue(asking);
}

function tookOver({ seen, attempt }: Asked): SeenAnswer {
  assert.equal(attempt, 2);
  assert.deepEqual([seen.outcome, seen.replayed], ['done', false]);
  assert.ok(seen.answer);
  return seen.answer;
}

/** Whoever came too late has run, was told so, and was given the winner's answer, as is everybody from now on. */
async function wasOvertaken(bench: RecordsBench, key: string, late: Held, winner: SeenAnswer): Promise<void> {
  assert.equal(late.attempt, 1);
  assert.ok(late.events.includes('lease-lost'), `it was told of ${late.events.join(', ') || 'nothing'}`);
  assert.deepEqual(late.seen, { outcome: 'done', replayed: true, answer: winner });
  assert.equal(await bench.runs.count(key), 2);
  await isReplayed(bench, key, winner);
}

/** All who come from now on are given this answer. */
export async function isReplayed({ store }: RecordsBench, key: string, answer: SeenAnswer): Promise<void> {
  const again = await idempotencyKeys(store).run(requestOf(key), async () =>
    assert.fail('a key that has its answer ran again'),
  );
  assert.deepEqual(seen(again), { outcome: 'done', replayed: true, answer });
}

/** @returns how many were refused. @throws AssertionError  Not exactly one has run, or not all saw its answer. */
async function ranOnce(
  bench: RecordsBench,
  key: string,
  all: readonly Seen[],
  trial: string,
): Promise<number> {
  const [winner, ...others] = all.filter(({ outcome, replayed }) => outcome === 'done' && !replayed);
  assert.ok(winner?.answer !== undefined && others.length === 0, `${trial}: ${others.length + 1} ran`);
  assert.equal(await bench.runs.count(key), 1, trial);
  let refused = 0;
  for (const { retryAfterMs, ...one } of all) {
    if (one.outcome === 'refused') {
      refused++;
      assert.deepEqual(one, { outcome: 'refused', reason: 'in-progress' }, trial);
    } else assert.deepEqual(one.answer, winner.answer, trial);
  }
  await isReplayed(bench, key, winner.answer);
  return refused;
}
