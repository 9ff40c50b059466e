import { randomUUID } from 'node:crypto';
import type { ServerUrls } from '../../../servers.ts';
import { type Contender, LEASE_MS } from '../contender.ts';
import { peerRedis } from './peer-redis.ts';

const COMPARE_AND_DELETE = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`;

/** What a lock on Redis costs at least: `SET NX PX`, and a script that deletes only its own. It does not wait. */
export async function openBareRedis(urls: ServerUrls): Promise<Contender> {
  const { redis, close } = await peerRedis(urls.redis);
  const compareAndDelete = String(await redis.script('LOAD', COMPARE_AND_DELETE));
  return {
    async section(key, work) {
      const owner = randomUUID();
      if ((await redis.set(key, owner, 'PX', LEASE_MS, 'NX')) === null) return false;
      try {
        await work();
      } finally {
        await redis.evalsha(compareAndDelete, 1, key, owner);
      }
      return true;
    },
    close,
  };
}
