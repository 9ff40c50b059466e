import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { TOKENS_PER_GRANT } from '../lock-store.ts';
import type { ConformanceCase } from './case.ts';
import { distributedLockConnectionCases } from './distributed-lock-connections.ts';
import { distributedLockProcessCases } from './distributed-lock-processes.ts';
import type { OnLockBench } from './lock-bench.ts';
import {
  closeLocks,
  type Held,
  hold,
  keptIt,
  lostIt,
  neverTwo,
  overlaps,
  type Section,
  tokensGrow,
  useOnce,
  wasRefused,
  work,
  workUnlocked,
} from './lock-sections.ts';
import { LONG, NO_WAIT, SHORT } from './lock-times.ts';
import { onlyValue, race, type TwoHosts, values } from './race.ts';
import type { Run } from './racer-host.ts';

const WORKERS = 64;
/** What each worker has at least had, where all are judged by their shares. */
const FAIR_SECTIONS = 10;
/** How long a starved worker is waited for, in milliseconds: then shares are judged as they are. */
const STARVED_MS = 8_000;
/** More than two grants serve. */
const CROWD = 40;
const RENEWED_LEASE_MS = 1_000;
/** Longer than two of these leases. */
const RENEWED_FOR_MS = 2_100;
const IMPATIENT_MS = 200;
/** Longer than anything here is waited for. */
const ENDLESS_MS = 300_000;
const USED_ONCE = 1_000;
/** Half of what the keys alone would take. */
const GROWN_BYTES = (USED_ONCE * 5_000) / 2;

/**
 * What is taken for one key by whoever folds case, width or form, does without blanks or the end of what is long, or makes
 * names of his own of them.
 */
function similarKeys(): readonly string[] {
  const name = randomUUID();
  const long = name.padEnd(4_999, '.');
  const similar = [
    'key',
    'Key',
    'KEY',
    'key ',
    ' key',
    'k ey',
    'ｋｅｙ',
    'k\u00e9y',
    'ke\u0301y',
    'key}',
    '{key',
  ];
  const ofStores = ['key:queue', 'key:waiting', 'queue:key'];
  return ['ḵ', long, `${long}a`, `${long}b`, ...[...similar, ...ofStores].map((key) => name + key)];
}

export interface DistributedLockOptions {
  /** Whether hosts run in two processes, of which one may be stopped and killed. */
  readonly processes: 1 | 2;
  /** Whether there is a server, connections to which may be cut. */
  readonly server: boolean;
}

