import { sql } from 'kysely';
import { done, pawlTables, type Row, refused, type SqlDialect } from 'pawl';
import type { ShopTransaction } from '../../../store/database.ts';
import { clock } from '../../../store/expressions.ts';
import { moveStatus, paymentColumns } from '../../publish.ts';
import { type ChargeRequest, PURCHASE } from './definition.ts';
import type { PaymentAttempt, PurchaseRows } from './rows.ts';

/** What nobody waits for is written alike on both databases. */
type SharedRows = Omit<PurchaseRows<ShopTransaction>, 'claim' | 'complete'>;

export const sharedRows: SharedRows = {
  async release(transaction, attempt, { outcome, code }) {
    const { paymentKey } = attempt;
    await mustMove(attempt, () =>
      moveStatus(transaction, attempt, 'PENDING', 'WAITING', {
        ...paymentColumns({ paymentKey, outcome, code }),
        attempt: attempt.attempt + 1,
      }),
    );
  },

  async beginRefund(transaction, attempt, from) {
    const { paymentKey } = attempt;
    const captured = paymentColumns({ paymentKey, outcome: 'captured', code: null });
    const moved = await moveStatus(transaction, attempt, from, 'REFUNDING', captured);
    if (moved.outcome !== 'done') return refused('wrong-state');
    if (from === 'PENDING') return done(undefined);
    return whileUndrawn(transaction, attempt);
  },

  async endRefund(transaction, attempt) {
    const { paymentKey } = attempt;
    const refunded = paymentColumns({ paymentKey, outcome: 'refunded', code: null });
    await mustMove(attempt, () => moveStatus(transaction, attempt, 'REFUNDING', 'REFUNDED', refunded));
    await transaction.trx
      .updateTable('purchase')
      .set({ status: 'REFUNDED' })
      .where('order_id', '=', attempt.orderId)
      .where('payment_key', '=', attempt.paymentKey)
      .execute();
  },

  async judgeCapture(transaction, { paymentKey, orderId, transactionKey }) {
    const { trx } = transaction;
    const locked = await lockedRow(transaction, {
      table: 'lotto_publish',
      key: { order_id: orderId },
      expect: {},
      columns: ['id', 'status', 'payment_key', 'attempt'],
      mode: 'update',
    });
    if (locked === undefined) return { judged: 'unknown-order' };
    const { id, status, payment_key, attempt } = locked;
    // Of an order that is WAITING, or was given up, no attempt is under way: what it carries is the last one's.
    const isCurrent = payment_key === paymentKey && status !== 'WAITING' && status !== 'CANCELED';
    const attempts = await attemptsOf(transaction, orderId);
    if (isCurrent) {
      const isEnding = status === 'COMPLETE' || status === 'REFUNDED' || attempts.has(Number(attempt));
      return { judged: isEnding ? 'accounted-for' : 'no-record' };
    }
    const purchase = await trx
      .selectFrom('purchase')
      .select('id')
      .where('payment_key', '=', paymentKey)
      .where('order_id', '=', orderId)
      .executeTakeFirst();
    const recorded = await trx
      .selectFrom('stray_capture')
      .select('payment_key')
      .where('payment_key', '=', paymentKey)
      .executeTakeFirst();
    if (purchase !== undefined || recorded !== undefined) return { judged: 'accounted-for' };
    const its = [...attempts].findLast(([, key]) => key === paymentKey)?.[0] ?? 0;
    await trx
      .insertInto('stray_capture')
      .values({ payment_key: paymentKey, order_id: orderId, attempt: its, transaction_key: transactionKey })
      .execute();
    const order = await trx
      .selectFrom('orders')
      .select('member_id')
      .where('order_id', '=', orderId)
      .executeTakeFirstOrThrow();
    return {
      judged: 'stray',
      lottoPublishId: Number(id),
      memberId: order.member_id,
      attempt: its,
    };
  },

  async endStrayRefund(transaction, paymentKey) {
    await transaction.trx
      .updateTable('stray_capture')
      .set({ refunded_at: sql<Date>`coalesce(refunded_at, ${clock(transaction)})` })
      .where('payment_key', '=', paymentKey)
      .execute();
  },
};

/** The attempts at an order that are on record, with their payment keys. */
async function attemptsOf(
  { trx, dialect }: ShopTransaction,
  orderId: string,
): Promise<ReadonlyMap<number, string>> {
  // Compared as what the library has made of it there.
  const subject = dialect.name === 'mysql' ? sql`${Buffer.from(orderId)}` : sql`${orderId}`;
  const { rows } = await sql<{ attempt: number; request: string }>`
    select attempt, request from ${sql.table(pawlTables().durableCall)}
     where name = ${dialect.name === 'mysql' ? sql`${Buffer.from(PURCHASE)}` : sql`${PURCHASE}`}
       and subject = ${subject} order by attempt`.execute(trx);
  return new Map(
    rows.map(({ attempt, request }) => [attempt, (JSON.parse(request) as ChargeRequest).paymentKey]),
  );
}

/**
 * Refused once the round is drawn or called off. The lock is shared by all who buy, and keeps the draw waiting until they have
 * committed, so that no ticket is sold or taken back behind its back.
 */
export async function whileUndrawn(
  transaction: ShopTransaction,
  { lottoRoundInfoId }: Pick<PaymentAttempt, 'lottoRoundInfoId'>,
) {
  const round = await lockedRow(transaction, {
    table: 'lotto_round_info',
    key: { id: lottoRoundInfoId },
    expect: { drawn_at: null, called_off_at: null },
    columns: ['id'],
    mode: 'share',
  });
  return round === undefined ? refused('not-open') : done(undefined);
}

/** The row, locked to the end of the transaction, by one statement: it waits as long as the session lets it. */
async function lockedRow(
  transaction: ShopTransaction,
  lock: Omit<Parameters<SqlDialect['lockRow']>[0], 'noWait'>,
): Promise<Row | undefined> {
  const { rows } = await transaction.execute(transaction.dialect.lockRow({ ...lock, noWait: false }));
  return rows[0];
}

/** The record's fence is ours, so nobody else may have moved the order on. */
async function mustMove(attempt: PaymentAttempt, move: () => ReturnType<typeof moveStatus>): Promise<void> {
  const moved = await move();
  if (moved.outcome === 'done') return;
  throw new Error(`order ${attempt.orderId} is not at attempt ${attempt.attempt}, although its record is`);
}
