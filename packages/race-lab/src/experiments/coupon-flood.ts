import { judgeFlood } from '../checkers/coupons/flood.ts';
import { readCouponRows } from '../checkers/read-coupon-rows.ts';
import { summarise } from '../checkers/violation.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { type CouponAnswer, couponAnswerOf } from '../history/coupon-answer.ts';
import type { Campaign, StockCounter } from '../history/coupon-evidence.ts';
import type { FloodReport, FloodRound, RunReport } from '../report/report.ts';
import { sendBystanders } from './bystander-load.ts';
import { couponRequest, openCampaign } from './coupon-campaign.ts';
import { startFlood } from './coupon-flood-process.ts';
import {
  type CouponRun,
  type CouponRunControl,
  countersOf,
  expectation,
  judgedReport,
} from './coupon-run.ts';
import { COUPON_CONTROL } from './coupon-strategies.ts';
import { processorUse } from './processor-use.ts';
import { type RunContext, rotation, targetOf } from './run-context.ts';

const CONNECTIONS = 1_000;
const FLOODING_MEMBER = 1;
/** Everybody else gets one, each only one. */
const STOCK = 100_000;
/** The others' p99 in the flood may be so many times their p99 without it. */
const LIMIT = 2;
/** A thousand requests of the others in each half of a round: a p99 that rests on ten of them. */
const MEASURED = { rounds: 3, seconds: 20 };
/** Before each round the others ask for so long and are not measured, in milliseconds. */
const WARM_UP_MS = 1_000;
/** The control is there to give the one member several, and needs no figures. */
const OF_CONTROL = { rounds: 1, seconds: 1 };

/**
 * One member asks for a coupon over a thousand connections, all released at once, each asking again a second after its
 * answer; meanwhile others ask for the same coupon, one every 20 ms, each a member of his own. They are measured without
 * him for as long, in every second round after him. *One member on 1,000 connections gets one coupon, and the others' p99
 * stays bounded.*
 *
 * It is measured in three rounds, each with a coupon of its own: the median of the rounds' quotients decides. The first wave,
 * a thousand requests in one tick, is part of every round; the report has its slowest answer.
 *
 * Of the one member's answers only those are kept that are no refusals. A refused request that took effect all the same
 * is found by its row, for which nobody has an answer.
 *
 * @throws as raceForCoupon does, and when the connections cannot be opened.
 */
export async function floodCoupon(
  cluster: Cluster,
  run: CouponRun & { scenario: 'flood' },
  { ended }: RunContext,
  control: CouponRunControl,
): Promise<RunReport> {
  const startedAt = new Date();
  const { rounds, seconds } = run.strategy === COUPON_CONTROL ? OF_CONTROL : MEASURED;
  const measured: MeasuredRound[] = [];
  for (let round = 1; round <= rounds; round++) {
    measured.push(await measureRound(cluster, run, round, seconds * 1000, control));
  }
  const campaigns = measured.map(({ campaign }) => campaign);
  const rows = await readCouponRows(
    cluster.databaseUrl,
    campaigns.map(({ couponId }) => couponId),
  );
  const evidence = {
    campaigns,
    answers: measured.flatMap(({ answers }) => answers),
    snapshots: [],
    counters: measured.flatMap(({ counters }) => counters),
    rows,
  };
  const report = judgedReport(cluster, run, { evidence, stockSeen: null }, ended, startedAt);
  const got = campaigns.map(
    ({ couponId }) =>
      rows.issued.filter((row) => row.couponId === couponId && row.memberId === FLOODING_MEMBER).length,
  );
  const flood = floodReport(measured, got);
  const seen = { ...withFloodJudged(report, flood), coupon: report.coupon && { ...report.coupon, flood } };
  return { ...seen, ...expectation(cluster, run, seen) };
}

interface MeasuredRound {
  campaign: Campaign;
  answers: CouponAnswer[];
  counters: StockCounter[];
  asked: number;
  refusals: Record<string, number>;
  round: FloodRound;
}

async function measureRound(
  cluster: Cluster,
  { couponName, strategy }: CouponRun,
  round: number,
  durationMs: number,
  { signal, onProgress }: CouponRunControl,
): Promise<MeasuredRound> {
  const name = `${couponName}, ${round}`;
  const openAlways = { stock: STOCK, dailyQuota: null, eligible: 'all', opensInMs: null } as const;
  const { campaign } = await openCampaign(cluster, { name, ...openAlways }, signal);
  const { couponId } = campaign;
  const nextTarget = rotation(cluster);
  let lastMember = FLOODING_MEMBER;
  const others = async (forMs: number) => {
    const processorsUsed = processorUse();
    const request = () => couponRequest(couponId, strategy, nextTarget(), ++lastMember, 1);
    const sent = await sendBystanders({ request, startAfterMs: 0, durationMs: forMs, signal });
    return { ...sent, processors: processorsUsed() };
  };

  const inFlood = async () => {
    const flood = await startFlood(
      {
        ...{ couponId, strategy, memberId: FLOODING_MEMBER, connections: CONNECTIONS },
        targets: cluster.frontDoor.urls.map(targetOf),
      },
      signal,
    );
    flood.release();
    const loaded = await others(durationMs);
    return { loaded, ...(await flood.stop()) };
  };
  const warmUp = await others(WARM_UP_MS);
  const before = round % 2 === 1 ? await others(durationMs) : undefined;
  onProgress(warmUp.exchanges.length);
  const { loaded, asked, effects, refusals } = await inFlood();
  onProgress(warmUp.exchanges.length + loaded.exchanges.length + asked);
  const unloaded = before ?? (await others(durationMs));
  const exchanges = [warmUp, unloaded, loaded].flatMap((measured) => measured.exchanges);
  return {
    campaign,
    answers: [...exchanges.map(couponAnswerOf), ...effects],
    counters: await countersOf(cluster, strategy, couponId, signal),
    asked,
    refusals,
    round: {
      unloaded: unloaded.latencyMs,
      loaded: loaded.latencyMs,
      processors: { unloaded: unloaded.processors, loaded: loaded.processors },
    },
  };
}

function floodReport(measured: readonly MeasuredRound[], got: number[]): FloodReport {
  const refusals: Record<string, number> = {};
  for (const [code, count] of measured.flatMap((one) => Object.entries(one.refusals))) {
    refusals[code] = (refusals[code] ?? 0) + count;
  }
  const rounds = measured.map(({ round }) => round);
  const ratios = rounds
    .flatMap(({ unloaded, loaded }) => (unloaded && loaded ? [loaded.p99 / unloaded.p99] : []))
    .sort((a, b) => a - b);
  const [min, median] = [ratios[0], ratios[Math.floor(ratios.length / 2)]];
  return {
    connections: CONNECTIONS,
    asked: measured.reduce((total, { asked }) => total + asked, 0),
    refusals,
    got,
    rounds,
    p99Ratio: min === undefined || median === undefined ? null : { min, median },
    limit: LIMIT,
  };
}

/** A right strategy has failed too when the flood itself was not as it must be. */
function withFloodJudged(report: RunReport, flood: FloodReport): RunReport {
  if (report.verdict !== 'pass') return report;
  const { verdict, violations, unknownBecause } = judgeFlood(flood);
  return { ...report, verdict, violations: summarise(violations), unknownBecause };
}
