import { Deadlines } from './deadlines.ts';
import { MisuseError } from './errors.ts';
import { RENEWALS_PER_LEASE } from './lease-renewal.ts';
import type { LockEvent } from './lock-hold.ts';
import { Line, type LineSettings, type LockLease } from './lock-line.ts';
import type { LockStore } from './lock-store.ts';
import { observed, type Seen } from './observe.ts';
import { type Refused, refused } from './outcome.ts';
import { quiet } from './quiet.ts';
import { LONGEST_TIMER_MS, requireMs } from './timers.ts';

export interface DistributedLockOptions {
  /**
   * When a lock ends by itself, in milliseconds, if nothing more is heard of the process that holds it. It is renewed every
   * third of that while the work runs. Default 10 s.
   */
  readonly leaseMs?: number;
  /**
   * How long a lock is renewed, in milliseconds; then its lease runs out. It counts from the grant, so a later piece of work
   * of the same grant has up to a third of a lease less. Default 5 min; 0 never renews.
   */
  readonly renewForMs?: number;
  /**
   * How long to wait for a lock, in milliseconds, in the order of coming within a process; processes take turns, of up to
   * sixteen pieces of work each. Default 10 s; 0 takes it only where it is free and nobody waits for it.
   */
  readonly waitMs?: number;
  /**
   * Told of what the outcome of the work does not say. Without it a lock that is lost is lost silently, but to work that looks
   * at its `lease.signal`.
   */
  readonly onEvent?: (event: LockEvent) => void;
}

export interface DistributedLocks {
  /**
   * Runs `work` while this process holds the lock on `key`, and gives the lock back when it has ended. End transactions in
   * `work`: what is committed after the lock was given back may be overwritten by whoever read before the commit. It is not
   * reentrant: `work` that asks for its own key waits for itself.
   *
   * `lock-timeout`: it was not granted within `waitMs`, or `close` was called; `work` did not run. Work that itself answers
   * `lock-timeout`, of a lock inside, say, cannot be told from that: give its refusal another form.
   *
   * **What it does not promise:** that nobody else runs. A lease ends while its holder stands still (a pause, a full
   * processor, a network that is cut), and a store may forget. Whatever `work` returns or throws is passed on even then,
   * because it has had its effect; `lease.signal` and `onEvent` tell of the loss, and fencing makes it harmless.
   *
   * Those of one process who want the same key stand in one line, in the order of coming: the process asks for them together,
   * and serves up to sixteen of them one after the other, those whose work begins within a third of a lease, before it queues
   * again behind the other processes. So between processes the order is that of their turns.
   *
   * @throws StoreError  The store could not be asked; `work` did not run. After `effect: 'unknown'` the lock may be taken until
   *   its lease is over. And whatever `work` throws; the lock is given back then too.
   * @throws MisuseError  The key is empty.
   * @see Gray and Cheriton, "Leases" (1989); Kleppmann, "How to do distributed locking" (2016)
   */
  run<Result>(
    key: string,
    work: (lease: LockLease) => Promise<Result>,
  ): Promise<Result | Refused<'lock-timeout'>>;
  /**
   * Refuses everybody who waits, and from now on everybody who comes. Resolves when all work that holds a lock has ended, and
   * the store is closed: `work` that awaits it waits for itself.
   */
  close(): Promise<void>;
}

const RUN = { guard: 'distributed-lock', step: 'run' } as const;

export const defaultLockTimes = {
  leaseMs: 10_000,
  renewForMs: 300_000,
  waitMs: 10_000,
};

/**
 * Locks that hold over all processes which use the same store: Redis (`redisLockStore`), the sessions of a database
 * (`sqlLockStore`), or, for a single process, its memory (`memoryLockStore`). Make one for each process and store.
 *
 * @throws MisuseError  A time that is no whole number of milliseconds.
 */
export function distributedLocks(store: LockStore, options: DistributedLockOptions = {}): DistributedLocks {
  const times = checkedTimes(options);
  const settings: LineSettings = {
    store,
    times,
    onEvent: quiet(options.onEvent ?? (() => undefined)),
    patience: new Deadlines(times.waitMs, (waiter) => waiter.tooLate()),
    // Before the first renewal is due.
    watch: new Deadlines(times.leaseMs / RENEWALS_PER_LEASE / 2, (hold) => hold.renewFromNowOn()),
  };
  /** No Map, for the reason that `Deadlines` is none. */
  const lines: Record<string, Line> = Object.create(null);
  let underWay = 0;
  const idle = Promise.withResolvers<void>();
  let closing: Promise<void> | undefined;

  function ended(): void {
    underWay--;
    if (closing !== undefined && underWay === 0) idle.resolve();
  }

  function lineOf(key: string): Line {
    const found = lines[key];
    if (found !== undefined) return found;
    const line = new Line(key, settings, () => {
      if (lines[key] === line) delete lines[key];
    });
    lines[key] = line;
    return line;
  }

  async function close(): Promise<void> {
    for (const line of Object.values(lines)) line.dismiss();
    if (underWay > 0) await idle.promise;
    await store.close();
  }

  async function run<Result>(
    key: string,
    work: (lease: LockLease) => Promise<Result>,
    seen: Seen | undefined,
  ): Promise<Result | Refused<'lock-timeout'>> {
    if (typeof key !== 'string' || key === '')
      throw new MisuseError('the key of a lock must be a text, and not empty');
    if (closing !== undefined) return refused('lock-timeout');
    underWay++;
    try {
      const turn = await lineOf(key).join(seen);
      if (turn === undefined) return refused('lock-timeout');
      seen?.claimed({});
      try {
        return await work(turn);
      } finally {
        await turn.end();
      }
    } finally {
      ended();
    }
  }

  return {
    run: (key, work) => observed(RUN, store.kind, run, key, work),
    close() {
      closing ??= close();
      return closing;
    },
  };
}

function checkedTimes(options: DistributedLockOptions): typeof defaultLockTimes {
  const defaults = defaultLockTimes;
  const { leaseMs = defaults.leaseMs, renewForMs = defaults.renewForMs, waitMs = defaults.waitMs } = options;
  requireMs({ leaseMs }, 1);
  requireMs({ renewForMs, waitMs }, 0);
  for (const [name, value] of Object.entries({ leaseMs, waitMs })) {
    if (value > LONGEST_TIMER_MS)
      throw new MisuseError(`${name} must be at most ${LONGEST_TIMER_MS}, got ${value}`);
  }
  return { leaseMs, renewForMs, waitMs };
}
