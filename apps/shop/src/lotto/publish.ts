import {
  type Columns,
  type ConditionalUpdate,
  conditionalUpdate,
  type Done,
  fencedUpdate,
  type Refused,
  type SqlSession,
} from 'pawl';
import type { PaymentOutcome, PublishStatus, ShopDatabase, ShopTransaction } from '../store/database.ts';
import type { Trace } from '../trace.ts';

/** Who changes a status: every change is audited with it. */
export interface Actor {
  readonly strategy: string;
  readonly instance: string;
  readonly requestId: string;
}

/** The publish of an order, and on whose behalf its status changes. */
export interface PublishRef {
  readonly orderId: string;
  readonly lottoPublishId: number;
  readonly actor: Actor;
  /** Of the attempt to pay it: then it changes only while it is at this one. */
  readonly attempt?: number;
  /** Of the section that changes it, where there is one: then it changes only while it carries this token. */
  readonly fenceToken?: number;
}

/** The row that a publish is. */
function publishRow({ lottoPublishId }: Pick<PublishRef, 'lottoPublishId'>) {
  return { table: 'lotto_publish', key: { id: lottoPublishId } };
}

/** The same with the fence of a section. */
export function publishFence(publish: Pick<PublishRef, 'lottoPublishId'>, token: number) {
  return { ...publishRow(publish), fence: { column: 'fence', token } };
}

function change(
  sql: SqlSession,
  publish: PublishRef,
  update: Pick<ConditionalUpdate, 'expect' | 'set' | 'increment'>,
): Promise<Done<void> | Refused<'wrong-state' | 'fenced'>> {
  if (publish.fenceToken === undefined) return conditionalUpdate(sql, { ...publishRow(publish), ...update });
  return fencedUpdate(sql, { ...publishFence(publish, publish.fenceToken), ...update });
}

/**
 * Moves a publish along one edge of its state machine, if it still stands at `from`, and audits the move.
 *
 * The audit row is written under the row lock of the update, so the audit of one order is in the order of its
 * changes.
 */
export async function moveStatus(
  transaction: ShopTransaction,
  publish: PublishRef,
  from: PublishStatus,
  to: PublishStatus,
  set: Columns = {},
): Promise<Done<void> | Refused<'wrong-state' | 'fenced'>> {
  const { attempt } = publish;
  const moved = await change(transaction, publish, {
    expect: { status: from, ...(attempt === undefined ? {} : { attempt }) },
    set: { ...set, status: to },
    // Every change counts the version up, or an optimistic lock beside it would take a stale row for a fresh one.
    increment: 'version',
  });
  if (moved.outcome === 'done') await auditStatus(transaction, publish, from, to);
  return moved;
}

export async function auditStatus(
  { trx }: ShopTransaction,
  { orderId, actor }: PublishRef,
  from: PublishStatus,
  to: PublishStatus,
): Promise<void> {
  await trx
    .insertInto('order_status_audit')
    .values({
      order_id: orderId,
      from_status: from,
      to_status: to,
      strategy: actor.strategy,
      instance: actor.instance,
      request_id: actor.requestId,
    })
    .execute();
}

/**
 * Notes what became of an attempt to pay, beside the status, so that the member can see it; unless the status
 * has moved on meanwhile, or the order is PENDING for another payment.
 */
export async function notePayment(
  sql: SqlSession,
  publish: PublishRef,
  status: PublishStatus,
  payment: PaymentNote,
): Promise<void> {
  await change(sql, publish, {
    expect: status === 'PENDING' ? { status, payment_key: payment.paymentKey } : { status },
    set: paymentColumns(payment),
  });
}

/** What is known of an attempt to pay. `code`: the provider's, or our client's where it gave none. */
export interface PaymentNote {
  readonly paymentKey: string;
  readonly outcome: PaymentOutcome;
  readonly code: string | null;
}

export function paymentColumns({ paymentKey, outcome, code }: PaymentNote): Columns {
  return { payment_key: paymentKey, payment_outcome: outcome, payment_code: code };
}

/** Reads the status as it is now, without a lock: it may be another one a moment later. */
export async function readStatus(
  db: ShopDatabase | ShopTransaction['trx'],
  { lottoPublishId, trace }: Pick<PublishRef, 'lottoPublishId'> & { readonly trace: Trace },
): Promise<{ status: PublishStatus; version: number }> {
  const read = await db
    .selectFrom('lotto_publish')
    .select(['status', 'version'])
    .where('id', '=', lottoPublishId)
    .executeTakeFirstOrThrow();
  trace.mark('read');
  return read;
}
