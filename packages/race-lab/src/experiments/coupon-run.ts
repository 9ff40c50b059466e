import { setTimeout as sleep } from 'node:timers/promises';
import { type StockWatchReport, watchStock, whyUnwatched } from '../checkers/coupon-stock-watch.ts';
import { judgeCoupons } from '../checkers/judge-coupons.ts';
import { lostUpdate } from '../checkers/lost-updates.ts';
import { readCouponRows } from '../checkers/read-coupon-rows.ts';
import { summarise } from '../checkers/violation.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { spreadOf } from '../history/arrival-spread.ts';
import { responses, tally } from '../history/counts.ts';
import { type CouponAnswer, couponAnswerOf } from '../history/coupon-answer.ts';
import type { CouponEvidence, StockCounter } from '../history/coupon-evidence.ts';
import { latencyDistribution } from '../history/latency-distribution.ts';
import { percentiles } from '../history/percentiles.ts';
import { type CouponReport, type Expectation, isAsExpected, type RunReport } from '../report/report.ts';
import { couponRequest, openCampaign } from './coupon-campaign.ts';
import { readCounter } from './coupon-client.ts';
import type { CouponScenarioName } from './coupon-scenario-names.ts';
import { type CouponScenario, couponScenarios } from './coupon-scenarios.ts';
import { type CouponStrategyName, couponStrategies } from './coupon-strategies.ts';
import { emptyReport, type RunContext, type RunPlan, rotation, withLocksWatched } from './run-context.ts';
import { shuffled } from './seeded.ts';
import { whyIncomplete } from './server-watch.ts';

/** Longer than anybody waits for a lock there, in milliseconds. */
const ANSWER_LIMIT_MS = 130_000;
/** Longer than an instance counts what a member has asked it for: the members of the run before are those of this one. */
const MEMBERS_REST_MS = 1_500;

/** One strategy's run of one scenario. */
export interface CouponRun extends RunPlan {
  strategy: CouponStrategyName;
  scenario: CouponScenarioName;
  /** Of its coupon; no other on this cluster has it. */
  couponName: string;
}

export interface CouponRunControl {
  signal: AbortSignal;
  onProgress(answered: number): void;
}

/**
 * Races for a coupon of its own, and judges it.
 *
 * @throws PreparationError, the signal's reason, and whatever keeps the evidence from being read.
 */
