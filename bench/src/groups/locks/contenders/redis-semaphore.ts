import { Mutex, type TimeoutOptions } from 'redis-semaphore';
import { LEASE_MS, type OpenContender } from '../contender.ts';
import { peerRedis } from './peer-redis.ts';

/** @param settings  Absent: its own. */
export function redisSemaphore(settings?: TimeoutOptions): OpenContender {
  return async (urls) => {
    const { redis, close } = await peerRedis(urls.redis);
    return {
      async section(key, work) {
        const mutex = new Mutex(redis, key, { ...settings, lockTimeout: LEASE_MS });
        if (!(await mutex.tryAcquire())) return false;
        try {
          await work();
        } finally {
          await mutex.release();
        }
        return true;
      },
      close,
    };
  };
}
