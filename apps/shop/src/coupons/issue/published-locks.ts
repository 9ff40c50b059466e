import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type RedisPort, type Refused, refused } from 'pawl';
import { type LockSubscriber, lockWakeUps } from './lock-wake-ups.ts';

/** Told of a lock on its way. */
export interface LockTrace {
  /** It was not free, and is asked for again. */
  retried(): void;
  mark(step: 'locked' | 'unlocked'): void;
}

export interface PublishedLock {
  /**
   * Runs `work` while it holds the lock on `key`. `work` must have committed when it resolves: the lock is given back then,
   * and also when it throws.
   *
   * `lock-timeout`: it was not granted in time, or this process is about to end; `work` did not run.
   *
   * **What it does not promise:** that nobody else runs. The lock ends with its lease, which nobody renews, and `work` goes on.
   *
   * @throws StoreError  Redis could not be asked; `work` did not run. Where the answer was lost, the lock may be taken until
   *   its lease ends. And whatever `work` throws.
   */
  run<T>(key: string, trace: LockTrace, work: () => Promise<T>): Promise<T | Refused<'lock-timeout'>>;
}

/** The two locks in Redis in the form in which they are usually published, with their mistakes. */
export interface PublishedLocks {
  readonly spin: PublishedLock;
  readonly waiting: PublishedLock;
  /** Refuses everybody who waits, and from now on everybody who would have to. Who holds a lock goes on. */
  close(): void;
}

export interface PublishedLockOptions {
  /** Put in front of every key in Redis. */
  readonly prefix: string;
  /** When a lock ends by itself, in milliseconds. */
  readonly leaseMs: number;
  /** How long to wait for it, in milliseconds. */
  readonly waitMs: number;
  /** Told of what the outcome of the work does not show: a lock that was not given back, or that had ended before the work. */
  onTrouble(message: string, details: Readonly<Record<string, unknown>>): void;
  /** Ends every wait. */
  readonly closing: AbortSignal;
}

export interface SpinLockOptions extends PublishedLockOptions {
  /** Between two attempts, in milliseconds. */
  readonly pauseMs: number;
}

/** As published it asks without end; nothing here waits for ever. In milliseconds. */
const LONGEST_SPIN_MS = 600_000;

export function publishedLocks(
  redis: RedisPort,
  subscriber: LockSubscriber,
  options: {
    readonly prefix: string;
    readonly spin: { readonly leaseMs: number; readonly pauseMs: number };
    readonly waiting: { readonly leaseMs: number; readonly waitMs: number };
    readonly onTrouble: PublishedLockOptions['onTrouble'];
  },
): PublishedLocks {
  const end = new AbortController();
  const { onTrouble } = options;
  const common = { onTrouble, closing: end.signal };
  return {
    spin: spinLock(redis, {
      ...options.spin,
      ...common,
      waitMs: LONGEST_SPIN_MS,
      prefix: `${options.prefix}spin-lock:`,
    }),
    waiting: waitingLock(redis, subscriber, {
      ...options.waiting,
      ...common,
      prefix: `${options.prefix}lock:`,
    }),
    close: () => end.abort(),
  };
}

/**
 * A lock that is asked for again and again (Lettuce style): `SET key value NX PX lease`, a pause, once more; `DEL` at the end.
 *
 * Two mistakes of the published form are kept. It is slow: whoever finds the lock taken comes back after the pause, however
 * soon it is free. And it deletes the key without asking whose it is:
 *
 *     A  SET NX: has the lock; its work takes longer than the lease
 *        the lease ends
 *     B  SET NX: has the lock, and reads
 *     A  DEL: deletes B's lock
 *     C  SET NX: has the lock beside B, and reads the same
 *
 * Cost: two round trips where the lock is free.
 */
