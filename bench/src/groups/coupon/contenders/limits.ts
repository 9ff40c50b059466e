import { type DatabaseName, openDatabase, statement } from '../../operations/contenders/database.ts';
import type { OpenOperation } from '../../operations/operation.ts';
import { COUPON, DONE } from '../coupon.ts';
import { insertIssued } from './statements.ts';

const decrement = statement('UPDATE coupon SET remaining = remaining - 1 WHERE id = ?');

/** What a commit of the hot row costs for each caller, whatever else there is to do. */
export function bareUpdate(database: DatabaseName): OpenOperation {
  return async (urls) => {
    const { run, close } = openDatabase(database, urls);
    return {
      async operate() {
        await run(decrement, [COUPON]);
        return DONE;
      },
      close,
    };
  };
}

/** What a commit costs for each caller where there is no hot row. */
export function bareInsert(database: DatabaseName): OpenOperation {
  return async (urls) => {
    const { run, close } = openDatabase(database, urls);
    return {
      async operate(member) {
        await insertIssued({ run }, member, 0);
        return DONE;
      },
      close,
    };
  };
}
