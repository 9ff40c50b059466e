import { type DatabaseName, openDatabase, statement } from '../../operations/contenders/database.ts';
import type { OpenOperation } from '../../operations/operation.ts';
import { ALREADY_ISSUED, COUPON, DONE, SOLD_OUT } from '../coupon.ts';
import { insertIssued, isIssued, readRemaining } from './statements.ts';

const decrement = statement('UPDATE coupon SET remaining = remaining - 1 WHERE id = ?');

/** The pessimistic lock: whoever has the coupon's row looks, decides and writes. */
export function forUpdate(database: DatabaseName): OpenOperation {
  return async (urls) => {
    const { transact, close } = openDatabase(database, urls);
    return {
      operate: (member) =>
        transact(async (session) => {
          const remaining = await readRemaining(session, { lock: true });
          if (await isIssued(session, member)) return { commit: false, value: ALREADY_ISSUED };
          if (remaining < 1) return { commit: false, value: SOLD_OUT };
          await session.run(decrement, [COUPON]);
          await insertIssued(session, member, remaining);
          return { commit: true, value: DONE };
        }),
      close,
    };
  };
}