export function spinLock(redis: RedisPort, options: SpinLockOptions): PublishedLock {
  const { prefix, leaseMs, pauseMs, waitMs, closing } = options;

  async function acquire(name: string, trace: LockTrace): Promise<boolean> {
    const endMs = performance.now() + waitMs;
    while ((await redis.command('SET', name, 'locked', 'NX', 'PX', leaseMs)) !== 'OK') {
      if (performance.now() + pauseMs > endMs) return false;
      if (!(await paused(pauseMs, closing))) return false;
      trace.retried();
    }
    return true;
  }

  return {
    async run(key, trace, work) {
      const name = prefix + key;
      if (!(await acquire(name, trace))) return refused('lock-timeout');
      return whileLocked(name, trace, work, options, async () => {
        await redis.command('DEL', name);
      });
    },
  };
}

/** KEYS: the lock. ARGV: owner, lease in milliseconds. Answers nothing, or for how long it is somebody else's, in milliseconds. */
const ACQUIRE = `
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return false end
return redis.call('PTTL', KEYS[1])`;

/** KEYS: the lock. ARGV: owner, channel. */
const RELEASE = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[2], '')
return 1`;

/**
 * A lock that is waited for (Redisson style, `tryLock(wait, lease)`): whoever gives it back publishes that it is free, which
 * wakes one waiter of each process. And each looks by himself when the lease that he saw is over, since its holder may have
 * died, and messages get lost. It is not fair: whoever comes at that moment may have it first.
 *
 * Only the owner gives it back. What is kept of the published form is a short lease that nobody renews:
 *
 *     A  has the lock, reads 10 left, and stands still (a full processor, a pause, a slow commit)
 *        the lease ends
 *     B  has the lock, reads 10 left, writes 9, gives it back
 *     A  writes 9, and is told that it had lost the lock when it gives it back
 *
 * Cost: two round trips where the lock is free; where it is not, one more for each time that the waiter is woken.
 */
export function waitingLock(
  redis: RedisPort,
  subscriber: LockSubscriber,
  options: PublishedLockOptions,
): PublishedLock {
  const { prefix, leaseMs, waitMs, closing, onTrouble } = options;
  const wakeUps = lockWakeUps(subscriber);
  closing.addEventListener('abort', () => wakeUps.close(), { once: true });

  /** Undefined when it is granted; else how long the lease of its holder goes on, in milliseconds. */
  async function attempt(name: string, owner: string): Promise<number | undefined> {
    const leftMs = await redis.command('EVAL', ACQUIRE, 1, name, owner, leaseMs);
    return leftMs === null ? undefined : Number(leftMs);
  }

  async function acquire(name: string, owner: string, trace: LockTrace): Promise<boolean> {
    const endMs = performance.now() + waitMs;
    let leftMs = await attempt(name, owner);
    if (leftMs === undefined) return true;
    const waiter = wakeUps.join(name);
    try {
      for (;;) {
        const patienceMs = endMs - performance.now();
        if (patienceMs <= 0 || closing.aborted) return false;
        await waiter.woken(Math.min(leftMs, patienceMs));
        // Also when its time is up: it may be the one that the message has woken, and nobody else was.
        trace.retried();
        leftMs = await attempt(name, owner);
        if (leftMs === undefined) return true;
      }
    } finally {
      waiter.leave();
    }
  }

  return {
    async run(key, trace, work) {
      const name = prefix + key;
      const owner = randomUUID();
      if (!(await acquire(name, owner, trace))) return refused('lock-timeout');
      return whileLocked(name, trace, work, options, async () => {
        const released = await redis.command('EVAL', RELEASE, 1, name, owner, name);
        if (released !== 1) onTrouble('a lock had ended before the work that it was for', { lock: name });
      });
    },
  };
}

/** The work has had its effect when the lock is given back, so a failure there must not hide its outcome. */
async function whileLocked<T>(
  name: string,
  trace: LockTrace,
  work: () => Promise<T>,
  { onTrouble }: PublishedLockOptions,
  release: () => Promise<void>,
): Promise<T> {
  trace.mark('locked');
  try {
    return await work();
  } finally {
    try {
      await release();
      trace.mark('unlocked');
    } catch (cause) {
      onTrouble('a lock could not be given back, and ends with its lease', { lock: name, cause });
    }
  }
}

/** Whether the pause went to its end. */
function paused(pauseMs: number, closing: AbortSignal): Promise<boolean> {
  return sleep(pauseMs, undefined, { signal: closing }).then(
    () => true,
    () => false,
  );
}
