import type { Cluster, GatewayMode } from '../cluster/cluster.ts';
import type { Store } from '../cluster/store.ts';
import { bystanderStrategies, GATEWAY_MS, measureBystanders } from '../experiments/bystanders.ts';
import { racePurchases } from '../experiments/purchase-race.ts';
import type { RunSetting } from '../experiments/purchase-run.ts';
import { type PurchaseStrategyName, purchaseStrategyNames } from '../experiments/purchase-strategies.ts';
import type { RunReport } from '../report/report.ts';
import { withoutCredentials } from '../report/store-name.ts';
import { BadArgumentsError } from './arguments.ts';

/** `race` as it was called; what is undefined is left to the experiment. */
export interface RaceArguments {
  experiment: RunReport['experiment'];
  strategy: readonly PurchaseStrategyName[] | undefined;
  instances: number | undefined;
  orders: number | undefined;
  fanout: number | undefined;
  purchases: number | undefined;
  seconds: number | undefined;
  store: Store;
  gateway: GatewayMode;
  seed: number;
  /** Where the reports go as JSON. */
  json: string | undefined;
}

/** What each experiment takes when it is not told; the help says the same. */
export const defaults = {
  purchase: { instances: 4, orders: 100, fanout: 5 },
  bystanders: { instances: 1, purchases: 200, seconds: 10 },
} as const;

/** A race whose arguments fit together. */
export interface PlannedRace {
  instances: number;
  sandboxEnv: Readonly<Record<string, string>>;
  run(cluster: Cluster, by: RaceStart): Promise<RunReport[]>;
  /** The arguments that run the same race again. */
  again: string;
}

export interface RaceStart {
  setting: RunSetting;
  signal: AbortSignal;
  progress(text: string): void;
}

/** @throws BadArgumentsError  An option or a strategy does not belong to the experiment. */
export function planRace(given: RaceArguments): PlannedRace {
  return given.experiment === 'purchase' ? planPurchase(given) : planBystanders(given);
}

function planPurchase(given: RaceArguments): PlannedRace {
  reject(given, ['purchases', 'seconds']);
  const { instances, orders, fanout } = withDefaults(given, defaults.purchase);
  const { strategy: strategies = purchaseStrategyNames } = given;
  return {
    instances,
    sandboxEnv: {},
    run: (cluster, { setting, signal, progress }) =>
      racePurchases(cluster, {
        ...{ strategies, orders, fanout, setting, signal },
        onProgress: (strategy, done, total) => progress(`racing ${strategy}: ${done} of ${total} orders`),
      }),
    again: [...againWith(given, instances), `--orders ${orders} --fanout ${fanout}`].join(' '),
  };
}

function planBystanders(given: RaceArguments): PlannedRace {
  reject(given, ['orders', 'fanout']);
  const { instances, purchases, seconds } = withDefaults(given, defaults.bystanders);
  const { strategy: strategies = bystanderStrategies } = given;
  for (const strategy of strategies) {
    if (bystanderStrategies.includes(strategy)) continue;
    const possible = bystanderStrategies.join(', ');
    throw new BadArgumentsError(`bystanders measures ${possible}: ${strategy} is not right to begin with`);
  }
  return {
    instances,
    sandboxEnv: { LATENCY_MIN_MS: String(GATEWAY_MS), LATENCY_MAX_MS: String(GATEWAY_MS) },
    run: (cluster, { setting, signal, progress }) =>
      measureBystanders(cluster, {
        ...{ strategies, purchasesInFlight: purchases, seconds, setting, signal },
        onProgress: (strategy, what) => progress(`${what} with ${strategy}`),
      }),
    again: [
      ...['bystanders', ...againWith(given, instances)],
      `--purchases ${purchases} --seconds ${seconds}`,
    ].join(' '),
  };
}

function againWith({ strategy, store, gateway, seed }: RaceArguments, instances: number): string[] {
  return [
    ...(strategy === undefined ? [] : [`--strategy ${strategy.join(',')}`]),
    `--store ${withoutCredentials(store)} --gateway ${gateway} --instances ${instances} --seed ${seed}`,
  ];
}

function reject(given: RaceArguments, options: readonly ('orders' | 'fanout' | 'purchases' | 'seconds')[]) {
  for (const option of options) {
    if (given[option] === undefined) continue;
    throw new BadArgumentsError(`--${option} has no meaning in the experiment ${given.experiment}`);
  }
}

/** The given values where there are any. */
function withDefaults<Name extends 'instances' | 'orders' | 'fanout' | 'purchases' | 'seconds'>(
  given: RaceArguments,
  absent: Readonly<Record<Name, number>>,
): Record<Name, number> {
  const names = Object.keys(absent) as Name[];
  return Object.fromEntries(names.map((name) => [name, given[name] ?? absent[name]])) as Record<Name, number>;
}
