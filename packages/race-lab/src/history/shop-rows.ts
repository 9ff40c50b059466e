/** What the shop's database says when everything has come to rest. Identifiers are text, amounts whole won. */
export interface ShopRows {
  orders: readonly OrderRow[];
  /** The bills that stand: one whose purchase was refunded is not listed. */
  bills: readonly BillRow[];
  /** Every change of an order's status, in the order of `id`. */
  audit: readonly AuditRow[];
}

export interface OrderRow {
  orderId: string;
  memberId: string;
  amount: number;
  currency: string;
  status: string;
}

export interface BillRow {
  billId: string;
  orderId: string;
  memberId: string;
  paymentKey: string;
  amount: number;
}

export interface AuditRow {
  id: string;
  orderId: string;
  from: string;
  to: string;
  /** The request that caused the change; null when no request did (recovery, for example). */
  requestId: string | null;
  strategy: string;
  instance: string;
}
