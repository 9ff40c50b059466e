import { type FailpointName, failpointNames } from 'pawl/failpoints';
import type { Cluster, ClusterOptions, GatewayMode } from '../cluster/cluster.ts';
import { databaseKind, type Store } from '../cluster/store.ts';
import { bystanderStrategies, GATEWAY_MS, measureBystanders } from '../experiments/bystanders.ts';
import { couponCells, leftOut } from '../experiments/coupon-cells.ts';
import { raceCoupons } from '../experiments/coupon-race.ts';
import { couponScenarioNames } from '../experiments/coupon-scenario-names.ts';
import { couponStrategies, couponStrategyNames } from '../experiments/coupon-strategies.ts';
import { raceLocks } from '../experiments/lock-race.ts';
import { lockSandboxEnv, lockShopEnv } from '../experiments/lock-settings.ts';
import { lockStrategyNames } from '../experiments/lock-strategies.ts';
import { racePurchases } from '../experiments/purchase-race.ts';
import { purchaseStrategyNames } from '../experiments/purchase-strategies.ts';
import {
  hangsOnErrors,
  type ProviderKind,
  type RecoveryFaultName,
  recoveryFaultNames,
} from '../experiments/recovery-faults.ts';
import { raceRecovery } from '../experiments/recovery-race.ts';
import { recoverySandboxEnv, recoveryShopEnv } from '../experiments/recovery-settings.ts';
import type { RunSetting } from '../experiments/run-context.ts';
import { lockFaultNames } from '../nemesis/lock-fault-names.ts';
import type { RunReport } from '../report/report.ts';
import { withoutCredentials } from '../report/store-name.ts';
import { BadArgumentsError, oneOf } from './arguments.ts';

/** `race` as it was called; what is undefined is left to the experiment. */
export interface RaceArguments {
  experiment: RunReport['experiment'];
  strategy: readonly string[] | undefined;
  scenario: readonly string[] | undefined;
  fault: readonly string[] | undefined;
  failpoint: readonly string[] | undefined;
  instances: number | undefined;
  orders: number | undefined;
  fanout: number | undefined;
  purchases: number | undefined;
  seconds: number | undefined;
  runs: number | undefined;
  store: Store;
  gateway: GatewayMode | undefined;
  seed: number;
}

/** What each experiment takes when it is not told; the help says the same. */
export const defaults = {
  purchase: { instances: 4, orders: 100, fanout: 5 },
  bystanders: { instances: 1, purchases: 200, seconds: 10 },
  coupon: { instances: 4, runs: 1 },
  lock: { instances: 4, runs: 3 },
  recovery: { instances: 4, orders: 10 },
} as const;

export const DEFAULT_GATEWAY: GatewayMode = 'as-published';

/** A race whose arguments fit together. */
export interface PlannedRace {
  /** One after the other, each on a cluster of its own. */
  stages: readonly RaceStage[];
  /** The arguments that run the same race again. */
  again: string;
  /** What is not raced, in sentences. */
  notes: readonly string[];
}

export interface RaceStage {
  cluster: Pick<ClusterOptions, 'instances' | 'gateway' | 'sandboxEnv' | 'shopEnv' | 'redis'> & {
    gateway: GatewayMode;
  };
  run(cluster: Cluster, by: RaceStart): Promise<RunReport[]>;
}

export interface RaceStart {
  /** Its gateway is that of the cluster. */
  setting: RunSetting;
  signal: AbortSignal;
  progress(text: string): void;
}

/** @throws BadArgumentsError  An option or a strategy does not belong to the experiment. */
export function planRace(given: RaceArguments): PlannedRace {
  switch (given.experiment) {
    case 'purchase':
      return planPurchase(given);
    case 'bystanders':
      return planBystanders(given);
    case 'coupon':
      return planCoupon(given);
    case 'lock':
      return planLock(given);
    case 'recovery':
      return planRecovery(given);
  }
}

function planPurchase(given: RaceArguments): PlannedRace {
  reject(given, ['purchases', 'seconds', 'scenario', 'fault', 'failpoint', 'runs']);
  const { instances, orders, fanout } = withDefaults(given, defaults.purchase);
  const { gateway = DEFAULT_GATEWAY } = given;
  const strategies = namedIn('--strategy', purchaseStrategyNames, given.strategy) ?? purchaseStrategyNames;
  const stage: RaceStage = {
    cluster: { instances, gateway },
    run: (cluster, { setting, signal, progress }) =>
      racePurchases(cluster, {
        ...{ strategies, orders, fanout, setting, signal },
        onProgress: (strategy, done, total) => progress(`racing ${strategy}: ${done} of ${total} orders`),
      }),
  };
  return {
    stages: [stage],
    again: [
      ...againWith(given, instances),
      `--gateway ${gateway} --orders ${orders} --fanout ${fanout}`,
    ].join(' '),
    notes: [],
  };
}

