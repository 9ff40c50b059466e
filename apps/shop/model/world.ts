import { type Clock, SESSION_MS } from './clock.ts';
import type { Counts } from './counts.ts';
import { Invariants } from './invariants.ts';
import type { Mutant } from './mutant.ts';
import { ModelProvider } from './provider.ts';
import { type ModelRows, modelRows } from './rows.ts';
import { type Configuration, orders, sessions } from './schedule.ts';
import type { Message } from './scheduler.ts';
import { type ModelStore, modelStore } from './store.ts';
import { newTrx } from './table.ts';

/** What outlives every process: the database, the provider, what is on its way between them, and the time. */
export class World {
  readonly clock: Clock = { now: 0 };
  readonly configuration: Configuration;
  readonly mutant: Mutant | undefined;
  readonly counts: Counts;
  readonly invariants: Invariants;
  readonly store: ModelStore;
  readonly rows: ModelRows;
  readonly provider: ModelProvider;
  readonly messages: Message[] = [];
  /** The orders whose member has asked for his money back. */
  readonly takenBack = new Set<string>();
  /** What no process may throw: the model, or the code that it runs, is wrong. */
  bug: { readonly cause: unknown } | undefined;

  constructor(configuration: Configuration, mutant: Mutant | undefined, counts: Counts) {
    const { clock } = this;
    this.configuration = configuration;
    this.mutant = mutant;
    this.counts = counts;
    const invariants = new Invariants(mutant?.alsoAllowed ?? []);
    this.invariants = invariants;
    this.store = modelStore(clock, counts);
    const isRecorded = (orderId: string, attempt: number) =>
      [...this.store.records.all()].some(({ call }) => call.subject === orderId && call.attempt === attempt);
    this.rows = modelRows(clock, counts, isRecorded, (order, to) => {
      counts.saw(`order ${order.status} → ${to}`);
      invariants.moved(order, to);
    });
    this.provider = new ModelProvider(clock, configuration, counts, invariants);
    for (const { orderId, memberId } of orders) {
      const order = { orderId, memberId, status: 'WAITING', attempt: 1, paymentKey: undefined } as const;
      this.rows.orders.put(newTrx(), orderId, order);
    }
    for (const { paymentKey, orderId } of sessions) {
      const isDeclined = configuration.declines && paymentKey === 'a1';
      this.provider.openSession(paymentKey, orderId, SESSION_MS, isDeclined);
    }
  }

  /** Another one whenever anything in the database has changed. */
  get version(): number {
    const { orders: orderRows, purchases, strays } = this.rows;
    return this.store.records.version + orderRows.version + purchases.version + strays.version;
  }
}
