import { Redis } from 'ioredis';
import type { ServerUrls } from '../../../servers.ts';
import type { OpenOperation } from '../../operations/operation.ts';
import type { Books } from '../books.ts';
import { ALREADY_ISSUED, DONE, SOLD_OUT } from '../coupon.ts';

const REMAINING = 'bench:coupon:remaining';
const MEMBERS = 'bench:coupon:members';

const ISSUE = `
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then return '${ALREADY_ISSUED}' end
if redis.call('DECR', KEYS[1]) < 0 then
  redis.call('INCR', KEYS[1])
  return '${SOLD_OUT}'
end
redis.call('SADD', KEYS[2], ARGV[1])
return '${DONE}'`;

async function connect({ redis: url }: ServerUrls): Promise<Redis> {
  const redis = new Redis(url, { lazyConnect: true });
  redis.on('error', () => undefined); // What failed is told by the command.
  await redis.connect();
  return redis;
}

/** A script that counts in Redis, and stores nothing in a database. */
export const openRedisCounter: OpenOperation = async (urls) => {
  const redis = await connect(urls);
  const issue = String(await redis.script('LOAD', ISSUE));
  return {
    operate: async (member) => String(await redis.evalsha(issue, 2, REMAINING, MEMBERS, member)),
    close: async () => void (await redis.quit()),
  };
};

/** What the script has counted. */
export async function openRedisBooks(urls: ServerUrls): Promise<Books> {
  const redis = await connect(urls);
  return {
    async reset(stock) {
      await redis.del(MEMBERS);
      await redis.set(REMAINING, stock);
    },
    async read() {
      return { remaining: Number(await redis.get(REMAINING)), issued: await redis.scard(MEMBERS) };
    },
    close: async () => void (await redis.quit()),
  };
}
