import { type SqlBool, sql } from 'kysely';
import { type Done, done, type Refused, refused, retryOnConflict } from 'pawl';
import type { CapturedPayment, ChargeOutcome } from '../../payment/provider.ts';
import type { PublishStatus, ShopTransaction } from '../../store/database.ts';
import { clock } from '../../store/expressions.ts';
import { insertBill } from '../bill.ts';
import {
  auditStatus,
  moveStatus,
  notePayment,
  type PaymentNote,
  paymentColumns,
  readStatus,
} from '../publish.ts';
import type { Purchase, PurchaseOutcome, PurchaseTools } from './strategy.ts';

/** The code of a payment whose outcome is known to the provider, and could not be written down here. */
const NOT_RECORDED = 'NOT_RECORDED';

/** Why an order in this status cannot be paid. */
export function refusalFor(
  status: Exclude<PublishStatus, 'WAITING'>,
): Refused<'in-progress' | 'already-done' | 'wrong-state'> {
  if (status === 'PENDING') return refused('in-progress');
  return refused(status === 'COMPLETE' ? 'already-done' : 'wrong-state');
}

/** Reads the status, and refuses what is not waiting to be paid. Without a lock: it may be another one a moment later. */
export async function lookWhetherWaiting(
  tools: PurchaseTools,
  purchase: Purchase,
): Promise<Done<void> | ReturnType<typeof refusalFor>> {
  const { status } = await readStatus(tools.db, purchase);
  return status === 'WAITING' ? done(undefined) : refusalFor(status);
}

/** The columns that show a payment under way. */
export function underWay({ paymentKey }: Purchase) {
  return paymentColumns({ paymentKey, outcome: 'in-progress', code: null });
}

/** WAITING → PENDING, noting the payment that is under way; refused when the sale has closed by then. */
export async function claimOrder(transaction: ShopTransaction, purchase: Purchase) {
  const moved = await moveStatus(transaction, purchase, 'WAITING', 'PENDING', underWay(purchase));
  return moved.outcome === 'done' ? whileOnSale(transaction, purchase) : moved;
}

/** The sales window, at the moment of the claim and by the database's clock: waiting for a lock takes its time. */
export async function whileOnSale(
  transaction: ShopTransaction,
  { lottoPublishId }: Pick<Purchase, 'lottoPublishId'>,
): Promise<Done<void> | Refused<'not-open'>> {
  const { open } = await transaction.trx
    .selectFrom('lotto_publish')
    .innerJoin('lotto_round_info', 'lotto_round_info.id', 'lotto_publish.lotto_round_info_id')
    .select(
      sql<SqlBool>`(${clock(transaction)} < sales_close_at and drawn_at is null and called_off_at is null)`.as(
        'open',
      ),
    )
    .where('lotto_publish.id', '=', lottoPublishId)
    .executeTakeFirstOrThrow();
  return open ? done(undefined) : refused('not-open');
}

export async function charge(tools: PurchaseTools, purchase: Purchase): Promise<ChargeOutcome> {
  const { paymentKey, orderId, amount, currency, testCode, actor, trace } = purchase;
  const charged = await tools.provider.confirm({
    paymentKey,
    orderId,
    amount,
    currency,
    testCode,
    requestId: actor.requestId,
  });
  if (charged.outcome === 'done') trace.mark('charged');
  return charged;
}

/**
 * Records what came of the charge of a claimed order: PENDING → COMPLETE with the purchase and its bill, or
 * PENDING → WAITING after a definite no, or a note on the PENDING order that nobody knows.
 *
 * @param giveBack  What the claim took besides the status, to be given back with it.
 */
export async function recordCharge(
  transaction: ShopTransaction,
  purchase: Purchase,
  charged: ChargeOutcome,
  giveBack: (transaction: ShopTransaction) => Promise<unknown> = async () => undefined,
): Promise<PurchaseOutcome> {
  const note = noteOf(purchase, charged);
  switch (charged.outcome) {
    case 'done': {
      const moved = await moveStatus(transaction, purchase, 'PENDING', 'COMPLETE', paymentColumns(note));
      if (moved.outcome !== 'done') return { outcome: 'unknown', code: NOT_RECORDED };
      return { ...moved, value: { billId: await insertBill(transaction, purchase, charged.value) } };
    }
    case 'refused': {
      const moved = await moveStatus(transaction, purchase, 'PENDING', 'WAITING', paymentColumns(note));
      if (moved.outcome !== 'done') return { outcome: 'unknown', code: NOT_RECORDED };
      await giveBack(transaction);
      return charged;
    }
    case 'unknown':
      await notePayment(transaction, purchase, 'PENDING', note);
      return { outcome: 'unknown', code: charged.code };
  }
}

/**
 * Charges an order that the caller has claimed (it is PENDING, so nobody else touches it), and records what came
 * of it. Between the claim and the record nothing is held: no transaction, no connection.
 *
 * What if the process dies here? The order stays PENDING with its payment `in-progress`: nobody can charge it
 * again, and nobody finishes it. That is what the durable purchase is for.
 */
