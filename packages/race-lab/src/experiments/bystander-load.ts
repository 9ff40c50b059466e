import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PurchaseRequest } from '../history/answer.ts';
import { type Percentiles, percentiles } from '../history/percentiles.ts';
import { DEFAULT_LIMITS, type Exchange, type RaceRequest } from '../racer/exchange.ts';
import { exchangeOver } from '../racer/exchange-over.ts';

/**
 * The load of the bystanders' experiment. Kept-alive connections and nothing computed for a request while it runs,
 * because two cores carry the shop, nginx, the provider and the database beside it.
 */

/** One of each kind is due so often, in milliseconds. */
const BYSTANDER_EVERY_MS = 20;
/** How long a bystander waits for his answer: it also bounds how many are under way, at 250 of each kind. */
const BYSTANDER_LIMIT_MS = 5_000;

/** What was measured of one kind of request. */
export interface BystanderKind<Request extends RaceRequest> {
  /** From when each was due; one that failed counts as long as was waited for it. */
  latencyMs: Percentiles | null;
  /** Those that were not answered 200 in time. */
  failed: number;
  /** In the order of their ends. */
  exchanges: Exchange<Request>[];
}

export interface BystanderLoad<Request extends RaceRequest> {
  /** The `nth` one, from 0. */
  request(nth: number): Request;
  startAfterMs: number;
  durationMs: number;
  signal: AbortSignal;
}

/**
 * Sends a request every 20 ms, whether the earlier ones have been answered or not, and counts each from when it was due:
 * a generator that waits for answers asks less while the shop stalls, and so hides it.
 *
 * Resolves when all have been answered or given up.
 *
 * @throws the signal's reason
 */
export async function sendBystanders<Request extends RaceRequest>(
  load: BystanderLoad<Request>,
): Promise<BystanderKind<Request>> {
  const { request, startAfterMs, durationMs, signal } = load;
  const agent = new Agent({ keepAlive: true });
  const latencies: number[] = [];
  const exchanges: Exchange<Request>[] = [];
  const send = async (bystander: Request, dueAtMs: number) => {
    exchanges.push(await exchangeOver(agent, bystander, BYSTANDER_LIMIT_MS));
    latencies.push(performance.now() - dueAtMs);
  };
  const firstAtMs = performance.now() + startAfterMs;
  const sent: Promise<void>[] = [];
  try {
    for (let dueAtMs = firstAtMs; dueAtMs < firstAtMs + durationMs; dueAtMs += BYSTANDER_EVERY_MS) {
      const waitMs = dueAtMs - performance.now();
      if (waitMs > 0) await sleep(waitMs, undefined, { signal });
      sent.push(send(request(sent.length), dueAtMs));
    }
    await Promise.all(sent);
    signal.throwIfAborted();
    const failed = exchanges.filter(({ status }) => status !== 200).length;
    return { latencyMs: percentiles(latencies), failed, exchanges };
  } catch (error) {
    // A sleep that is cut short fails with an error of its own.
    signal.throwIfAborted();
    throw error;
  } finally {
    agent.destroy();
  }
}

export interface PurchaseLoad {
  /** For each worker what it confirms, one after the other. */
  work: readonly (readonly PurchaseRequest[])[];
  /** The workers begin spread over this time, so that they do not all come back from the provider at once. */
  rampMs: number;
  /** From the first worker's begin: nothing is begun after it, and what is under way is waited for. */
  durationMs: number;
  signal: AbortSignal;
}

/**
 * Keeps as many purchases under way as there are workers: each begins its next when the one before is
 * answered.
 *
 * @throws the signal's reason
 */
export async function keepPurchasing({
  work,
  rampMs,
  durationMs,
  signal,
}: PurchaseLoad): Promise<Exchange<PurchaseRequest>[]> {
  const agent = new Agent({ keepAlive: true });
  const exchanges: Exchange<PurchaseRequest>[] = [];
  const endMs = performance.now() + durationMs;
  const worker = async (confirmations: readonly PurchaseRequest[], index: number) => {
    await sleep((index * rampMs) / work.length, undefined, { signal });
    for (const confirmation of confirmations) {
      if (performance.now() >= endMs || signal.aborted) break;
      exchanges.push(await exchangeOver(agent, confirmation, DEFAULT_LIMITS.answerTimeoutMs));
    }
  };
  const abandon = () => agent.destroy();
  signal.addEventListener('abort', abandon, { once: true });
  try {
    await Promise.all(work.map(worker));
    signal.throwIfAborted();
    return exchanges;
  } catch (error) {
    signal.throwIfAborted(); // As above.
    throw error;
  } finally {
    signal.removeEventListener('abort', abandon);
    agent.destroy();
  }
}
