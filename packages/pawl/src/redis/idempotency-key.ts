import type { RedisPort } from '../ports.ts';

const IN_PROGRESS = 'IN_PROGRESS:';
const DONE = 'DONE:';

const COMPLETE = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`;

const RELEASE = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`;

/** How idempotency keys lie in Redis: `IN_PROGRESS:<owner>`, then `DONE:<result>`, both with a time to live. */
export function redisIdempotencyKeys(redis: RedisPort, options: { ttlMs: number; prefix: string }) {
  const { ttlMs, prefix } = options;
  return {
    async read(
      key: string,
    ): Promise<{ state: 'in-progress' } | { state: 'done'; result: string } | undefined> {
      const stored = await redis.command('GET', prefix + key);
      if (typeof stored !== 'string') return undefined;
      if (stored.startsWith(DONE)) return { state: 'done', result: stored.slice(DONE.length) };
      return { state: 'in-progress' };
    },

    /** Whether the key was free and is now `owner`'s. */
    async begin(key: string, owner: string): Promise<boolean> {
      return (await redis.command('SET', prefix + key, IN_PROGRESS + owner, 'PX', ttlMs, 'NX')) === 'OK';
    },

    /** Whether `owner` still held the key. */
    async complete(key: string, owner: string, result: string): Promise<boolean> {
      const stored = await redis.command(
        'EVAL',
        COMPLETE,
        1,
        prefix + key,
        IN_PROGRESS + owner,
        DONE + result,
        ttlMs,
      );
      return stored === 1;
    },

    /** Whether `owner` still held the key. */
    async release(key: string, owner: string): Promise<boolean> {
      return (await redis.command('EVAL', RELEASE, 1, prefix + key, IN_PROGRESS + owner)) === 1;
    },
  };
}
