import { type DatabaseName, openDatabase } from '../../operations/contenders/database.ts';
import type { OpenOperation } from '../../operations/operation.ts';
import { DONE } from '../purchase.ts';
import { openGateway } from './gateway.ts';
import { insertBill } from './statements.ts';

/** What one commit costs for each caller: the bill alone, which is claimed by nobody. */
export function bareInsert(database: DatabaseName): OpenOperation {
  return async (urls) => {
    const { run, close } = openDatabase(database, urls);
    const gateway = openGateway();
    return {
      async operate(order) {
        await insertBill({ run }, order, await gateway.charge(order));
        return DONE;
      },
      close,
    };
  };
}
