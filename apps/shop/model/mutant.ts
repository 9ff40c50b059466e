import type { DurableCallDefinition, DurableCallRules, DurableCallStore } from 'pawl';
import type { ChargeRequest, ChargeValue } from '../src/lotto/purchase/durable/definition.ts';
import type { Reconciliation } from '../src/lotto/purchase/durable/reconcile.ts';
import type { PurchaseRows } from '../src/lotto/purchase/durable/rows.ts';
import type { Clock } from './clock.ts';
import type { Believed } from './payment-client.ts';
import type { ModelProvider } from './provider.ts';
import type { ModelRows } from './rows.ts';
import type { Configuration } from './schedule.ts';
import type { Actor } from './scheduler.ts';
import type { ModelStore } from './store.ts';
import type { Trx } from './table.ts';

export type PurchaseDefinition = DurableCallDefinition<Trx, ChargeRequest, ChargeValue>;

/** What a process of the model is made of. */
export interface Parts {
  readonly actor: Actor;
  readonly store: ModelStore;
  readonly rows: ModelRows;
  readonly provider: ModelProvider;
  readonly clock: Clock;
  readonly believed: Believed;
}

/** One rule taken back, and all others kept. */
export interface Mutant {
  readonly name: string;
  readonly harm: string;
  /** Where random search finds it soon. */
  readonly where: Partial<Configuration>;
  /** Edges that it takes itself: the harm that they do shall be found, and not they. */
  readonly alsoAllowed?: readonly string[];
  /** With which it is found within some twenty schedules: a test has no time for more. */
  readonly seed: number;
  /** Of one process. */
  rules?(): Partial<DurableCallRules>;
  store?(parts: Parts): DurableCallStore<Trx>;
  rows?(parts: Parts): PurchaseRows<Trx>;
  definition?(definition: PurchaseDefinition, parts: Parts): PurchaseDefinition;
  reconciliation?(reconciliation: Reconciliation<Trx>, parts: Parts): Promise<Reconciliation<Trx>>;
}
