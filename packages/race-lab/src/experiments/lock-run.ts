import type { Cluster, Instance } from '../cluster/cluster.ts';
import type { FaultyRedis } from '../cluster/faulty-redis.ts';
import type { GuardedProcess } from '../cluster/guardian.ts';
import { racedAnswerOf } from '../history/answer.ts';
import { tally } from '../history/counts.ts';
import { stepsOf } from '../history/steps.ts';
import { makeReady } from '../nemesis/index.ts';
import type { Nemesis, RaceUnderWay, Strike } from '../nemesis/nemesis.ts';
import type { Exchange } from '../racer/exchange.ts';
import type { RunReport } from '../report/report.ts';
import { couponUnderLock } from './lock-coupon.ts';
import { type HeldLoad, holdLoad } from './lock-load.ts';
import { orderUnderLock } from './lock-order.ts';
import { type LockAttempt, type LockRun, lockReport } from './lock-report.ts';
import { isOverCoupon, lockStrategies } from './lock-strategies.ts';
import type { LockRequest, LockSubject } from './lock-subject.ts';
import type { RunContext } from './run-context.ts';
import { seededNumbers } from './seeded.ts';

/** Longer than anybody waits for the lock. */
const ANSWER_LIMIT_MS = 15_000;
/** How often a run is begun before it is given up that the fault finds the lock held and waited for. */
const MOST_ATTEMPTS = 5;
/** A fault strikes at most so long after the lock is first contended: while it still is, in milliseconds. */
const LURK_MS = 60;
/** Of the requests: those that are sent at first, at most, and those that are sent when everything is mended. */
const FIRST_SHARE = 5 / 8;
const LAST_SHARE = 3 / 16;

export interface LockRunContext extends RunContext {
  redis: FaultyRedis;
  /** Orders of earlier runs on the same store. */
  earlier: Set<string>;
  /** A number that no other attempt on this cluster has. */
  nextAttempt(): number;
  watch(server: GuardedProcess): void;
  signal: AbortSignal;
}

/**
 * Races for one coupon or one order while a fault strikes the lock over it, and judges what came of it.
 *
 * @throws PreparationError, NotHealedError, the signal's reason, as startServer does, and whatever keeps the evidence from
 *   being read.
 */
export async function raceUnderFault(
  cluster: Cluster,
  run: LockRun,
  context: LockRunContext,
): Promise<RunReport> {
  let attempts = 0;
  for (;;) {
    attempts++;
    const attempt = await attemptOnce(cluster, run, context);
    const struck = attempt.strike !== null && attempt.seen.misfired === null;
    const hopeless = attempts === MOST_ATTEMPTS || attempt.seen.judgement.verdict === 'fail';
    if (struck || hopeless) return lockReport(cluster, run, context, { ...attempt, attempts });
  }
}

async function attemptOnce(cluster: Cluster, run: LockRun, context: LockRunContext): Promise<LockAttempt> {
  const { strategy, fault, setting } = run;
  const { signal, redis, watch } = context;
  const startedAt = new Date();
  const number = context.nextAttempt();
  const seed = setting.seed + number;
  const random = seededNumbers(seed);
  const scene = (lockName: string) => ({
    ...{ fault, cluster, redis, random, watch, signal, lurkMs: LURK_MS },
    lock: { kind: lockStrategies[strategy].lock, name: lockName },
  });
  const underFault = async <Request extends LockRequest>(subject: LockSubject<Request>) => {
    const nemesis = await makeReady(scene(subject.lockName));
    const { exchanges, strike } = await raceWith(nemesis, cluster, subject, { random, signal });
    const killed = fault === 'waiter-killed' ? (strike?.victim ?? null) : null;
    const raced = exchanges.map((exchange) => ({ ...racedAnswerOf(exchange), steps: stepsOf(exchange) }));
    const victim = cluster.instances.find(({ name }) => name === killed);
    return {
      startedAt,
      strike,
      seen: await subject.judge(exchanges, killed),
      answers: raced.map(({ arrivedAtUs, releasedAtUs, ...answer }) => ({
        ...answer,
        askedAtUs: arrivedAtUs ?? releasedAtUs,
      })),
      unanswered: exchanges.filter(
        ({ status, request }) => status === undefined && (victim === undefined || !goesTo(request, victim)),
      ).length,
      refusals: tally(
        raced.flatMap(({ status, code }) => (status === 200 ? [] : (code ?? String(status ?? 'none')))),
      ),
    };
  };
  return isOverCoupon(strategy)
    ? underFault(await couponUnderLock(cluster, { strategy, nth: number, seed }, signal))
    : underFault(await orderUnderLock(cluster, { strategy, seed, earlier: context.earlier }, signal));
}

