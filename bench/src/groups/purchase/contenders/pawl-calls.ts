import {
  conditionalUpdate,
  type DurableCallDefinition,
  type DurableCallOutcome,
  type DurableCallRefusal,
  done,
  durableCalls,
  type IdempotentRequest,
  type Refused,
  type SqlTransaction,
  sqlDurableCallStore,
} from 'pawl';
import { type DatabaseName, statement } from '../../operations/contenders/database.ts';
import { openPort } from '../../operations/contenders/group-port.ts';
import type { OpenOperation } from '../../operations/operation.ts';
import { AMOUNT, DONE, DUPLICATE, IN_PROGRESS, paymentKeyOf } from '../purchase.ts';
import { type Gateway, openGateway } from './gateway.ts';

export type Approval = { readonly approval: string };

const bill = statement(
  'INSERT INTO bill (order_id, amount, approval, paid_at) VALUES (?, ?, ?, CURRENT_TIMESTAMP(6))',
);

/** Moves an order on from one state, and no other. */
const move = (
  transaction: SqlTransaction,
  order: number,
  from: { readonly status: string; readonly attempt?: number },
  set: { readonly status: string; readonly approval?: string; readonly payment_key?: string },
) => conditionalUpdate(transaction, { table: 'ticket_order', key: { id: order }, expect: { ...from }, set });

/** The purchase as the library has it: sent once, looked up when its answer was lost, settled with its bill. */
export function purchaseWith(
  gateway: Gateway,
): DurableCallDefinition<SqlTransaction, null, Approval> & { readonly repeat: 'idempotent' } {
  const giveBack = async (transaction: SqlTransaction, { subject }: { subject: string }) => {
    await move(transaction, Number(subject), { status: 'PAYING' }, { status: 'PENDING' });
  };
  return {
    name: 'purchase',
    repeat: 'idempotent',
    async send({ subject }) {
      return { outcome: 'done', value: { approval: await gateway.charge(Number(subject)) } };
    },
    lookUp: async () => ({ outcome: 'unknown', code: 'NOT_ASKED' }),
    async settle(transaction, { subject }, { approval }) {
      const paid = { status: 'PAID', approval };
      const moved = await move(transaction, Number(subject), { status: 'PAYING' }, paid);
      if (moved.outcome !== 'done') return moved;
      const { text, numbered } = bill;
      const values = [Number(subject), AMOUNT, approval];
      await transaction.execute({
        text: transaction.dialect.name === 'postgres' ? numbered : text,
        values,
      });
      return done(answerOf(approval));
    },
    async release(transaction, call) {
      await giveBack(transaction, call);
      return { status: 402, headers: {}, body: Buffer.from('') };
    },
    forget: giveBack,
  };
}

export function answerOf(approval: string) {
  const headers = { 'content-type': 'application/json; charset=utf-8' };
  return { status: 200, headers, body: Buffer.from(JSON.stringify({ approval, amount: AMOUNT })) };
}

export function requestOf(order: number): IdempotentRequest {
  const payload = JSON.stringify({ order, paymentKey: paymentKeyOf(order), amount: AMOUNT });
  return { scope: ['member-1', 'POST /purchases'], key: `order-${order}`, payload };
}

/** @throws Error  It ended in another way. */
export function wordOf(outcome: DurableCallOutcome | DurableCallRefusal | Refused): string {
  if (outcome.outcome === 'done') return outcome.replayed ? DUPLICATE : DONE;
  if (outcome.outcome === 'refused' && outcome.reason === 'in-progress') return IN_PROGRESS;
  if (outcome.outcome === 'refused' && outcome.reason === 'wrong-state') return DUPLICATE;
  throw new Error(JSON.stringify(outcome));
}

/** Each caller with transactions of his own. */
export function pawlCalls(database: DatabaseName): OpenOperation {
  return async (urls) => {
    const { sql, close } = openPort(database, urls);
    const calls = durableCalls(sqlDurableCallStore(sql), purchaseWith(openGateway()));
    return {
      async operate(order) {
        const outcome = await calls.run(requestOf(order), async (transaction) => {
          const paying = { status: 'PAYING', payment_key: paymentKeyOf(order) };
          const claimed = await move(transaction, order, { status: 'PENDING', attempt: 1 }, paying);
          if (claimed.outcome !== 'done') return claimed;
          return done({ subject: String(order), attempt: 1, request: null });
        });
        return wordOf(outcome);
      },
      close,
    };
  };
}
