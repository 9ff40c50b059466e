import type { Row, SqlStatement } from 'pawl';
import type { PublishStatus } from '../../../store/database.ts';

/** A bill, with the purchase that it is for. */
export interface NewBill {
  readonly orderId: string;
  readonly lottoPublishId: number;
  readonly memberId: number;
  readonly paymentKey: string;
  readonly totalAmount: number;
  readonly currency: string;
  readonly method: string;
}

/** What decides about an order beside its own row. */
export interface ReadOrder {
  readonly id: number;
  readonly order_id: string;
  readonly member_id: number;
  readonly amount: number;
  readonly currency: string;
  readonly round_id: number;
  /** As it stands, whoever has it locked. */
  readonly status: PublishStatus;
  /** 1: by the database's clock, its round sells. */
  readonly on_sale: number;
  /** 1: its round was drawn or called off. */
  readonly is_over: number;
}

export interface WrittenBill {
  readonly id: number;
  readonly created_at: Date;
  readonly lotto_publish_id: number;
}

/** The statements about many purchases that the library has none for. At least one is given each time. */
export interface GroupedStatements {
  /** Reads what there is of them, whoever has them locked: as `ReadOrder`. */
  readOrders(publishIds: readonly number[]): SqlStatement;
  /**
   * Locks the orders, shared, and reads their `order_id`: the audit and the purchase refer to them, and whoever inserts these locks what they
   * refer to. Without `wait` orders that somebody has for himself are passed over.
   */
  lockOrders(orderIds: readonly string[], wait: boolean): SqlStatement;
  /**
   * Locks the rounds that are neither drawn nor called off, and reads their `id`. The lock is shared by all who buy, and keeps the draw
   * waiting until they have committed. Without `wait` rounds that somebody has for himself are passed over.
   */
  lockRounds(roundIds: readonly number[], wait: boolean): SqlStatement;
  /** The result of the last one is read as `WrittenBill`, the newest of each order last. */
  insertBills(bills: readonly NewBill[]): readonly SqlStatement[];
}

/** As the statement reads it. */
export function rowsAs<Read>(rows: readonly Row[]): readonly Read[] {
  return rows as unknown as readonly Read[];
}
