import { startHelper } from '../../../../packages/race-lab/src/cluster/helper-process.ts';
import { alternate, figureOf, type Measured, type Measurement } from '../../measurement.ts';
import { type Demand, judge, type Ratio, wrong } from '../../ratio.ts';
import { type GroupReport, partReport } from '../../report/report.ts';
import type { Group, MeasureContext } from '../group.ts';
import { measureOverhead, OVERHEAD } from './overhead.ts';
import { openRequests, type Requests } from './requests.ts';
import type { ServeOrder, Serving } from './service-messages.ts';
import { type FrameworkName, frameworkNames, rowOf, type Subject, subjects } from './subjects.ts';

/** How long it takes: how many fresh requests of each kind one round sends for one row, and how many are sent before. */
export interface HttpScale {
  readonly requests: number;
  readonly warmUp: number;
}

/** A service that has served some thousand requests runs compiled code, and one that has served a hundred does not. */
const FULL: HttpScale = { requests: 640, warmUp: 4_000 };
const QUICK: HttpScale = { requests: 80, warmUp: 600 };

/** Many clients at once, and one who waits for each answer. */
const CALLERS = [16, 1] as const;

/**
 * Whether the ratio is demanded. The two operations of Redis over the loopback cost a service four system calls, some forty microseconds of
 * its processor: a quarter of that is a digest and a few promises, and no framework's middleware. What is measured there is shown, and not
 * held against it.
 */
const isDemanded = ({ store }: Subject): boolean => store !== 'redis';

const DEMAND: Demand = { bound: 'at-most', floor: 1.25, aim: null };

/** The service of a framework has ended. */
class ServiceLostError extends Error {
  override readonly name = 'ServiceLostError';
  readonly code = 'SERVICE_LOST';
}

/**
 * The middleware: what a fresh request costs behind it, beside what the store's own two operations cost on the same route.
 *
 * Correctness first: no fresh request is refused or answered by a replay, and the same again is, with the same bytes.
 */
export const http: Group = (context) => measureHttp(context, context.quick ? QUICK : FULL);

/** @param rows  Their names; absent: all. */
export async function measureHttp(
  context: MeasureContext,
  scale: HttpScale,
  rows: readonly string[] = subjects.map(rowOf),
): Promise<GroupReport> {
  const chosen = subjects.filter((subject) => rows.includes(rowOf(subject)));
  const ended = new AbortController();
  const stop = AbortSignal.any([context.signal, ended.signal]);
  const services = new Map<FrameworkName, Requests>();
  try {
    for (const framework of frameworkNames.filter((name) => chosen.some((one) => one.framework === name))) {
      context.progress(`starting: ${framework}`);
      const { port } = await startService({ framework, urls: context.servers }, stop);
      services.set(framework, openRequests(port, Math.max(...CALLERS)));
    }
    const parts = [];
    const ratios: Record<string, Ratio> = {};
    for (const callers of CALLERS) {
      const part = callers === 1 ? '1 caller' : `${callers} callers`;
      const each = Math.ceil(scale.requests / callers);
      const isFirst = callers === CALLERS[0];
      const before = isFirst ? Math.ceil(scale.warmUp / callers) : each;
      const measured = await alternate(chosen, context.rounds, (subject, round): Promise<Measurement> => {
        stop.throwIfAborted();
        context.progress(`${part}: round ${round} of ${context.rounds}, ${rowOf(subject)}`);
        const requests = serviceOf(services, subject);
        return measureOverhead(requests, subject, callers, round === 0 ? before : each);
      });
      const setting = { callers, 'requests a round': each * callers };
      const titled = [...measured].map(([subject, one]) => ({ title: titleOf(subject), measured: one }));
      parts.push(partReport({ part, setting, limit: null }, titled));
      for (const [subject, one] of measured) {
        if (!isDemanded(subject)) continue;
        ratios[`http: ${part}, ${rowOf(subject)}, overhead ÷ the store's operations`] = ratioOf(one);
      }
    }
    return { group: 'http', parts, ratios };
  } finally {
    for (const requests of services.values()) requests.close();
    ended.abort(new Error('the group has ended'));
  }
}

async function startService(order: ServeOrder, signal: AbortSignal): Promise<Serving> {
  const helper = startHelper<ServeOrder, Serving>(
    new URL('./service-main.ts', import.meta.url),
    signal,
    (why) => new ServiceLostError(`${order.framework}: its service ended (${why})`),
  );
  return helper.ask(order);
}

function serviceOf(services: ReadonlyMap<FrameworkName, Requests>, { framework }: Subject): Requests {
  const requests = services.get(framework);
  if (requests === undefined) throw new RangeError(`${framework} has no service`);
  return requests;
}

function ratioOf(measured: Measured): Ratio {
  if ([measured.warmUp, ...measured.rounds].some((one) => one.wrong.length > 0)) return wrong(DEMAND);
  const values = figureOf(measured, OVERHEAD).filter((value) => value !== null);
  return judge(values.length === measured.rounds.length ? values : null, DEMAND);
}

function titleOf(subject: Subject) {
  return { row: rowOf(subject), own: true, settings: 'leased keys, defaults; JSON of 60 bytes in and out' };
}