/** What a lock over all processes must hold on every store: `LockStore`. */
export function distributedLockCases(
  onBench: OnLockBench,
  { processes, server }: DistributedLockOptions,
): readonly ConformanceCase[] {
  const where = processes === 1 ? 'in one process' : 'over two processes';
  return [
    {
      name: `distributed lock: without it, ${WORKERS} workers ${where} are at work at once`,
      run: () =>
        onBench(async ({ hosts }) => {
          const sections = values(await race(await hosts(), workUnlocked, undefined, WORKERS));
          assert.notEqual(overlaps(sections), 0);
        }),
    },
    {
      name: `distributed lock: with it, of ${WORKERS} workers ${where} never two are, and tokens grow in the order of their sections`,
      run: () =>
        onBench(async ({ hosts }) => {
          const all = (await workedBy(await hosts(), 2)).flat(2);
          neverTwo(all);
          tokensGrow(all);
        }),
    },
    {
      name: `distributed lock: each of ${WORKERS} workers ${where} has between half and twice the mean share`,
      run: () =>
        onBench(async ({ hosts }) => {
          const workers = (await workedBy(await hosts(), FAIR_SECTIONS)).flat();
          const shares = workers.map(({ length }) => length);
          const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length;
          assert.ok(Math.min(...shares) >= mean / 2, `${Math.min(...shares)} of ${mean} in the mean`);
          assert.ok(Math.max(...shares) <= mean * 2, `${Math.max(...shares)} of ${mean} in the mean`);
        }),
    },
    {
      name: `distributed lock: who joins waits for at most ${TOKENS_PER_GRANT} sections of a host in which ${CROWD} wait`,
      run: () =>
        onBench(async ({ hosts, here, queued }) => {
          const [[busy], joining] = [await hosts(), await here()];
          const keys = [randomUUID()];
          const first = busy.start(hold, { keys, ...LONG });
          await first.reached('in the section');
          const crowd = busy.start(hold, { keys, ...LONG }, { first: 1, count: CROWD });
          crowd.pass('in the section');
          const joiner = joining.start(hold, { keys, ...LONG });
          joiner.pass('in the section');
          await queued(1);
          first.pass('in the section');
          const [mine, own] = [keptIt(await onlyValue(joiner)), keptIt(await onlyValue(first))];
          const others = [own, ...values(await crowd.ended).map(keptIt)];
          const before = others.filter(({ enteredNs }) => enteredNs < mine.enteredNs).length;
          assert.ok(before <= TOKENS_PER_GRANT, `${before} were served before it`);
          tokensGrow([mine, ...others]);
        }),
    },
    {
      name: 'distributed lock: who does not want to wait takes what is free, and is refused what is held',
      run: () =>
        onBench(async ({ hosts }) => {
          const [first, second] = await hosts();
          const keys = [randomUUID()];
          const holder = first.start(hold, { keys, ...NO_WAIT });
          await holder.reached('in the section');
          for (const host of [first, second]) wasRefused(await at(host.start(hold, { keys, ...NO_WAIT })));
          holder.pass('in the section');
          const sections = [keptIt(await onlyValue(holder))];
          for (const host of [first, second]) {
            sections.push(keptIt(await at(host.start(hold, { keys, ...NO_WAIT }))));
          }
          tokensGrow(sections);
        }),
    },
    {
      name: 'distributed lock: who has waited for long enough is refused, and nobody waits longer for that',
      run: () =>
        onBench(async ({ hosts, here, queued }) => {
          const [[first, second], third] = [await hosts(), await here()];
          const keys = [randomUUID()];
          const holder = first.start(hold, { keys, ...LONG });
          await holder.reached('in the section');
          const impatient = second.start(
            hold,
            { keys, ...LONG, waitMs: IMPATIENT_MS },
            { first: 0, count: 3 },
          );
          impatient.pass('in the section');
          const next = third.start(hold, { keys, ...LONG });
          for (const one of values(await impatient.ended)) wasRefused(one);
          await queued(1);
          holder.pass('in the section');
          await next.reached('in the section');
          next.pass('in the section');
          tokensGrow([keptIt(await onlyValue(holder)), keptIt(await onlyValue(next))]);
          keptIt(await at(first.start(hold, { keys, ...LONG })));
        }),
    },
    {
      name: 'distributed lock: who works for longer than the lease keeps it',
      run: () =>
        onBench(async ({ hosts, queued }) => {
          const [first, second] = await hosts();
          const keys = [randomUUID()];
          const long = first.start(hold, { keys, heedless: true, ...LONG, leaseMs: RENEWED_LEASE_MS });
          await long.reached('in the section');
          const next = second.start(hold, { keys, ...LONG });
          next.pass('in the section');
          await queued(1);
          await sleep(RENEWED_FOR_MS);
          long.pass('in the section');
          const sections = [keptIt(await onlyValue(long)), keptIt(await onlyValue(next))];
          neverTwo(sections);
          tokensGrow(sections);
        }),
    },
    {
      name: 'distributed lock: who is no longer renewed is told, and its late end takes nothing from the next',
      run: () =>
        onBench(async ({ hosts, here }) => {
          const [[first, second], third] = [await hosts(), await here()];
          const keys = [randomUUID()];
          const late = first.start(hold, { keys, ...SHORT, renewForMs: 0 });
          await late.reached('in the section');
          const next = second.start(hold, { keys, ...LONG });
          await next.reached('in the section');
          await late.reached('told');
          late.pass('in the section');
          const lost = lostIt(await onlyValue(late));
          wasRefused(await at(third.start(hold, { keys, ...NO_WAIT })));
          next.pass('in the section');
          const kept = keptIt(await onlyValue(next));
          assert.ok(kept.token > lost.token, `${kept.token} after ${lost.token}`);
        }),
    },
    {
      name: 'distributed lock: work that throws gives it back',
      run: () =>
        onBench(async ({ hosts }) => {
          const [first, second] = await hosts();
          const keys = [randomUUID()];
          const thrower = await at(first.start(hold, { keys, throws: true, ...LONG }));
          assert.deepEqual([thrower.outcome, thrower.events], ['threw', []]);
          keptIt(await at(second.start(hold, { keys, ...NO_WAIT })));
        }),
    },
    {
      name: 'distributed lock: when it is closed, who waits is refused, and who works comes to an end',
      run: () =>
        onBench(async ({ hosts, queued }) => {
          const [closing, other] = await hosts();
          const [own, others] = [randomUUID(), randomUUID()];
          const times = { ...LONG, waitMs: ENDLESS_MS };
          const holder = closing.start(hold, { keys: [own], ...times });
          const elsewhere = other.start(hold, { keys: [others], ...LONG });
          await Promise.all([holder.reached('in the section'), elsewhere.reached('in the section')]);
          const waiting = closing.start(hold, { keys: [own, others], ...times }, { first: 0, count: 4 });
          await queued(1);
          const closed = closing.start(closeLocks, { key: randomUUID(), ...times });
          for (const one of values(await waiting.ended)) wasRefused(one);
          wasRefused(await at(other.start(hold, { keys: [own], ...NO_WAIT })));
          holder.pass('in the section');
          keptIt(await onlyValue(holder));
          assert.equal(await onlyValue(closed), 'refused');
          elsewhere.pass('in the section');
          keptIt(await onlyValue(elsewhere));
          for (const key of [own, others]) {
            keptIt(await at(other.start(hold, { keys: [key], ...LONG })));
          }
        }),
    },
    {
      name: 'distributed lock: keys are told apart byte by byte, and nobody waits for another key',
      run: () =>
        onBench(async ({ hosts, queued }) => {
          const [first, second] = await hosts();
          const keys = similarKeys();
          const racers = { first: 0, count: keys.length };
          const all = first.start(hold, { keys, ...NO_WAIT }, racers);
          await all.reached('in the section');
          const next = second.start(hold, { keys, ...LONG }, racers);
          // Where one key is in the way of another, they end before.
          await Promise.race([queued(keys.length), next.ended]);
          const late = second.start(hold, { keys, ...NO_WAIT }, racers);
          late.pass('in the section');
          for (const one of values(await late.ended)) wasRefused(one);
          all.pass('in the section');
          for (const one of values(await all.ended)) keptIt(one);
          await next.reached('in the section');
          next.pass('in the section');
          for (const one of values(await next.ended)) keptIt(one);
        }),
    },
    {
      name: `distributed lock: of ${USED_ONCE} keys that were used once nothing is left`,
      run: () =>
        onBench(async ({ hosts, empty }) => {
          const [first] = await hosts();
          const keys = { name: randomUUID(), keys: USED_ONCE, allowedBytes: GROWN_BYTES };
          const grown = await onlyValue(first.start(useOnce, { ...keys, ...SHORT }));
          assert.ok(grown <= GROWN_BYTES, `the heap has grown by ${grown} bytes`);
          await empty();
        }),
    },
    ...(processes === 2 ? distributedLockProcessCases(onBench) : []),
    ...(server ? distributedLockConnectionCases(onBench) : []),
  ];
}

/** What the only racer answered, who need not wait in its section. */
async function at(run: Run<Held>): Promise<Held> {
  run.pass('in the section');
  return onlyValue(run);
}

/** The sections of each worker of each host, after all have had so many, or have been starved of them. */
async function workedBy(hosts: TwoHosts, sections: number): Promise<readonly (readonly Section[])[][]> {
  const params = { key: randomUUID(), sections, ...LONG };
  const count = WORKERS / hosts.length;
  const runs = hosts.map((host) => host.start(work, params, { first: 0, count }));
  await Promise.all(runs.map((run) => run.reached('ready')));
  for (const run of runs) run.pass('ready');
  const served = Promise.all(runs.map((run) => Promise.race([run.reached('served'), run.ended])));
  await Promise.race([served, sleep(STARVED_MS, undefined, { ref: false })]);
  for (const run of runs) run.pass('stop');
  return Promise.all(runs.map(async ({ ended }) => [...values(await ended)]));
}
