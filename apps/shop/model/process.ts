import { type DurableCalls, durableCalls, StoreError } from 'pawl';
import {
  type ChargeRequest,
  type ChargeValue,
  purchaseDefinition,
} from '../src/lotto/purchase/durable/definition.ts';
import type { PaymentProvider } from '../src/payment/provider.ts';
import { LEASE_MS, MAX_PAUSE_MS, PAUSE_MS } from './clock.ts';
import { billText, NOT_PAID } from './invariants.ts';
import type { Parts } from './mutant.ts';
import { type Believed, paymentClient } from './payment-client.ts';
import { OrderMovedOn } from './rows.ts';
import { Actor } from './scheduler.ts';
import { steppedStore } from './stepped.ts';
import type { Trx } from './table.ts';
import type { World } from './world.ts';

const times = {
  leaseMs: LEASE_MS,
  retentionMs: 1_000_000_000,
  recovery: { pauseMs: PAUSE_MS, maxPauseMs: MAX_PAUSE_MS, jitter: 0, most: 1 },
};

const answer = (text: string) => ({ status: 200, body: Buffer.from(text) });

/** A process of the shop: the library and the shop's definition as they are, over ports that the schedule holds up. */
export interface Process extends Parts {
  readonly calls: DurableCalls<Trx, ChargeRequest, ChargeValue>;
  readonly client: PaymentProvider;
}

/** @param work  What it is for. It ends with it, unless it dies before. */
export function begin(world: World, name: string, work: (process: Process) => Promise<void>): Actor {
  const actor = new Actor(name);
  return actor.runs(() => work(processOf(world, actor)).catch((cause) => expectFailure(world, cause)));
}

/** A store may fail whoever asks it, and nothing else may: the rest is found out by recovery. */
function expectFailure(world: World, cause: unknown): void {
  const isOfMutant = world.mutant !== undefined && cause instanceof OrderMovedOn;
  if (cause instanceof StoreError || isOfMutant) world.counts.saw('failed for want of the store');
  else world.bug ??= { cause };
}

function processOf(world: World, actor: Actor): Process {
  const { store, rows, provider, clock, invariants, messages, mutant } = world;
  const believed: Believed = (paymentKey, madeFor) => invariants.believed(paymentKey, madeFor);
  const client = paymentClient(actor, provider, messages, believed);
  const parts: Parts = { actor, store, rows, provider, clock, believed };
  const definition = purchaseDefinition({
    provider: client,
    rows: mutant?.rows?.(parts) ?? rows,
    answers: {
      billed: (bill) => answer(billText(bill)),
      notPaid: () => answer(NOT_PAID),
      refunded: () => answer('refunded'),
    },
    isIdempotent: world.configuration.honoursKeys,
    serverName: actor.name,
  });
  const rules = mutant?.rules?.();
  const calls = durableCalls(
    steppedStore(actor, mutant?.store?.(parts) ?? store),
    mutant?.definition?.(definition, parts) ?? definition,
    {
      ...times,
      ...(rules === undefined ? {} : { rules }),
      onEvent({ kind, cause }) {
        world.counts.saw(`event: ${kind}`);
        if (cause !== undefined) expectFailure(world, cause);
      },
    },
  );
  return { ...parts, client, calls };
}