/**
 * Sends the requests in three parts: what the fault finds under way, what comes when it has struck, and what comes when its
 * damage is mended.
 */
async function raceWith<Request extends LockRequest>(
  nemesis: Nemesis,
  cluster: Cluster,
  subject: LockSubject<Request>,
  { random, signal }: { random(limit: number): number; signal: AbortSignal },
): Promise<{ exchanges: Exchange<Request>[]; strike: Strike | null }> {
  const { sent, first } = inOrder(nemesis, cluster, subject, random);
  const last = Math.floor(sent.length * LAST_SHARE);
  const load = await holdLoad(sent, { answerTimeoutMs: ANSWER_LIMIT_MS, signal });
  let middle = sent.length - first - last;
  const release = (count: number) => {
    load.release(count);
    middle -= count;
  };
  const striking = nemesis.strike(underWay(load, () => release(Math.ceil(middle / 2))));
  load.release(first);
  const strike = await striking;
  release(middle);
  await nemesis.heal();
  load.release(last);
  const exchanges = await load.exchanges;
  signal.throwIfAborted();
  return { exchanges, strike };
}

/** In which order the requests are sent, and how many before the fault strikes. */
function inOrder<Request extends LockRequest>(
  { stops }: Nemesis,
  cluster: Cluster,
  { requests, isPaidByFirst, takes, lockName }: LockSubject<Request>,
  random: (limit: number) => number,
): { sent: readonly Request[]; first: number } {
  if (stops === null) return { sent: requests, first: Math.ceil(requests.length * FIRST_SHARE) };
  const instance = cluster.instances[stops];
  const marked = requests.find(
    (request) => instance !== undefined && goesTo(request, instance) && takes(request),
  );
  if (marked === undefined)
    throw new RangeError(`no request for ${lockName} goes to the instance that is to stop`);
  const others = requests.filter((request) => request !== marked);
  const stopping = { ...marked, headers: { ...marked.headers, 'x-lab-stop-at': 'read' } };
  const before = isPaidByFirst ? 0 : random(Math.ceil(requests.length * FIRST_SHARE));
  return { sent: [...others.slice(0, before), stopping, ...others.slice(before)], first: before + 1 };
}

function underWay<Request extends LockRequest>(
  load: HeldLoad<Request>,
  releaseMore: () => void,
): RaceUnderWay {
  return {
    over: load.over,
    passedBy: (instance, sinceUs) =>
      new Promise((resolve) => {
        const unlessWaited = () => {
          if (load.pending().every((request) => goesTo(request, instance))) resolve(false);
        };
        load.onAnswer((exchange) => {
          const hadIt = stepsOf(exchange).some(({ name, atUs }) => name === 'locked' && atUs > sinceUs);
          if (hadIt && !goesTo(exchange.request, instance)) resolve(true);
          else unlessWaited();
        });
        unlessWaited();
      }),
    releaseMore,
  };
}

function goesTo({ target }: LockRequest, { baseUrl }: Instance): boolean {
  return target.port === Number(new URL(baseUrl).port);
}
