import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import {
  type Database,
  type DatabaseName,
  openDatabase,
  statement,
} from '../../operations/contenders/database.ts';
import type { OpenOperation } from '../../operations/operation.ts';
import { ALREADY_ISSUED, COUPON, DONE, SOLD_OUT } from '../coupon.ts';
import { insertIssued, isIssued, readRemaining } from './statements.ts';

const LOCK = 'bench:coupon:lock';
const LEASE_MS = 10_000;
const POLL_MS = 5;

const COMPARE_AND_DELETE = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`;

const write = statement('UPDATE coupon SET remaining = ? WHERE id = ?');

/** A transaction that relies on whoever calls it to be alone: it locks nothing, and writes what it has counted. */
export function issueAlone({ transact }: Database, member: number): Promise<string> {
  return transact(async (session) => {
    const remaining = await readRemaining(session, { lock: false });
    if (await isIssued(session, member)) return { commit: false, value: ALREADY_ISSUED };
    if (remaining < 1) return { commit: false, value: SOLD_OUT };
    await session.run(write, [remaining - 1, COUPON]);
    await insertIssued(session, member, remaining);
    return { commit: true, value: DONE };
  });
}

/** `SET NX PX`, asked for every 5 ms, around a transaction. */
export function redisLock(name: DatabaseName): OpenOperation {
  return async (urls) => {
    const redis = new Redis(urls.redis, { lazyConnect: true });
    redis.on('error', () => undefined); // What failed is told by the command.
    await redis.connect();
    const compareAndDelete = String(await redis.script('LOAD', COMPARE_AND_DELETE));
    const database = openDatabase(name, urls);
    return {
      async operate(member) {
        const owner = randomUUID();
        while ((await redis.set(LOCK, owner, 'PX', LEASE_MS, 'NX')) === null) await sleep(POLL_MS);
        try {
          return await issueAlone(database, member);
        } finally {
          await redis.evalsha(compareAndDelete, 1, LOCK, owner);
        }
      },
      async close() {
        await Promise.all([redis.quit(), database.close()]);
      },
    };
  };
}
