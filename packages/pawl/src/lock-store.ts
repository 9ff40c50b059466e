import type { StoreError } from './errors.ts';
import type { StoreKind } from './observer.ts';

/** Fencing tokens that a grant reserves, and so the sections that it may serve one after the other. */
export const TOKENS_PER_GRANT = 16;

/**
 * Where locks are kept, and who waits for them: in Redis, in the sessions of a database, in memory.
 *
 * A process asks once for all who want the same key in it (`distributedLocks`), so a store sees few places a key: as many
 * as there are processes that want it.
 */
export interface LockStore {
  /** For those who watch. */
  readonly kind?: StoreKind;
  /** Takes a place in the queue for `key`. Places that stand in it are served in their order. */
  queue(key: string, ask: LockAsk): LockPlace;
  /** Gives up what it holds for itself: a subscription, connections. What is held or waited for must have been given up before. */
  close(): Promise<void>;
}

export interface LockAsk {
  /** When the lock ends by itself, in milliseconds, counted from each renewal by the store's own clock. */
  readonly leaseMs: number;
  /** False takes the lock only where it is free and nobody waits for it. */
  readonly wait: boolean;
  /**
   * After which, in milliseconds, who asks is likely to leave. The place stays until he does; a store may let it wait in
   * steps of this length, and each step begins at the queue's end.
   */
  readonly waitMs?: number;
}

export interface LockPlace {
  /**
   * Resolves when it is this place's turn; with undefined where it was not to wait and would have to. It goes on asking while
   * the store cannot be asked, but for the first time. Never settles once the place has been left.
   *
   * @throws StoreError  The store could not be asked for the first time; the place has been left. After `effect: 'unknown'`
   *   the key may be taken until the lease is over.
   */
  readonly granted: Promise<LockGrant | undefined>;
  /**
   * Why the store could not be asked the last time; undefined where it could, or is being asked again. Whoever gives up
   * waiting is told of it: he cannot know whether the lock was held.
   */
  readonly trouble: StoreError | undefined;
  /** Gives the place up, and the lock where it was granted meanwhile. Never throws: what cannot be given back ends by itself. */
  leave(): Promise<void>;
}

/** A lock that is held. It ends by itself when it is not renewed for the length of its lease. */
export interface LockGrant {
  /** The first of `TOKENS_PER_GRANT` fencing tokens in a row, all of them greater than those of any earlier grant of the key. */
  readonly firstToken: number;
  /** `performance.now()` of a moment from which, or from later on, the store counts the lease. */
  readonly leasedAtMs: number;
  /** @returns whether it was still held, and is now for another lease. @throws StoreError */
  renew(): Promise<boolean>;
  /** Gives the lock to who is next. @returns whether it was still held. @throws StoreError */
  release(): Promise<boolean>;
  /** The same, and takes a new place behind all who wait, in which it does wait; in one step where the store can. */
  releaseAndQueue(): ReleasedPlace;
  /** `told` is called once, when the store itself tells that the lock has ended: its session is gone. */
  onLost(told: (cause: unknown) => void): void;
}

export interface ReleasedPlace extends LockPlace {
  /** As `release` resolves, or rejects. */
  readonly released: Promise<boolean>;
}
