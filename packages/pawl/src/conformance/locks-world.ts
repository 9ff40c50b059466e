import { type DistributedLocks, distributedLocks } from '../distributed-lock.ts';
import type { LockEvent } from '../lock-hold.ts';
import type { LockStore } from '../lock-store.ts';
import { redisLockStore } from '../redis/distributed-lock.ts';
import { sqlLockStore } from '../sql-lock-store.ts';
import {
  openLockStore,
  openRedis,
  openSql,
  type ServerAddress,
  type SqlConnection,
  type StoreNamespace,
} from './open.ts';

/** What locks are kept in, as it is told to another process. */
export type LocksSpec =
  | { readonly kind: 'sql'; readonly module: string; readonly connection: SqlConnection }
  | {
      readonly kind: 'redis';
      readonly module: string;
      readonly server: ServerAddress;
      readonly prefix: string;
    }
  | { readonly kind: 'store'; readonly module: string; readonly which: StoreNamespace };

export interface LockTimes {
  readonly leaseMs: number;
  readonly waitMs: number;
  readonly renewForMs?: number;
}

/** The locks of a process, and what it has been told of them, in this order. */
export interface HeardLocks {
  readonly locks: DistributedLocks;
  readonly events: readonly LockEvent['kind'][];
}

export interface WorldLocks {
  /** The same for the same times: of each there is one in a process. */
  of(times: LockTimes): HeardLocks;
  close(): Promise<void>;
}

/** Opens it by the author's module. @throws TypeError  The module opens nothing to keep locks in. */
export async function openLocks(spec: LocksSpec): Promise<WorldLocks> {
  const { newStore, close } = await openStores(spec);
  const all = new Map<string, HeardLocks>();
  return {
    of(times) {
      const name = JSON.stringify(times);
      const known = all.get(name);
      if (known !== undefined) return known;
      const events: LockEvent['kind'][] = [];
      const locks = distributedLocks(newStore(), { ...times, onEvent: ({ kind }) => events.push(kind) });
      all.set(name, { locks, events });
      return { locks, events };
    },
    async close() {
      await Promise.all([...all.values()].map(({ locks }) => locks.close()));
      await close();
    },
  };
}

interface LockStores {
  /** Another one over the same connections. */
  newStore(): LockStore;
  close(): Promise<void>;
}

async function openStores(spec: LocksSpec): Promise<LockStores> {
  switch (spec.kind) {
    case 'sql': {
      const { sessions, close } = await openSql(spec.module, spec.connection);
      if (sessions === undefined) throw new TypeError(`what ${spec.module} opens has no sessions`);
      return { newStore: () => sqlLockStore(sessions), close };
    }
    case 'redis': {
      const { redis, subscriber, close } = await openRedis(spec.module, spec.server);
      if (subscriber === undefined) throw new TypeError(`what ${spec.module} opens has no subscriber`);
      return { newStore: () => redisLockStore(redis, subscriber, { prefix: spec.prefix }), close };
    }
    case 'store': {
      const { store, close } = await openLockStore(spec.module, spec.which);
      return { newStore: () => store, close };
    }
  }
}