function planBystanders(given: RaceArguments): PlannedRace {
  reject(given, ['orders', 'fanout', 'scenario', 'fault', 'failpoint', 'runs']);
  const { instances, purchases, seconds } = withDefaults(given, defaults.bystanders);
  const { gateway = DEFAULT_GATEWAY } = given;
  const strategies = namedIn('--strategy', purchaseStrategyNames, given.strategy) ?? bystanderStrategies;
  for (const strategy of strategies) {
    if (bystanderStrategies.includes(strategy)) continue;
    const possible = bystanderStrategies.join(', ');
    throw new BadArgumentsError(`bystanders measures ${possible}: ${strategy} is not right to begin with`);
  }
  const stage: RaceStage = {
    cluster: {
      ...{ instances, gateway },
      sandboxEnv: { LATENCY_MIN_MS: String(GATEWAY_MS), LATENCY_MAX_MS: String(GATEWAY_MS) },
    },
    run: (cluster, { setting, signal, progress }) =>
      measureBystanders(cluster, {
        ...{ strategies, purchasesInFlight: purchases, seconds, setting, signal },
        onProgress: (strategy, what) => progress(`${what} with ${strategy}`),
      }),
  };
  return {
    stages: [stage],
    again: [
      ...['bystanders', ...againWith(given, instances)],
      `--gateway ${gateway} --purchases ${purchases} --seconds ${seconds}`,
    ].join(' '),
    notes: [],
  };
}

function planCoupon(given: RaceArguments): PlannedRace {
  reject(given, ['orders', 'fanout', 'purchases', 'seconds', 'fault', 'failpoint', 'gateway']);
  const { instances, runs } = withDefaults(given, defaults.coupon);
  const strategies = namedIn('--strategy', couponStrategyNames, given.strategy);
  const scenarios = namedIn('--scenario', couponScenarioNames, given.scenario);
  const choice = { strategies, scenarios, runs, database: databaseKind(given.store) };
  const cells = couponCells(choice);
  if (cells.length === 0) {
    const possible = (strategies ?? []).map((name) => `${name} is raced in ${couponStrategies[name].onceIn}`);
    throw new BadArgumentsError(`nothing to race: ${possible.join(', ')} only`);
  }
  const stage: RaceStage = {
    cluster: { instances, gateway: DEFAULT_GATEWAY },
    run: (cluster, { setting, signal, progress }) =>
      raceCoupons(cluster, {
        ...{ cells, setting, signal },
        onProgress: ({ strategy, scenario }, answered) =>
          progress(`racing ${strategy} in ${scenario}: ${answered} answers`),
      }),
  };
  return {
    stages: [stage],
    again: [
      ...['coupon', ...againWith(given, instances)],
      ...(scenarios === undefined ? [] : [`--scenario ${scenarios.join(',')}`]),
      `--runs ${runs}`,
    ].join(' '),
    notes: leftOut(choice),
  };
}

function planLock(given: RaceArguments): PlannedRace {
  reject(given, ['orders', 'fanout', 'purchases', 'seconds', 'scenario', 'failpoint', 'gateway']);
  const { instances, runs } = withDefaults(given, defaults.lock);
  if (instances < 2)
    throw new BadArgumentsError('lock needs 2 instances at least: one has the lock, one waits');
  const strategies = namedIn('--strategy', lockStrategyNames, given.strategy) ?? lockStrategyNames;
  const faults = namedIn('--fault', lockFaultNames, given.fault);
  const stage: RaceStage = {
    cluster: {
      // One that charges again when it is asked again: whoever comes in beside the holder does harm that is seen.
      ...{ instances, gateway: 'generous', redis: 'faulty' },
      ...{ shopEnv: lockShopEnv, sandboxEnv: lockSandboxEnv },
    },
    run: (cluster, { setting, signal, progress }) =>
      raceLocks(cluster, {
        ...{ strategies, faults, runs, setting, signal },
        onProgress: ({ strategy, fault, nth }) =>
          progress(`racing ${strategy} under ${fault}: run ${nth} of ${runs}`),
      }),
  };
  return {
    stages: [stage],
    again: [
      ...['lock', ...againWith(given, instances)],
      ...(faults === undefined ? [] : [`--fault ${faults.join(',')}`]),
      `--runs ${runs}`,
    ].join(' '),
    notes: [],
  };
}

/**
 * A provider with idempotency keys is asked twice over, repeating its errors or not. Failpoints, and what hangs on these keys, are
 * raced with the first.
 */
