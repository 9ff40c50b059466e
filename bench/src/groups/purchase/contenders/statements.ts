import { type Session, statement } from '../../operations/contenders/database.ts';
import { AMOUNT, paymentKeyOf } from '../purchase.ts';

const claim = statement(
  "UPDATE ticket_order SET status = 'PAYING', payment_key = ? WHERE id = ? AND status = 'PENDING'",
);
const settle = statement(
  "UPDATE ticket_order SET status = 'PAID', approval = ?, paid_at = CURRENT_TIMESTAMP(6) WHERE id = ? AND status = 'PAYING'",
);
const bill = statement(
  'INSERT INTO bill (order_id, amount, approval, paid_at) VALUES (?, ?, ?, CURRENT_TIMESTAMP(6))',
);

/** @returns whether the order was to be paid. */
export async function claimOrder(session: Session, order: number): Promise<boolean> {
  return (await session.run(claim, [paymentKeyOf(order), order])).affected === 1;
}

/** @returns whether it was being paid. */
export async function settleOrder(session: Session, order: number, approval: string): Promise<boolean> {
  return (await session.run(settle, [approval, order])).affected === 1;
}

/** @throws the driver's error: it has one. */
export async function insertBill(session: Session, order: number, approval: string): Promise<void> {
  await session.run(bill, [order, AMOUNT, approval]);
}
