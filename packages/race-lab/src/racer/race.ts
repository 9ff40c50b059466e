import { setTimeout as sleep } from 'node:timers/promises';
import {
  DEFAULT_LIMITS,
  type Exchange,
  type RaceRequest,
  type RequestLimits,
  type Target,
} from './exchange.ts';
import { type HeldRequest, holdRequest } from './held-request.ts';
import { holdStreams } from './held-streams.ts';

export interface RaceOptions extends Partial<RequestLimits> {
  /** Ends the race early: every connection is destroyed at once. */
  signal?: AbortSignal;
}

export interface GroupRaceOptions extends RaceOptions {
  /** How many groups may be released and not yet answered. */
  maxGroupsInFlight: number;
  /** Least time between two releases. */
  spacingMs: number;
  /** Called whenever a group is answered. */
  onProgress?: (done: number, total: number) => void;
}

/** The race was called with settings that it cannot run with. Nothing was opened. */
export class RaceSettingsError extends Error {
  override readonly name = 'RaceSettingsError';
  readonly code = 'BAD_RACE_SETTINGS';
}

/**
 * Sends the requests at the same instant, over HTTP/1.1 each on a connection of its own: all of them are sent but for
 * their last bytes, and when the kernel has everything, the last bytes are written in one tick. Over HTTP/2 those to one
 * target share a connection, and their last frames are one write.
 *
 * Answers come in the order of the requests. A request that cannot be connected, is reset or is not answered in
 * time has an exchange that says so, and does not hold up the others.
 *
 * @throws RaceSettingsError  A limit is not a whole number in its range.
 * @throws TypeError, RangeError  Node does not accept a method, path, header or port; nothing was released.
 * @throws the signal's reason  when aborted; what was released by then may have taken effect.
 */
export async function raceRequests<Request extends RaceRequest>(
  requests: readonly Request[],
  options: RaceOptions = {},
): Promise<Exchange<Request>[]> {
  const [exchanges = []] = await raceGroups([requests], { ...options, maxGroupsInFlight: 1, spacingMs: 0 });
  return exchanges;
}

/**
 * Races many groups, one release after the other, as `raceRequests` does each. While groups are in flight the
 * next one is connected and held, so that connecting never disturbs a release.
 *
 * Answers come in the order of the groups.
 *
 * @throws as `raceRequests` does, and what `onProgress` throws; every connection is destroyed by then.
 */
export async function raceGroups<Request extends RaceRequest>(
  groups: readonly (readonly Request[])[],
  options: GroupRaceOptions,
): Promise<Exchange<Request>[][]> {
  const { maxGroupsInFlight, spacingMs, onProgress } = options;
  const limits = checkedLimits(options);
  checkWhole('maxGroupsInFlight', maxGroupsInFlight, 1);
  checkWhole('spacingMs', spacingMs, 0);
  const failure = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, failure.signal]) : failure.signal;

  const answered: Exchange<Request>[][] = [];
  const inFlight = new Set<Promise<void>>();
  let done = 0;
  let nextReleaseAtMs = 0;
  const fly = async (group: HeldGroup<Request>, index: number) => {
    answered[index] = await group.release();
    done += 1;
    onProgress?.(done, groups.length);
  };
  try {
    for (const [index, requests] of groups.entries()) {
      const group = holdGroup(requests, limits, signal);
      await group.held;
      while (inFlight.size >= maxGroupsInFlight) await Promise.race(inFlight);
      while (performance.now() < nextReleaseAtMs) {
        await sleep(Math.ceil(nextReleaseAtMs - performance.now()), undefined, { signal });
      }
      nextReleaseAtMs = performance.now() + spacingMs;
      const flight = fly(group, index)
        .catch((error: unknown) => failure.abort(error))
        .finally(() => inFlight.delete(flight));
      inFlight.add(flight);
    }
    await Promise.all(inFlight);
    signal.throwIfAborted();
    return answered;
  } catch (error) {
    failure.abort(error);
    throw signal.reason;
  }
}

interface HeldGroup<Request extends RaceRequest> {
  readonly held: Promise<void>;
  /** Rejects with the signal's reason when that is aborted before the last answer. */
  release(): Promise<Exchange<Request>[]>;
}

function holdGroup<Request extends RaceRequest>(
  requests: readonly Request[],
  limits: RequestLimits,
  signal: AbortSignal,
): HeldGroup<Request> {
  const group: HeldRequest<Request>[] = [];
  const abandon = () => {
    for (const one of group) one.abandon();
  };
  signal.throwIfAborted();
  signal.addEventListener('abort', abandon, { once: true });
  for (const one of holdAll(requests, limits)) group.push(one);
  return {
    held: Promise.all(group.map((one) => one.held)).then(() => signal.throwIfAborted()),
    async release() {
      signal.throwIfAborted();
      for (const one of group) one.release();
      const exchanges = await Promise.all(group.map((one) => one.exchange));
      signal.throwIfAborted();
      signal.removeEventListener('abort', abandon);
      return exchanges;
    },
  };
}

/** In the order of the requests. */
function* holdAll<Request extends RaceRequest>(
  requests: readonly Request[],
  limits: RequestLimits,
): Iterable<HeldRequest<Request>> {
  const sharing = Map.groupBy(
    requests.filter(({ target }) => target.http === '2'),
    ({ target }) => target,
  );
  const streams = new Map<Target, Iterator<HeldRequest<Request>>>();
  for (const request of requests) {
    if (request.target.http !== '2') {
      yield holdRequest(request, limits);
      continue;
    }
    const { target } = request;
    const held = streams.get(target) ?? holdStreams(target, sharing.get(target) ?? [], limits).values();
    streams.set(target, held);
    const { value } = held.next();
    if (value !== undefined) yield value;
  }
}

function checkedLimits(options: RaceOptions): RequestLimits {
  const limits = {
    prepareTimeoutMs: options.prepareTimeoutMs ?? DEFAULT_LIMITS.prepareTimeoutMs,
    answerTimeoutMs: options.answerTimeoutMs ?? DEFAULT_LIMITS.answerTimeoutMs,
    maxAnswerBytes: options.maxAnswerBytes ?? DEFAULT_LIMITS.maxAnswerBytes,
  };
  for (const [name, value] of Object.entries(limits)) checkWhole(name, value, 1);
  return limits;
}

/** Beyond this a timer of Node's fires at once. */
const LONGEST_TIMER_MS = 2_147_483_647;

function checkWhole(name: string, value: number, minimum: number): void {
  if (Number.isInteger(value) && value >= minimum && value <= LONGEST_TIMER_MS) return;
  throw new RaceSettingsError(
    `${name} must be a whole number from ${minimum} to ${LONGEST_TIMER_MS}, got ${value}`,
  );
}
