import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PurchaseRequest } from '../history/answer.ts';
import { type Percentiles, percentiles } from '../history/percentiles.ts';
import {
  DEFAULT_LIMITS,
  type Exchange,
  monotonicUs,
  type RaceRequest,
  type Target,
} from '../racer/exchange.ts';

/**
 * The load of the bystanders' experiment. Kept-alive connections and nothing computed for a request while it runs,
 * because two cores carry the shop, nginx, the provider and the database beside it.
 */

/** One of each kind is due so often, in milliseconds. */
const BYSTANDER_EVERY_MS = 20;
/** How long a bystander waits for his answer: it also bounds how many are under way, at 250 of each kind. */
const BYSTANDER_LIMIT_MS = 5_000;

/** What was measured of one kind of request. */
export interface BystanderKind {
  /** From when each was due; one that failed counts as long as was waited for it. */
  latencyMs: Percentiles | null;
  failed: number;
}

export interface BystanderLoad {
  /** One for each front door; they are taken in turn. */
  requests: readonly RaceRequest[];
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
export async function sendBystanders(load: BystanderLoad): Promise<BystanderKind> {
  const { requests, startAfterMs, durationMs, signal } = load;
  const agent = new Agent({ keepAlive: true });
  const latencies: number[] = [];
  let failed = 0;
  const send = async (bystander: RaceRequest, dueAtMs: number) => {
    const { status } = await exchange(agent, bystander, BYSTANDER_LIMIT_MS);
    latencies.push(performance.now() - dueAtMs);
    if (status !== 200) failed++;
  };
  const firstAtMs = performance.now() + startAfterMs;
  const sent: Promise<void>[] = [];
  try {
    for (let dueAtMs = firstAtMs; dueAtMs < firstAtMs + durationMs; dueAtMs += BYSTANDER_EVERY_MS) {
      const waitMs = dueAtMs - performance.now();
      if (waitMs > 0) await sleep(waitMs, undefined, { signal });
      const bystander = requests[sent.length % requests.length];
      if (bystander !== undefined) sent.push(send(bystander, dueAtMs));
    }
    await Promise.all(sent);
    signal.throwIfAborted();
    return { latencyMs: percentiles(latencies), failed };
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
      exchanges.push(await exchange(agent, confirmation, DEFAULT_LIMITS.answerTimeoutMs));
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

/** Sends one request. Never rejects: what goes wrong is in the exchange. */
function exchange<Request extends RaceRequest>(
  agent: Agent,
  sent: Request,
  limitMs: number,
): Promise<Exchange<Request>> {
  const { host, port }: Target = sent.target;
  const releasedAtUs = monotonicUs();
  return new Promise((resolve) => {
    const end = (answer: Pick<Exchange, 'status' | 'headers' | 'body' | 'error'>) => {
      clearTimeout(timer);
      resolve({ request: sent, releasedAtUs, answeredAtUs: monotonicUs(), ...answer });
    };
    const failed = (error: string) => end({ status: undefined, headers: {}, body: Buffer.alloc(0), error });
    const { method, path, body } = sent;
    const headers =
      body === '' ? sent.headers : { ...sent.headers, 'content-length': Buffer.byteLength(body) };
    const outgoing = request({ host, port, method, path, headers, agent }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', () => failed('reset'));
      response.on('end', () => {
        const { statusCode: status } = response;
        end({ status, headers: response.headers, body: Buffer.concat(chunks), error: undefined });
      });
    });
    const timer = setTimeout(() => {
      failed('timeout');
      outgoing.destroy();
    }, limitMs);
    outgoing.on('error', (error: NodeJS.ErrnoException) =>
      failed(error.code === 'ECONNRESET' ? 'reset' : (error.code ?? 'reset')),
    );
    outgoing.end(body);
  });
}
