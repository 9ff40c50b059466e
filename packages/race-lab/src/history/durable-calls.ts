/** What the shop records of one durable call: of an attempt to pay an order, or of a capture that no attempt accounts for. */
export interface DurableCallRow {
  /** What it is about, in the shop's words. */
  subject: string;
  orderId: string;
  attempt: number;
  state: string;
  /** 1 while only its owner had it. */
  fence: number;
  /** Milliseconds since 1970, by the database's clock, as is all that follows. */
  createdAtMs: number;
  /** When it was written last. Of a settled one: when it was settled. */
  changedAtMs: number;
  /** From when on what is not found was never captured; null where there is no such end. */
  finalAfterMs: number | null;
}

/** Nothing is left to be done about it. */
const SETTLED = ['done', 'released', 'compensated'];

export function isSettled({ state }: Pick<DurableCallRow, 'state'>): boolean {
  return SETTLED.includes(state);
}
