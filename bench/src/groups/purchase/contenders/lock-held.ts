import { type DatabaseName, openDatabase, statement } from '../../operations/contenders/database.ts';
import type { OpenOperation } from '../../operations/operation.ts';
import { DONE, DUPLICATE } from '../purchase.ts';
import { openGateway } from './gateway.ts';
import { claimOrder, insertBill, settleOrder } from './statements.ts';

const lock = statement('SELECT status FROM ticket_order WHERE id = ? FOR UPDATE');

/** The order's row is locked, and with it a connection is held, while the provider is called. */
export function lockHeld(database: DatabaseName): OpenOperation {
  return async (urls) => {
    const { transact, close } = openDatabase(database, urls);
    const gateway = openGateway();
    return {
      operate: (order) =>
        transact(async (session) => {
          const { rows } = await session.run(lock, [order]);
          if (rows[0]?.status !== 'PENDING') return { commit: false, value: DUPLICATE };
          await claimOrder(session, order);
          const approval = await gateway.charge(order);
          await settleOrder(session, order, approval);
          await insertBill(session, order, approval);
          return { commit: true, value: DONE };
        }),
      close,
    };
  };
}
