import { setTimeout as sleep } from 'node:timers/promises';
import {
  type DatabaseName,
  isDuplicate,
  openDatabase,
  statement,
} from '../../operations/contenders/database.ts';
import type { OpenOperation } from '../../operations/operation.ts';
import { ALREADY_ISSUED, COUPON, DONE, SOLD_OUT } from '../coupon.ts';
import { insertIssued, isIssued, readRemaining } from './statements.ts';

/** What is left is the version too: it never comes back. */
const change = statement('UPDATE coupon SET remaining = ? WHERE id = ? AND remaining = ?');

const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 320;

/** Compares and sets, and tries again after a pause, which is left to chance, of up to 10 ms at first; its limit doubles, up to 320 ms. */
export function optimistic(database: DatabaseName): OpenOperation {
  return async (urls) => {
    const { run, transact, close } = openDatabase(database, urls);
    const attempt = async (member: number): Promise<string | undefined> => {
      const remaining = await readRemaining({ run }, { lock: false });
      if (await isIssued({ run }, member)) return ALREADY_ISSUED;
      if (remaining < 1) return SOLD_OUT;
      return transact(async (session) => {
        const { affected } = await session.run(change, [remaining - 1, COUPON, remaining]);
        if (affected === 0) return { commit: false, value: undefined };
        await insertIssued(session, member, remaining);
        return { commit: true, value: DONE };
      });
    };
    return {
      async operate(member) {
        for (let limitMs = FIRST_PAUSE_MS; ; limitMs = Math.min(2 * limitMs, LONGEST_PAUSE_MS)) {
          try {
            const outcome = await attempt(member);
            if (outcome !== undefined) return outcome;
          } catch (error) {
            if (isDuplicate(error)) return ALREADY_ISSUED;
            throw error;
          }
          await sleep(Math.random() * limitMs);
        }
      },
      close,
    };
  };
}
