import { type DatabaseName, openDatabase } from '../../operations/contenders/database.ts';
import type { OpenOperation } from '../../operations/operation.ts';
import { DONE, DUPLICATE } from '../purchase.ts';
import { openGateway } from './gateway.ts';
import { claimOrder, insertBill, settleOrder } from './statements.ts';

/** A conditional update before the call; after it another one and the bill, in a transaction. */
export function threeStatements(database: DatabaseName): OpenOperation {
  return async (urls) => {
    const { run, transact, close } = openDatabase(database, urls);
    const gateway = openGateway();
    return {
      async operate(order) {
        if (!(await claimOrder({ run }, order))) return DUPLICATE;
        const approval = await gateway.charge(order);
        return transact(async (session) => {
          if (!(await settleOrder(session, order, approval))) return { commit: false, value: 'lost' };
          await insertBill(session, order, approval);
          return { commit: true, value: DONE };
        });
      },
      close,
    };
  };
}
