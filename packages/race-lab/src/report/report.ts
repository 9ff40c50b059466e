import type { DatabaseSettings } from '../checkers/database-settings.ts';
import type { CouponScenarioName } from '../experiments/coupon-scenario-names.ts';
import type { ProcessorUse } from '../experiments/processor-use.ts';
import type { LedgerSummary } from '../history/counts.ts';
import type { LatencyDistribution } from '../history/latency-distribution.ts';
import type { Percentiles } from '../history/percentiles.ts';
import type { RecordedOrder } from '../history/recorded-order.ts';
import type { LockWaitsReport } from '../locks/watch.ts';
import type { LockFaultName } from '../nemesis/lock-fault-names.ts';

/** What a run is expected to show. `either`: the strategy is published as uncertain. */
export type Expectation = 'holds' | 'breaks' | 'either';

export interface ControlReport {
  strategy: string;
  /** Null where nothing is paid, as is the next. */
  orders: number | null;
  ordersRequestedTwice: number | null;
  /**
   * Whether the control failed as it must. `purchase`: the unguarded strategy asked the provider twice for at least
   * half of its orders. `bystanders`: with the lock held across the payment, the bystanders had to wait. `coupon`:
   * without a guard the same scenario went wrong in the way that it is made to. `lock`: without a guard the same requests
   * lost an update, or charged twice. `recovery`: a strategy that does not recover left a payment without a bill.
   */
  raced: boolean;
  /** What it showed, as the rest of a sentence. */
  showed: string;
}

/** What those saw who paid nothing while others paid. Latencies count from when a request was due to be sent. */
export interface BystandersReport {
  /** Of `GET /ping`; a request that failed counts as long as it was waited for. */
  ping: Percentiles | null;
  /** Of `POST /api/orders`, likewise. */
  orders: Percentiles | null;
  /** Those that were not answered 200, or not within the time that a client waits. */
  failed: { ping: number; orders: number };
  purchasesInFlight: number;
  /** What both have to be under at p99. */
  limitMs: number;
  /** How busy the machine was meanwhile, with whatever it was. */
  processors: ProcessorUse;
  /** How often it was measured until the bystanders were not late; the last measurement is reported. */
  measured: number;
}

/** What became of the coupon of one run. */
export interface CouponReport {
  scenario: CouponScenarioName;
  /** The stock that it began with. */
  initial: number;
  /** What one day may have of it; null without such a limit. */
  dailyQuota: number | null;
  /** The coupons that members have now, by the rows. */
  issued: number;
  /** What the coupon's row says is left; with a right strategy `initial - issued`. */
  remaining: number;
  /** Answers that said so. */
  soldOut: number;
  /** Who asked. */
  members: number;
  requests: number;
  /** What the strategies did again, by their own count: attempts after the first, polls for a lock. */
  retries: number;
  /** Between the sending of the first request that got a coupon and the answer to the last; null when none did. */
  issuesPerSecond: number | null;
  /** Refusals by their code, the most frequent first. */
  refusals: Record<string, number>;
  /** Members who have more than one. */
  membersWithSeveral: number;
  /** How often the stock was looked at meanwhile, and why that ended early; null where it was not. */
  stockLooks: { count: number; brokenBecause: string | null } | null;
  /** How the first lost update came about, in lines by time; null when none was lost or it is not known. */
  interleaving: string[] | null;
  /** Null in other scenarios. */
  flood: FloodReport | null;
}

/** One member floods a coupon for which others ask as well. Latencies of the others count from when a request was due. */
export interface FloodReport {
  /** Of the one member, all open from the beginning. */
  connections: number;
  /** His requests in all rounds. */
  asked: number;
  /** His refusals by their code. */
  refusals: Record<string, number>;
  /** How many coupons he has of each round's. */
  got: number[];
  rounds: FloodRound[];
  /** Of the others, p99 in the flood ÷ p99 without it; null where nobody was answered. */
  p99Ratio: { min: number; median: number } | null;
  /** What the median has to be under. */
  limit: number;
}

/** The others in one round: first without the flood, then as long in it, and how busy the machine was meanwhile. */
export interface FloodRound {
  unloaded: Percentiles | null;
  loaded: Percentiles | null;
  processors: { unloaded: ProcessorUse; loaded: ProcessorUse };
}

/** What a fault did to a lock that was held and waited for, and what came of it. */
export interface LockReport {
  fault: LockFaultName;
  /** When a lock ends by itself. */
  leaseMs: number;
  /** What the fault did, in a sentence; null where it never found the lock held and waited for. */
  did: string | null;
  /** How often the run was begun until the fault struck. */
  attempts: number;
  requests: number;
  /** Refusals and failures by their code, the most frequent first. */
  refusals: Record<string, number>;
  /** The coupon's stock in the end; null where an order is paid. */
  stock: { initial: number; issued: number; remaining: number | null } | null;
  /** How often somebody had the lock, as far as those tell who were answered. */
  sections: number;
  /** Those that began while another instance worked under the lock still, and those that were fenced off by a later one. */
  overlaps: number;
  /** From the fault until somebody got the lock anew; null when nobody did. */
  resumedAfterMs: number | null;
  /** The longest time for which nobody is known to have had the lock while somebody waited; null with fewer than one section. */
  standstillMs: number | null;
  /** What that may be; null where the fault takes the lock itself away, or its holder. */
  standstillLimitMs: number | null;
  /** How the first damage came about, in lines by time; null when there is none or it is not known. */
  damage: string[] | null;
}

