import {
  type CreateLockConfig,
  createLock,
  IoredisAdapter,
  type Lock,
  LockAcquisitionError,
} from 'redlock-universal';
import { LEASE_MS, type OpenContender } from '../contender.ts';
import { peerRedis } from './peer-redis.ts';

type Settings = Pick<CreateLockConfig, 'retryAttempts' | 'retryDelay' | 'performance'>;

/** @param settings  Absent: its own. */
export function redlockUniversal(settings?: Settings): OpenContender {
  return async (urls) => {
    const { redis, close } = await peerRedis(urls.redis);
    const adapter = new IoredisAdapter(redis);
    // Kept, because a new one asks Redis first whether it is there.
    const locks = new Map<string, Lock>();
    const lockOf = (key: string) => {
      const lock = locks.get(key) ?? createLock({ ...settings, adapter, key, ttl: LEASE_MS });
      locks.set(key, lock);
      return lock;
    };
    return {
      async section(key, work) {
        const lock = lockOf(key);
        const handle = await lock.acquire().catch(undefinedIfNotGranted);
        if (handle === undefined) return false;
        try {
          await work();
        } finally {
          await lock.release(handle);
        }
        return true;
      },
      close,
    };
  };
}

/** @throws what is no refusal. */
function undefinedIfNotGranted(error: unknown): undefined {
  if (error instanceof LockAcquisitionError) return undefined;
  throw error;
}
