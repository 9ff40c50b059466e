import type { OpenLockStore } from '../../src/conformance/index.ts';
import { addressOf } from '../../src/conformance/open.ts';
import { redisLockStore } from '../../src/index.ts';
import { changed } from './changed-locks.ts';
import { openIoredis } from './ioredis.ts';

const LEASE_MS = 60_000;

/** Broken: a lock is leased for a minute, whatever was asked for. */
export const open: OpenLockStore = async ({ url = '', namespace }) => {
  const { redis, subscriber, close } = await openIoredis(addressOf(url));
  const store = redisLockStore(redis, subscriber, { prefix: `${namespace}:` });
  return {
    store: changed(store, { queue: (key, ask) => store.queue(key, { ...ask, leaseMs: LEASE_MS }) }),
    close,
  };
};
