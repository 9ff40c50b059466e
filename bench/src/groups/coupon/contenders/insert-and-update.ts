import {
  type DatabaseName,
  isDuplicate,
  openDatabase,
  statement,
} from '../../operations/contenders/database.ts';
import type { OpenOperation } from '../../operations/operation.ts';
import { ALREADY_ISSUED, COUPON, DONE, SOLD_OUT } from '../coupon.ts';
import { insertIssued } from './statements.ts';

const decrement = statement('UPDATE coupon SET remaining = remaining - 1 WHERE id = ? AND remaining > 0');

/** The member's row first, which is nobody else's; then the hot row, locked for the commit alone. */
export function insertAndUpdate(database: DatabaseName): OpenOperation {
  return async (urls) => {
    const { transact, close } = openDatabase(database, urls);
    return {
      async operate(member) {
        try {
          return await transact(async (session) => {
            await insertIssued(session, member, 0);
            const { affected } = await session.run(decrement, [COUPON]);
            return affected === 1 ? { commit: true, value: DONE } : { commit: false, value: SOLD_OUT };
          });
        } catch (error) {
          if (isDuplicate(error)) return ALREADY_ISSUED;
          throw error;
        }
      },
      close,
    };
  };
}
