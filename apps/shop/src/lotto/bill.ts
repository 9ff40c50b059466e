import type { CapturedPayment } from '../payment/provider.ts';
import type { ShopDatabase, ShopTransaction } from '../store/database.ts';
import { insertForId } from '../store/expressions.ts';
import type { PublishRef } from './publish.ts';

export interface Bill {
  readonly id: number;
  readonly purchase: {
    readonly totalAmount: number;
    readonly paymentKey: string;
    readonly orderId: string;
    readonly status: string;
    readonly purchaseProvider: string;
    readonly method: string;
  };
  readonly lottoPublish: {
    readonly id: number;
    readonly issued_at: Date;
    readonly lotto_round_info_id: number;
    readonly status: string;
  };
}

/** Records the purchase and its bill. @returns the bill's id */
export async function insertBill(
  transaction: ShopTransaction,
  publish: PublishRef & { readonly memberId: number },
  payment: CapturedPayment,
): Promise<number> {
  const { trx } = transaction;
  const purchase = trx.insertInto('purchase').values({
    order_id: publish.orderId,
    payment_key: payment.paymentKey,
    total_amount: payment.totalAmount,
    currency: payment.currency,
    status: 'SUCCESS',
    provider: 'TOSS',
    method: payment.method,
  });
  const bill = trx.insertInto('bill').values({
    member_id: publish.memberId,
    purchase_id: await insertForId(transaction, purchase),
    lotto_publish_id: publish.lottoPublishId,
  });
  return insertForId(transaction, bill);
}

/** Of these payment keys, those whose purchase is recorded. */
export async function findPurchased(
  db: ShopDatabase,
  paymentKeys: readonly string[],
): Promise<ReadonlySet<string>> {
  if (paymentKeys.length === 0) return new Set();
  const rows = await db
    .selectFrom('purchase')
    .select('payment_key')
    .where('payment_key', 'in', [...paymentKeys])
    .execute();
  return new Set(rows.map(({ payment_key }) => payment_key));
}

/** A member's bill. Somebody else's is not found, exactly like one that does not exist. */
export async function findBill(
  db: ShopDatabase,
  key: { billId: number; memberId: number },
): Promise<Bill | undefined> {
  const row = await db
    .selectFrom('bill')
    .innerJoin('purchase', 'purchase.id', 'bill.purchase_id')
    .innerJoin('lotto_publish', 'lotto_publish.id', 'bill.lotto_publish_id')
    .select([
      'bill.id as bill_id',
      'purchase.total_amount',
      'purchase.payment_key',
      'purchase.order_id',
      'purchase.status as purchase_status',
      'purchase.provider',
      'purchase.method',
      'lotto_publish.id as publish_id',
      'bill.created_at',
      'lotto_publish.lotto_round_info_id',
      'lotto_publish.status as publish_status',
    ])
    .where('bill.id', '=', key.billId)
    .where('bill.member_id', '=', key.memberId)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  return {
    id: row.bill_id,
    purchase: {
      totalAmount: row.total_amount,
      paymentKey: row.payment_key,
      orderId: row.order_id,
      status: row.purchase_status,
      purchaseProvider: row.provider,
      method: row.method,
    },
    lottoPublish: {
      id: row.publish_id,
      issued_at: row.created_at,
      lotto_round_info_id: row.lotto_round_info_id,
      status: row.publish_status,
    },
  };
}