function planRecovery(given: RaceArguments): PlannedRace {
  reject(given, ['strategy', 'fanout', 'purchases', 'seconds', 'scenario', 'runs']);
  const { instances, orders } = withDefaults(given, defaults.recovery);
  if (instances < 2)
    throw new BadArgumentsError('recovery needs 2 instances at least: one dies, one takes over');
  const { gateway, failpoint, fault } = given;
  if (gateway === 'as-published')
    throw new BadArgumentsError(
      'recovery asks a provider whose payments have a known end: --gateway toss or generous',
    );
  // Whoever names some of one kind does not mean the others.
  const isAll = failpoint === undefined && fault === undefined;
  const failpoints = allOf('--failpoint', failpointNames, failpoint ?? (isAll ? ['all'] : []));
  const faults = allOf('--fault', recoveryFaultNames, fault ?? (isAll ? ['all'] : []));
  if (failpoints.length > 0 && gateway === 'generous' && failpoint !== undefined)
    throw new BadArgumentsError(
      'failpoints are passed with a provider that knows idempotency keys: --gateway toss',
    );
  const stageOf = (
    kind: ProviderKind & { title: string },
    some: { failpoints: readonly FailpointName[]; faults: readonly RecoveryFaultName[] },
  ): RaceStage => ({
    cluster: {
      ...{ instances, gateway: kind.gateway },
      shopEnv: recoveryShopEnv,
      sandboxEnv: recoverySandboxEnv(kind),
    },
    run: (cluster, { setting, signal, progress }) =>
      raceRecovery(cluster, {
        ...{ ...some, provider: kind, orders, setting: { ...setting, gateway: kind.title }, signal },
        onProgress: (cells, done, total) => progress(`racing ${cells.join(', ')}: ${done} of ${total} cells`),
      }),
  });
  const stages: RaceStage[] = [];
  if (gateway !== 'generous') {
    stages.push(stageOf({ gateway: 'toss', replayErrors: true, title: 'toss' }, { failpoints, faults }));
    const others = faults.filter(hangsOnErrors);
    if (others.length > 0)
      stages.push(
        stageOf(
          { gateway: 'toss', replayErrors: false, title: 'toss, errors not repeated' },
          { failpoints: [], faults: others },
        ),
      );
  }
  if (gateway !== 'toss' && faults.length > 0)
    stages.push(
      stageOf({ gateway: 'generous', replayErrors: false, title: 'generous' }, { failpoints: [], faults }),
    );
  return {
    stages,
    again: [
      ...['recovery', ...againWith(given, instances), `--orders ${orders}`],
      ...(failpoint === undefined ? [] : [`--failpoint ${failpoint.join(',')}`]),
      ...(fault === undefined ? [] : [`--fault ${fault.join(',')}`]),
      ...(gateway === undefined ? [] : [`--gateway ${gateway}`]),
    ].join(' '),
    notes: [],
  };
}

/** Those that are named; with `all`, all of them. */
function allOf<Name extends string>(
  option: string,
  names: readonly Name[],
  given: readonly string[],
): readonly Name[] {
  return given.includes('all') ? names : (namedIn(option, names, given) ?? []);
}

/** @throws BadArgumentsError  One of the names that were given is not among those that there are. */
function namedIn<Name extends string>(
  option: string,
  names: readonly Name[],
  given: readonly string[] | undefined,
): Name[] | undefined {
  return given?.map((name) => oneOf(option, names, name));
}

function againWith({ strategy, store, seed }: RaceArguments, instances: number): string[] {
  return [
    ...(strategy === undefined ? [] : [`--strategy ${strategy.join(',')}`]),
    `--store ${withoutCredentials(store)} --instances ${instances} --seed ${seed}`,
  ];
}

type ExperimentOption =
  | 'orders'
  | 'fanout'
  | 'purchases'
  | 'seconds'
  | 'scenario'
  | 'fault'
  | 'failpoint'
  | 'strategy'
  | 'runs'
  | 'gateway';

function reject(given: RaceArguments, options: readonly ExperimentOption[]) {
  for (const option of options) {
    if (given[option] === undefined) continue;
    throw new BadArgumentsError(`--${option} has no meaning in the experiment ${given.experiment}`);
  }
}

/** The given values where there are any. */
function withDefaults<Name extends 'instances' | 'orders' | 'fanout' | 'purchases' | 'seconds' | 'runs'>(
  given: RaceArguments,
  absent: Readonly<Record<Name, number>>,
): Record<Name, number> {
  const names = Object.keys(absent) as Name[];
  return Object.fromEntries(names.map((name) => [name, given[name] ?? absent[name]])) as Record<Name, number>;
}
