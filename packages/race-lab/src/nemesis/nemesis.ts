import type { Cluster, Instance } from '../cluster/cluster.ts';
import type { FaultyRedis } from '../cluster/faulty-redis.ts';
import type { GuardedProcess } from '../cluster/guardian.ts';
import type { LockFaultName } from './lock-fault-names.ts';

/** A lock of the shop in Redis, as its strategies keep it. */
export interface WatchedLock {
  /** `published`: the lock that is waited for as it is published; `pawl`: that of the library. */
  kind: 'published' | 'pawl';
  /** As the strategies call it. */
  name: string;
}

/** What a fault is about, in one run. */
export interface NemesisScene {
  fault: LockFaultName;
  cluster: Cluster;
  redis: FaultyRedis;
  lock: WatchedLock;
  /** From 0 to below the limit, by the seed. */
  random(limit: number): number;
  /** How long the fault may lie in wait from when there is something to strike, at most, in milliseconds. */
  lurkMs: number;
  /** Told of a server that was started. */
  watch(server: GuardedProcess): void;
  signal: AbortSignal;
}

/** The requests under way. */
export interface RaceUnderWay {
  /** Aborted when every request has been answered that was sent. */
  over: AbortSignal;
  /**
   * Resolves when a request that had the lock after `sinceUs` has been answered by another instance; with false when the
   * others have answered everything else.
   */
  passedBy(instance: Instance, sinceUs: number): Promise<boolean>;
  /** Sends half of what is kept back until the strike is over. */
  releaseMore(): void;
}

/** What a fault did. */
export interface Strike {
  /** By the monotonic clock, in microseconds, just before. */
  atUs: number;
  /** In a sentence. */
  did: string;
  /** The instance that it was done to, where it was one. */
  victim: string | null;
}

/** A fault that is ready for one run. */
export interface Nemesis {
  /** The instance, by its number, that stops itself when the request that is marked has read; null where none does. */
  stops: number | null;
  /**
   * Strikes when the lock is held and waited for.
   *
   * @returns null when it never was: nothing was done.
   */
  strike(race: RaceUnderWay): Promise<Strike | null>;
  /** Mends what the strike broke, if it did. Resolves when all instances are as before. */
  heal(): Promise<void>;
}
