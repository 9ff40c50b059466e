export { judge } from './checkers/judge.ts';
export { type Cluster, type ClusterOptions, type GatewayMode, startCluster } from './cluster/cluster.ts';
export {
  ClusterSetupError,
  GuardianLostError,
  LeftBehindError,
  PortTakenError,
  ServerStartError,
} from './cluster/errors.ts';
export {
  type AnswerClass,
  type AnswerSeen,
  defineRace,
  type Expected,
  type FunctionCheck,
  type Member,
  type RaceDefinition,
  type RequestToRace,
  type Round,
  type SqlCheck,
} from './endpoint/define-race.ts';
export type { EndpointReport } from './endpoint/endpoint-report.ts';
export type { CouponCell } from './experiments/coupon-cells.ts';
export { type CouponRaceOptions, raceCoupons } from './experiments/coupon-race.ts';
export { type CouponScenarioName, couponScenarioNames } from './experiments/coupon-scenario-names.ts';
export { type CouponStrategyName, couponStrategyNames } from './experiments/coupon-strategies.ts';
export { type LockRaceOptions, raceLocks } from './experiments/lock-race.ts';
export { lockSandboxEnv, lockShopEnv } from './experiments/lock-settings.ts';
export { type LockStrategyName, lockStrategyNames } from './experiments/lock-strategies.ts';
export { type PurchaseRaceOptions, racePurchases } from './experiments/purchase-race.ts';
export { type PurchaseStrategyName, purchaseStrategyNames } from './experiments/purchase-strategies.ts';
export { type RecoveryFaultName, recoveryFaultNames } from './experiments/recovery-faults.ts';
export { type RecoveryRaceOptions, raceRecovery } from './experiments/recovery-race.ts';
export { recoverySandboxEnv, recoveryShopEnv } from './experiments/recovery-settings.ts';
export { ServerLostError } from './experiments/server-watch.ts';
export { PreparationError } from './experiments/shop-client.ts';
export type { Evidence } from './history/evidence.ts';
export { type LockFaultName, lockFaultNames } from './nemesis/lock-fault-names.ts';
export { NotHealedError } from './nemesis/redis-faults.ts';
export { type GroupRaceOptions, RaceSettingsError, raceGroups, raceRequests } from './racer/race.ts';
export { exitCodeOf, type RunReport } from './report/report.ts';
export { tableOf } from './report/table.ts';
