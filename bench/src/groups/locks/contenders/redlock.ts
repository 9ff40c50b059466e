import Redlock, { ExecutionError, type Lock, type Settings } from 'redlock';
import type { ServerUrls } from '../../../servers.ts';
import { type Contender, LEASE_MS, type OpenContender } from '../contender.ts';
import { peerRedis } from './peer-redis.ts';

/** @param settings  Absent: its own. */
export function redlock(settings?: Settings): OpenContender {
  return async (urls) => open(urls, settings);
}

async function open(urls: ServerUrls, settings: Settings | undefined): Promise<Contender> {
  const { redis, close } = await peerRedis(urls.redis);
  const locks = new Redlock([redis], settings);
  return {
    async section(key, work) {
      const lock = await granted(locks.acquire([key], LEASE_MS));
      if (lock === undefined) return false;
      try {
        await work();
      } finally {
        // What is not its own any more does not become so by trying again, which the many retries are not meant for.
        await locks.release(lock, settings && { retryCount: 0 });
      }
      return true;
    },
    close,
  };
}

async function granted(acquisition: Promise<Lock>): Promise<Lock | undefined> {
  try {
    return await acquisition;
  } catch (error) {
    if (error instanceof ExecutionError) return undefined;
    throw error;
  }
}
