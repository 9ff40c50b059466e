import { type Session, statement } from '../../operations/contenders/database.ts';
import { COUPON } from '../coupon.ts';

const remaining = statement('SELECT remaining FROM coupon WHERE id = ?');
const locked = statement('SELECT remaining FROM coupon WHERE id = ? FOR UPDATE');
const held = statement('SELECT 1 FROM issued WHERE coupon_id = ? AND member_id = ?');
const insertion = statement(
  'INSERT INTO issued (coupon_id, member_id, serial, issued_at) VALUES (?, ?, ?, CURRENT_TIMESTAMP(6))',
);

/** How many are left. */
export async function readRemaining(session: Session, { lock }: { readonly lock: boolean }): Promise<number> {
  const { rows } = await session.run(lock ? locked : remaining, [COUPON]);
  return Number(rows[0]?.remaining);
}

/** Whether the member has one. */
export async function isIssued(session: Session, member: number): Promise<boolean> {
  return (await session.run(held, [COUPON, member])).rows.length > 0;
}

/** @throws the driver's error: a duplicate. */
export async function insertIssued(session: Session, member: number, serial: number): Promise<void> {
  await session.run(insertion, [COUPON, member, serial]);
}
