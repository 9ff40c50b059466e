import {
  type DatabaseName,
  openDatabase,
  type Session,
  statement,
} from '../../operations/contenders/database.ts';
import type { OpenOperation } from '../../operations/operation.ts';
import { AMOUNT, DONE, DUPLICATE } from '../purchase.ts';
import { openGateway } from './gateway.ts';
import { claimOrder, settleOrder } from './statements.ts';

const settleAndBill = statement(
  `WITH paid AS (
     UPDATE ticket_order SET status = 'PAID', approval = ?, paid_at = CURRENT_TIMESTAMP(6)
     WHERE id = ? AND status = 'PAYING' RETURNING id, approval, paid_at)
   INSERT INTO bill (order_id, amount, approval, paid_at) SELECT id, ?, approval, paid_at FROM paid`,
);

/**
 * A conditional update before the call and one after it, each of which commits by itself. On MariaDB, which does not insert from an
 * update, the order is its own bill.
 */
export function twoStatements(database: DatabaseName): OpenOperation {
  return async (urls) => {
    const { run, close } = openDatabase(database, urls);
    const gateway = openGateway();
    const settle = database === 'postgres' ? settleWithBill : settleOrder;
    return {
      async operate(order) {
        if (!(await claimOrder({ run }, order))) return DUPLICATE;
        const approval = await gateway.charge(order);
        return (await settle({ run }, order, approval)) ? DONE : 'lost';
      },
      close,
    };
  };
}

async function settleWithBill(session: Session, order: number, approval: string): Promise<boolean> {
  return (await session.run(settleAndBill, [approval, order, AMOUNT])).affected === 1;
}
