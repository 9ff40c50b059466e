import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Exchange, RaceRequest } from '../racer/exchange.ts';
import { exchangeOver } from '../racer/exchange-over.ts';

/** Between an answer and the same member's next request, in milliseconds. */
const ASK_AGAIN_MS = 100;

export interface LoadLimits {
  /** How long an answer is waited for, in milliseconds. */
  answerTimeoutMs: number;
  signal: AbortSignal;
  /** Called with the number of answers so far. */
  onProgress(answered: number): void;
}

/**
 * Sends the requests by so many workers, each of which sends its next when the one before is answered, over kept-alive
 * connections. Answers come in the order in which they were given.
 *
 * @throws the signal's reason
 */
export function sendByWorkers<Request extends RaceRequest>(
  requests: readonly Request[],
  workers: number,
  { answerTimeoutMs, signal, onProgress }: LoadLimits,
): Promise<Exchange<Request>[]> {
  return overKeptAlive(signal, async (agent) => {
    const exchanges: Exchange<Request>[] = [];
    const left = requests.values();
    const worker = async () => {
      for (const request of left) {
        exchanges.push(await exchangeOver(agent, request, answerTimeoutMs));
        onProgress(exchanges.length);
        if (signal.aborted) return;
      }
    };
    await Promise.all(Array.from({ length: workers }, worker));
    return exchanges;
  });
}

export interface Asker<Request extends RaceRequest> {
  /** Its `nth` request, from 1. */
  request(nth: number): Request;
  /** Whether it need not ask again after this answer. */
  isAnswered(exchange: Exchange<Request>): boolean;
}

/**
 * Lets everybody ask again and again until he has his answer, with a pause of 100 ms after each, and nobody for longer
 * than `forMs`. They begin spread over one such pause.
 *
 * @throws the signal's reason
 */
export function keepAsking<Request extends RaceRequest>(
  askers: readonly Asker<Request>[],
  forMs: number,
  { answerTimeoutMs, signal, onProgress }: LoadLimits,
): Promise<Exchange<Request>[]> {
  return overKeptAlive(signal, async (agent) => {
    const exchanges: Exchange<Request>[] = [];
    const endMs = performance.now() + forMs;
    const ask = async ({ request, isAnswered }: Asker<Request>, index: number) => {
      await sleep((index * ASK_AGAIN_MS) / askers.length, undefined, { signal });
      for (let nth = 1; performance.now() < endMs; nth++) {
        const exchange = await exchangeOver(agent, request(nth), answerTimeoutMs);
        exchanges.push(exchange);
        onProgress(exchanges.length);
        if (isAnswered(exchange)) return;
        await sleep(ASK_AGAIN_MS, undefined, { signal });
      }
    };
    await Promise.all(askers.map(ask));
    return exchanges;
  });
}

/** Runs `work` with an agent whose connections are all destroyed at the end, or when `signal` is aborted. */
async function overKeptAlive<T>(signal: AbortSignal, work: (agent: Agent) => Promise<T>): Promise<T> {
  const agent = new Agent({ keepAlive: true });
  const abandon = () => agent.destroy();
  signal.addEventListener('abort', abandon, { once: true });
  try {
    const result = await work(agent);
    signal.throwIfAborted();
    return result;
  } catch (error) {
    // A sleep that is cut short fails with an error of its own.
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', abandon);
    agent.destroy();
  }
}
