import { readCouponRows } from '../checkers/read-coupon-rows.ts';
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
const MEASURED = { rounds: 3, seconds: 10 };
/** The control is there to give the one member several, and needs no figures. */
const OF_CONTROL = { rounds: 1, seconds: 1 };
/** The others alone take a tenth of two processors. Where they were as busy as this, other programs were at work. */
const BUSY_SHARE = 0.5;

/**
 * One member asks for a coupon over a thousand connections, all released at once, each asking again a second after its
 * answer; meanwhile others ask for the same coupon, one every 20 ms, each a member of his own. Before, they are measured
 * without him for as long. *One member on 1,000 connections gets one coupon, and the others' p99 stays bounded.*
 *
 * It is measured in three rounds, each with a coupon of its own, because a p99 of ten seconds is made by five requests:
 * the median of the rounds' quotients decides, and the report has the least as well.
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
  const judged = judgeFlood(report, flood);
  const seen = { ...judged, coupon: judged.coupon && { ...judged.coupon, flood } };
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
  const others = async () => {
    const processorsUsed = processorUse();
    const request = () => couponRequest(couponId, strategy, nextTarget(), ++lastMember, 1);
    const sent = await sendBystanders({ request, startAfterMs: 0, durationMs, signal });
    return { ...sent, processors: processorsUsed() };
  };

  const flood = await startFlood(
    {
      ...{ couponId, strategy, memberId: FLOODING_MEMBER, connections: CONNECTIONS },
      targets: cluster.frontDoor.urls.map(targetOf),
    },
    signal,
  );
  const unloaded = await others();
  onProgress(unloaded.exchanges.length);
  flood.release();
  const loaded = await others();
  const { asked, effects, refusals } = await flood.stop();
  onProgress(unloaded.exchanges.length + loaded.exchanges.length + asked);
  return {
    campaign,
    answers: [...[...unloaded.exchanges, ...loaded.exchanges].map(couponAnswerOf), ...effects],
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

/** A right strategy has failed too when the one member got anything but one, or the others had to wait for him. */
function judgeFlood(report: RunReport, { p99Ratio, rounds, got, connections }: FloodReport): RunReport {
  if (report.verdict !== 'pass') return report;
  const failed = (invariant: string, count: number, first: string): RunReport => {
    return { ...report, violations: [{ invariant, count, first }], verdict: 'fail' };
  };
  const wrong = got.filter((count) => count !== 1).length;
  if (wrong > 0) {
    const has = `one member on ${connections} connections has ${got.join(', ')} coupons, where one of each is due`;
    return failed('I5', wrong, has);
  }
  const busiest = Math.max(...rounds.map(({ processors }) => processors.unloaded.mean));
  if (busiest > BUSY_SHARE) {
    const unknownBecause =
      `the processors were busy for ${(busiest * 100).toFixed(0)} % of the time before the flood: ` +
      'other programs were at work, and what the others waited for is not known';
    return { ...report, verdict: 'unknown', unknownBecause };
  }
  if (p99Ratio !== null && p99Ratio.median < LIMIT) return report;
  const times = p99Ratio === null ? 'without end' : `${p99Ratio.median.toFixed(2)} times as long`;
  const waited =
    `beside one member on ${connections} connections the others waited ${times} at p99, ` +
    `where less than ${LIMIT} times is allowed`;
  return failed('I14', 1, waited);
}
