import { createHash } from 'node:crypto';
import { StoreError } from '../errors.ts';
import type { RedisPort } from '../ports.ts';

/**
 * Runs one Lua script with these KEYS and ARGV.
 *
 * @throws StoreError  As `RedisPort.command`, but never `UNKNOWN_SCRIPT`. What the script had written before it failed stays.
 */
export type RedisScript = (
  redis: RedisPort,
  keys: readonly string[],
  args: readonly (string | number)[],
) => Promise<unknown>;

/**
 * A Lua script that is sent as its digest: one round trip. A server that does not have it yet, or has forgotten it (a
 * restart, a failover, SCRIPT FLUSH), is sent the text in a second one, and keeps it.
 */
export function redisScript(text: string): RedisScript {
  const digest = createHash('sha1').update(text).digest('hex');
  return async (redis, keys, args) => {
    try {
      return await redis.command('EVALSHA', digest, keys.length, ...keys, ...args);
    } catch (error) {
      // The script has not run, so this is no repetition.
      if (!(error instanceof StoreError) || error.code !== 'UNKNOWN_SCRIPT') throw error;
      return redis.command('EVAL', text, keys.length, ...keys, ...args);
    }
  };
}
