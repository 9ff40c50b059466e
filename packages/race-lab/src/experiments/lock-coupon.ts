import { judgeCoupons } from '../checkers/judge-coupons.ts';
import { faultyCouponCheckers, MIN_OK_SHARE } from '../checkers/judge-locks.ts';
import { lostUpdate } from '../checkers/lost-updates.ts';
import { readCouponRows } from '../checkers/read-coupon-rows.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { responses } from '../history/counts.ts';
import { type CouponRequest, couponAnswerOf } from '../history/coupon-answer.ts';
import { latencyDistribution } from '../history/latency-distribution.ts';
import { couponRequest, openCampaign } from './coupon-campaign.ts';
import type { CouponStrategyName } from './coupon-strategies.ts';
import type { LockSubject } from './lock-subject.ts';
import { targetOf } from './run-context.ts';
import { shuffled } from './seeded.ts';

/** More than are asked for, so that nobody is turned away. */
const STOCK = 1000;
/** Members who ask, and those of them who ask twice at once. */
const MEMBERS = 64;
const TWICE = 16;
export const REQUESTS_OF_ONE_MEMBER = 2;

/**
 * A coupon of its own that members take over all instances, some of them two at a time; members whom no other run has.
 *
 * @throws as openCampaign does
 */
export async function couponUnderLock(
  cluster: Cluster,
  { strategy, nth, seed }: { strategy: CouponStrategyName; nth: number; seed: number },
  signal: AbortSignal,
): Promise<LockSubject<CouponRequest>> {
  const name = `lock ${nth}: ${strategy}`;
  const { campaign } = await openCampaign(
    cluster,
    { name, stock: STOCK, dailyQuota: null, eligible: 'all', opensInMs: null },
    signal,
  );
  const { couponId } = campaign;
  const targets = cluster.instances.map(({ baseUrl }) => targetOf(baseUrl));
  const asked = Array.from({ length: MEMBERS + TWICE }, (_, index) => ({
    memberId: nth * MEMBERS + (index % MEMBERS) + 1,
    time: index < MEMBERS ? 1 : REQUESTS_OF_ONE_MEMBER,
  }));
  const twice = new Set(asked.slice(MEMBERS).map(({ memberId }) => memberId));
  const requests = shuffled(asked, seed).map(({ memberId, time }, index) =>
    couponRequest(couponId, strategy, targets[index % targets.length] ?? targetOf(''), memberId, time),
  );
  return {
    lockName: `coupon:${couponId}`,
    takes: ({ memberId }) => !twice.has(memberId),
    isPaidByFirst: false,
    requests,
    async judge(exchanges) {
      const answers = exchanges.map(couponAnswerOf);
      const rows = await readCouponRows(cluster.databaseUrl, [couponId]);
      const evidence = { campaigns: [campaign], answers, rows, snapshots: [], counters: [] };
      const options = { checkers: faultyCouponCheckers, minGrantedShare: MIN_OK_SHARE };
      const latencies = (some: typeof answers) => latencyDistribution(some.map(({ latencyMs }) => latencyMs));
      return {
        judgement: judgeCoupons(evidence, options),
        report: {
          ...{ responses: responses(answers), replays: 0, patterns: null, ledger: null },
          rows: { coupons: rows.coupons.length, issued: rows.issued.length },
          latencyMs: {
            all: latencies(answers.filter(({ status }) => status !== undefined)),
            ok: latencies(answers.filter(({ result }) => result === 'ok')),
          },
        },
        stock: {
          ...{ initial: STOCK, issued: rows.issued.length },
          remaining: rows.coupons[0]?.remaining ?? null,
        },
        damage: lostUpdate(answers, rows.issued),
        misfired: null,
      };
    },
  };
}
