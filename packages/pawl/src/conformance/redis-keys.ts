import type { RedisPort } from '../ports.ts';

/** All keys that begin with `prefix`, which is plain. */
export async function keysIn(redis: RedisPort, prefix: string): Promise<readonly string[]> {
  const found = new Set<string>();
  let cursor = '0';
  do {
    const reply = await redis.command('SCAN', cursor, 'MATCH', `${prefix}*`, 'COUNT', 1_000);
    const [next, keys] = reply as [unknown, unknown[]];
    cursor = String(next);
    for (const key of keys) found.add(String(key));
  } while (cursor !== '0');
  return [...found];
}

/** How many members the sorted sets under `prefix` have, all together. */
export async function membersIn(redis: RedisPort, prefix: string): Promise<number> {
  let members = 0;
  for (const key of await keysIn(redis, prefix)) {
    if (String(await redis.command('TYPE', key)) !== 'zset') continue;
    members += Number(await redis.command('ZCARD', key));
  }
  return members;
}

export async function removeAll(redis: RedisPort, prefix: string): Promise<void> {
  for (const key of await keysIn(redis, prefix)) await redis.command('DEL', key);
}
