import { randomUUID } from 'node:crypto';
import { type SqlBool, sql } from 'kysely';
import type { PaymentOutcome, PublishStatus, ShopDatabase, ShopSql } from '../store/database.ts';
import { insertForId } from '../store/expressions.ts';
import { type LottoNumbers, TICKET_PRICE } from './ticket.ts';

const CURRENCY = 'KRW';

/** By the database's clock, and until the round is drawn or called off. */
const ON_SALE = sql<SqlBool>`(sales_open_at <= current_timestamp(6) AND current_timestamp(6) < sales_close_at
  AND drawn_at IS NULL AND called_off_at IS NULL)`;

export interface Order {
  readonly orderId: string;
  readonly memberId: number;
  readonly amount: number;
  readonly currency: string;
  readonly createdAt: Date;
  readonly lottoPublishId: number;
  readonly lottoRoundInfoId: number;
  readonly status: PublishStatus;
  /** Which attempt to pay it is at. */
  readonly attempt: number;
  /** Whether the round sells at this moment, by the database's clock. */
  readonly onSale: boolean;
  /** The last attempt to pay that is known of. */
  readonly payment: OrderPayment | null;
}

export interface OrderPayment {
  readonly paymentKey: string;
  readonly outcome: PaymentOutcome;
  readonly code: string | null;
}

/** The round's state by the database's clock; without an id, the one that sells now and closes first. */
export async function findRound(
  db: ShopDatabase,
  id: number | undefined,
): Promise<{ id: number; state: 'on-sale' | 'closed' } | { id: undefined; state: 'unknown' }> {
  const rounds = db.selectFrom('lotto_round_info').select(['id', ON_SALE.as('on_sale')]);
  const round = await (id === undefined
    ? rounds.where(ON_SALE).orderBy('sales_close_at').limit(1)
    : rounds.where('id', '=', id)
  ).executeTakeFirst();
  if (round === undefined) return { id: undefined, state: 'unknown' };
  return { id: round.id, state: round.on_sale ? 'on-sale' : 'closed' };
}

/** Creates an order with its publish and tickets, all or nothing. */
export async function createOrder(
  store: ShopSql,
  order: { memberId: number; roundId: number; tickets: readonly LottoNumbers[] },
): Promise<{ orderId: string; lottoPublishId: number; amount: number }> {
  const orderId = randomUUID();
  const amount = order.tickets.length * TICKET_PRICE;
  return store.transaction(async (transaction) => {
    const { trx } = transaction;
    await trx
      .insertInto('orders')
      .values({ order_id: orderId, member_id: order.memberId, amount, currency: CURRENCY })
      .execute();
    const publish = trx
      .insertInto('lotto_publish')
      .values({ order_id: orderId, lotto_round_info_id: order.roundId, status: 'WAITING' });
    const id = await insertForId(transaction, publish);
    await trx
      .insertInto('lotto_ticket')
      .values(order.tickets.map((numbers) => ({ lotto_publish_id: id, numbers: numbers.join(',') })))
      .execute();
    return { orderId, lottoPublishId: id, amount };
  });
}

/** A member's order. Somebody else's is not found, exactly like one that does not exist. */
export async function findOrder(
  db: ShopDatabase,
  key: { orderId: string; memberId: number },
): Promise<Order | undefined> {
  const row = await db
    .selectFrom('orders')
    .innerJoin('lotto_publish', 'lotto_publish.order_id', 'orders.order_id')
    .innerJoin('lotto_round_info', 'lotto_round_info.id', 'lotto_publish.lotto_round_info_id')
    .select([
      'orders.order_id',
      'member_id',
      'amount',
      'currency',
      'created_at',
      'lotto_publish.id as publish_id',
      'lotto_round_info_id',
      'status',
      'attempt',
      'payment_key',
      'payment_outcome',
      'payment_code',
      ON_SALE.as('on_sale'),
    ])
    .where('orders.order_id', '=', key.orderId)
    .where('member_id', '=', key.memberId)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  return {
    orderId: row.order_id,
    memberId: row.member_id,
    amount: row.amount,
    currency: row.currency,
    createdAt: row.created_at,
    lottoPublishId: row.publish_id,
    lottoRoundInfoId: row.lotto_round_info_id,
    status: row.status,
    attempt: row.attempt,
    onSale: Boolean(row.on_sale),
    payment:
      row.payment_key === null || row.payment_outcome === null
        ? null
        : { paymentKey: row.payment_key, outcome: row.payment_outcome, code: row.payment_code },
  };
}

export async function findTickets(db: ShopDatabase, lottoPublishId: number): Promise<LottoNumbers[]> {
  const rows = await db
    .selectFrom('lotto_ticket')
    .select('numbers')
    .where('lotto_publish_id', '=', lottoPublishId)
    .orderBy('id')
    .execute();
  return rows.map(({ numbers }) => numbers.split(',').map(Number));
}