export async function raceForCoupon(
  cluster: Cluster,
  run: CouponRun & { scenario: keyof typeof couponScenarios },
  { ended }: RunContext,
  { signal, onProgress }: CouponRunControl,
): Promise<RunReport> {
  const { strategy, couponName, setting } = run;
  await sleep(MEMBERS_REST_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
  const startedAt = new Date();
  const scenario: CouponScenario = couponScenarios[run.scenario];
  const { stock, dailyQuota, vips, opensInMs } = scenario;
  const members = shuffled(
    Array.from({ length: scenario.members }, (_, index) => index + 1),
    setting.seed,
  );
  const eligible = vips === null ? 'all' : new Set(members.toSorted((a, b) => a - b).slice(0, vips));
  const { campaign } = await openCampaign(
    cluster,
    { name: couponName, stock, dailyQuota, eligible, opensInMs },
    signal,
  );
  const { couponId } = campaign;

  const nextTarget = rotation(cluster);
  const stockWatch = await watchStock(cluster.databaseUrl, couponId);
  const underTest = couponStrategies[strategy];
  const { result: exchanges, lockWaits } = await withLocksWatched(cluster, underTest, () =>
    scenario.send({
      members,
      request: (memberId, nth) => couponRequest(couponId, strategy, nextTarget(), memberId, nth),
      opensAtUs: campaign.opening?.atUs ?? null,
      limits: { answerTimeoutMs: underTest.answerLimitMs ?? ANSWER_LIMIT_MS, signal, onProgress },
    }),
  ).finally(() => stockWatch.stop());

  const answers = exchanges.map(couponAnswerOf);
  const stockSeen = await stockWatch.stop();
  const evidence: CouponEvidence = {
    campaigns: [campaign],
    answers,
    snapshots: stockSeen.snapshots,
    counters: await countersOf(cluster, strategy, couponId, signal),
    rows: await readCouponRows(cluster.databaseUrl, [couponId]),
  };
  const report = judgedReport(cluster, run, { evidence, stockSeen }, ended, startedAt);
  const early = campaign.opening !== null && !answers.some(({ code }) => code === 'not-open');
  const seen: RunReport = early
    ? { ...report, verdict: 'unknown', unknownBecause: 'nobody had asked before the opening' }
    : report;
  return { ...seen, lockWaits, ...expectation(cluster, run, seen) };
}

/** What was expected, and whether it is what was seen. */
export function expectation(
  cluster: Cluster,
  run: CouponRun,
  report: RunReport,
): Pick<RunReport, 'expected' | 'asExpected'> {
  const expected = expectedOf(cluster, run);
  const { brokeAsPublished } = couponStrategies[run.strategy];
  return { expected, asExpected: isAsExpected(report.verdict, expected, brokeAsPublished?.(report)) };
}

export function expectedOf(
  cluster: Cluster,
  { strategy, scenario }: Pick<CouponRun, 'strategy' | 'scenario'>,
): Expectation {
  return couponStrategies[strategy].expected({ scenario, instances: cluster.instances.length });
}

/** What `redis-counter` keeps beside the rows; none of any other strategy. */
export async function countersOf(
  cluster: Cluster,
  strategy: CouponStrategyName,
  couponId: string,
  signal: AbortSignal,
): Promise<StockCounter[]> {
  const [instance] = cluster.instances;
  if (strategy !== 'redis-counter' || instance === undefined) return [];
  return [{ couponId, ...(await readCounter(instance.baseUrl, couponId, signal)) }];
}

/**
 * What the checkers say of a run, before anything is expected of it.
 *
 * @param seen.stockSeen  Null where nobody meant to watch the stock. A watch that broke makes the verdict `unknown`.
 */
export function judgedReport(
  cluster: Cluster,
  run: CouponRun,
  { evidence, stockSeen }: { evidence: CouponEvidence; stockSeen: StockWatchReport | null },
  ended: ReadonlySet<string>,
  startedAt: Date,
): RunReport {
  const { answers, rows } = evidence;
  const judged = judgeCoupons(evidence);
  const incomplete = whyIncomplete(cluster, ended, answers) ?? (stockSeen && whyUnwatched(stockSeen));
  const answered = answers.filter(({ status }) => status !== undefined);
  const latencies = (some: readonly CouponAnswer[]) =>
    latencyDistribution(some.map(({ latencyMs }) => latencyMs));
  return {
    ...emptyReport(cluster, run, startedAt),
    responses: responses(answers),
    rows: { coupons: rows.coupons.length, issued: rows.issued.length },
    coupon: couponReport(run.scenario, evidence, stockSeen),
    violations: summarise(judged.violations),
    latencyMs: { all: latencies(answered), ok: latencies(answered.filter(({ result }) => result === 'ok')) },
    arrivalSpreadMs: arrivalSpreadOf(run.scenario, answers),
    verdict: incomplete === null ? judged.verdict : 'unknown',
    unknownBecause: incomplete ?? judged.unknownBecause,
  };
}

function couponReport(
  scenario: CouponScenarioName,
  { campaigns, answers, rows }: CouponEvidence,
  stockSeen: StockWatchReport | null,
): CouponReport {
  const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);
  const granted = answers.filter(({ result }) => result === 'ok');
  const refusals = tally(answers.flatMap(({ result, code }) => (result === 'fail' && code ? [code] : [])));
  const issuedTo = tally(rows.issued.map(({ couponId, memberId }) => `${couponId} ${memberId}`));
  return {
    scenario,
    initial: sum(campaigns.map(({ initial }) => initial)),
    dailyQuota: campaigns[0]?.dailyQuota ?? null,
    issued: rows.issued.length,
    remaining: sum(rows.coupons.map(({ remaining }) => remaining)),
    soldOut: refusals['sold-out'] ?? 0,
    members: new Set(answers.map(({ memberId }) => memberId)).size,
    requests: answers.length,
    retries: sum(answers.map(({ retries }) => retries ?? 0)),
    issuesPerSecond: rateOf(granted),
    refusals,
    membersWithSeveral: Object.values(issuedTo).filter((count) => count > 1).length,
    stockLooks: stockSeen && { count: stockSeen.snapshots.length, brokenBecause: stockSeen.brokenBecause },
    interleaving: lostUpdate(answers, rows.issued),
    flood: null,
  };
}

/** Between the sending of the first request that got one and the answer to the last. */
function rateOf(granted: readonly CouponAnswer[]): number | null {
  if (granted.length === 0) return null;
  const firstUs = granted.reduce((least, { releasedAtUs }) => Math.min(least, releasedAtUs), Infinity);
  const lastUs = granted.reduce((most, { answeredAtUs }) => Math.max(most, answeredAtUs), 0);
  return (granted.length / (lastUs - firstUs)) * 1_000_000;
}

/** Of those that were sent at once: everybody in the crowd, and the duplicates of each member. */
function arrivalSpreadOf(
  scenario: CouponScenarioName,
  answers: readonly CouponAnswer[],
): RunReport['arrivalSpreadMs'] {
  const groups =
    scenario === 'crowd'
      ? [answers]
      : scenario === 'duplicates'
        ? [...Map.groupBy(answers, ({ memberId }) => memberId).values()]
        : [];
  const spread = percentiles(groups.flatMap((group) => spreadOf(group) ?? []));
  return spread && { p50: spread.p50, p99: spread.p99 };
}