/** What became of orders of one kind, while one thing went wrong. */
export interface RecoveryReport {
  /** `failpoint`: an instance died at it. `fault`: the provider, or who asks it, went wrong. `standstill`: an owner stood still. */
  kind: 'failpoint' | 'fault' | 'standstill';
  /** The failpoint, or the name of the fault. */
  cell: string;
  /** What the orders went through, in a line. */
  path: string;
  /** The failpoint at which an instance struck itself; null where none did. */
  struckAt: string | null;
  /** Requests to the provider, or answers of it, that went wrong as the lab had asked for. */
  faults: number;
  /** How often it was raced until the instance struck itself. */
  attempts: number;
  /** Orders by how they ended: paid; not paid; paid and given back. */
  completed: number;
  released: number;
  refunded: number;
  /** From the last thing that went wrong until the last attempt was settled; null where there was none. */
  tookMs: number | null;
  /** What was left then of the time that was promised, where least was left; null likewise. */
  leftMs: number | null;
}

export interface DatabaseReport extends DatabaseSettings {
  /** The isolation of the shop's sessions, as an instance tells it; null when it does not. */
  shopIsolation: string | null;
}

/** One run, as `--json` writes it and as the table and the page show it. The fields are a contract. */
export interface RunReport {
  schema: 'race-lab/1';
  experiment: 'purchase' | 'bystanders' | 'coupon' | 'lock' | 'recovery';
  strategy: string;
  /** Without the credentials of a URL. */
  store: string;
  gateway: string;
  instances: number;
  frontDoor: 'nginx' | 'rotate';
  /** Null where nothing is paid, as are the patterns and the ledger. */
  orders: number | null;
  /** How many requests were sent at once for one order, or by one member. */
  fanout: number;
  seed: number;
  commit: string;
  startedAt: string;
  /** The command that races the same again; absent where no command began it, and in a report of an earlier version. */
  again?: string;
  durationMs: number;
  /** Answers by status; `none` counts those that never came. */
  responses: Record<string, number>;
  replays: number;
  /** Orders by successes that are not replays / refusals and replays / everything else but 202. */
  patterns: Record<string, number> | null;
  ledger: LedgerSummary | null;
  rows: Record<string, number>;
  /** Null in other experiments, and where the run did not take place. */
  coupon: CouponReport | null;
  /** Likewise. */
  lock: LockReport | null;
  /** Likewise. */
  recovery: RecoveryReport | null;
  /** Null in other experiments. */
  bystanders: BystandersReport | null;
  /** What the database says of its durability and isolation; null when it could not be asked. */
  database: DatabaseReport | null;
  /** Null where the locks were not watched. */
  lockWaits: LockWaitsReport | null;
  violations: { invariant: string; count: number; first: string }[];
  latencyMs: { all: LatencyDistribution | null; ok: LatencyDistribution | null };
  arrivalSpreadMs: { p50: number; p99: number } | null;
  /** One order from its first request on; null where none was recorded, absent in a report of an earlier version. */
  recorded?: RecordedOrder | null;
  control: ControlReport | null;
  verdict: 'pass' | 'fail' | 'unknown';
  expected: Expectation;
  asExpected: boolean;
  /** Why the run did not take place, and what would let it. */
  skipped: string | null;
  /** Why the verdict is unknown. */
  unknownBecause: string | null;
}

/**
 * Whether what was seen is what was expected. What is unknown is never as expected, and neither is a strategy that
 * broke in another way than it should.
 */
export function isAsExpected(
  verdict: RunReport['verdict'],
  expected: Expectation,
  brokeAsPublished = true,
): boolean {
  if (verdict === 'unknown') return false;
  if (expected === 'breaks') return verdict === 'fail' && brokeAsPublished;
  return expected === 'either' || verdict === 'pass';
}

/** After Jepsen: what a command's exit code says. */
export const exitCodes = {
  asExpected: 0,
  notAsExpected: 1,
  unknown: 2,
  badArguments: 254,
  ourFailure: 255,
} as const;

/** 0: all as expected. 1: a run was not. 2: a run, or the control, proved nothing. */
export function exitCodeOf(reports: readonly RunReport[]): number {
  const ran = reports.filter(({ skipped }) => skipped === null);
  if (ran.some(({ verdict, asExpected }) => verdict !== 'unknown' && !asExpected))
    return exitCodes.notAsExpected;
  if (ran.length === 0 || ran.some(({ verdict, control }) => verdict === 'unknown' || !control?.raced)) {
    return exitCodes.unknown;
  }
  return exitCodes.asExpected;
}