export async function chargeClaimed(
  tools: PurchaseTools,
  purchase: Purchase,
  giveBack?: (transaction: ShopTransaction) => Promise<unknown>,
): Promise<PurchaseOutcome> {
  purchase.trace.mark('claimed');
  const charged = await charge(tools, purchase);
  return recorded(tools, purchase, () =>
    tools.sql.transaction((transaction) => recordCharge(transaction, purchase, charged, giveBack)),
  );
}

/**
 * Charges an order that nobody has claimed in the database, and writes all of it afterwards: as a unit of work
 * that is flushed at its end, the way an ORM does it. Until then everybody else reads WAITING.
 *
 * It is safe only while something outside the database keeps the others away. The writes check nothing: two that
 * come this far both complete, with a bill each.
 */
export async function chargeUnclaimed(tools: PurchaseTools, purchase: Purchase): Promise<PurchaseOutcome> {
  const charged = await charge(tools, purchase);
  return recorded(tools, purchase, () =>
    tools.sql.transaction(async (transaction) => {
      const note = noteOf(purchase, charged);
      switch (charged.outcome) {
        case 'done':
          return completeUnchecked(transaction, purchase, charged.value);
        case 'refused':
          await notePayment(transaction, purchase, 'WAITING', note);
          return charged;
        case 'unknown':
          // PENDING, so that a later request does not charge what may have been charged.
          await moveStatus(transaction, purchase, 'WAITING', 'PENDING', paymentColumns(note));
          return { outcome: 'unknown', code: charged.code };
      }
    }),
  );
}

async function completeUnchecked(
  transaction: ShopTransaction,
  purchase: Purchase,
  payment: CapturedPayment,
): Promise<PurchaseOutcome> {
  await transaction.trx
    .updateTable('lotto_publish')
    .set((row) => ({
      status: 'COMPLETE',
      version: row('version', '+', 1),
      payment_key: payment.paymentKey,
      payment_outcome: 'captured',
      payment_code: null,
    }))
    .where('id', '=', purchase.lottoPublishId)
    .execute();
  await auditStatus(transaction, purchase, 'WAITING', 'PENDING');
  await auditStatus(transaction, purchase, 'PENDING', 'COMPLETE');
  const billId = await insertBill(transaction, purchase, payment);
  return { outcome: 'done', value: { billId }, replayed: false };
}

/**
 * The provider has been asked, so whatever fails now must not look like a failed purchase: the order becomes (or
 * stays) PENDING with an unknown payment, the member hears so, and somebody is told. Where even that cannot be
 * written, the answer is the same. A deadlock is no failure yet: the record has no effect outside its transaction, so
 * it is tried again.
 */
async function recorded(
  tools: PurchaseTools,
  purchase: Purchase,
  record: () => Promise<PurchaseOutcome>,
): Promise<PurchaseOutcome> {
  try {
    const outcome = await retryOnConflict(record);
    if (outcome.outcome === 'refused' && outcome.reason === 'contended') {
      return await notRecorded(tools, purchase, 'every attempt to record it met a conflict');
    }
    if (outcome.outcome === 'done') purchase.trace.mark('committed');
    if (outcome.outcome !== 'unknown' || outcome.code !== NOT_RECORDED) return outcome;
    return await notRecorded(tools, purchase, 'the order was changed by somebody else meanwhile');
  } catch (cause) {
    return notRecorded(tools, purchase, cause);
  }
}

/** Shows the payment as unknown in a transaction of its own. Never throws. */
export async function notRecorded(
  tools: PurchaseTools,
  purchase: Purchase,
  cause: unknown,
): Promise<PurchaseOutcome> {
  try {
    return await tools.sql.transaction(async (transaction) => {
      const note = paymentColumns(unrecorded(purchase));
      await moveStatus(transaction, purchase, 'WAITING', 'PENDING', note);
      return noteNotRecorded(tools, transaction, purchase, cause);
    });
  } catch (again) {
    report(tools, purchase, 'nor could it be shown that it is not known', again);
    return { outcome: 'unknown', code: NOT_RECORDED };
  }
}

/** Shows the payment of a PENDING order as unknown, and tells somebody why. */
export async function noteNotRecorded(
  tools: PurchaseTools,
  transaction: ShopTransaction,
  purchase: Purchase,
  cause: unknown,
): Promise<PurchaseOutcome> {
  report(tools, purchase, 'what became of a payment could not be recorded', cause);
  await notePayment(transaction, purchase, 'PENDING', unrecorded(purchase));
  return { outcome: 'unknown', code: NOT_RECORDED };
}

function unrecorded({ paymentKey }: Purchase): PaymentNote {
  return { paymentKey, outcome: 'unknown', code: NOT_RECORDED };
}

function report(tools: PurchaseTools, { orderId, actor }: Purchase, message: string, cause: unknown): void {
  tools.onTrouble(message, { orderId, requestId: actor.requestId, cause });
}

function noteOf({ paymentKey }: Purchase, charged: ChargeOutcome): PaymentNote {
  if (charged.outcome === 'done') return { paymentKey, outcome: 'captured', code: null };
  if (charged.outcome === 'unknown') return { paymentKey, outcome: 'unknown', code: charged.code };
  return { paymentKey, outcome: charged.reason === 'declined' ? 'declined' : 'not-sent', code: charged.code };
}
