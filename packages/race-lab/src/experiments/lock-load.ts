import type { Exchange, RaceRequest } from '../racer/exchange.ts';
import { type HeldRequest, holdRequest } from '../racer/held-request.ts';

/** A thing that happens to each answer. */
type Listener<Request extends RaceRequest> = (exchange: Exchange<Request>) => void;

/** Requests that are all on their way but for their last bytes. */
export interface HeldLoad<Request extends RaceRequest> {
  /** Sends the last bytes of the first `count` that are still held, in one tick. */
  release(count: number): void;
  /** What was released and has not been answered. */
  pending(): readonly Request[];
  /** Aborted when everything that had been released was answered, or will not be, for the first time. */
  readonly over: AbortSignal;
  onAnswer(listener: Listener<Request>): void;
  /** In the order of the requests. */
  readonly exchanges: Promise<Exchange<Request>[]>;
}

const PREPARE_LIMIT_MS = 10_000;
const MOST_ANSWER_BYTES = 1_048_576;

/**
 * Sends the requests but for their last bytes, each on a connection of its own, so that they can be released together.
 *
 * @throws the signal's reason; every connection is destroyed by then, as it is when the signal is aborted later.
 */
export async function holdLoad<Request extends RaceRequest>(
  requests: readonly Request[],
  { answerTimeoutMs, signal }: { answerTimeoutMs: number; signal: AbortSignal },
): Promise<HeldLoad<Request>> {
  signal.throwIfAborted();
  const limits = { prepareTimeoutMs: PREPARE_LIMIT_MS, answerTimeoutMs, maxAnswerBytes: MOST_ANSWER_BYTES };
  const listeners: Listener<Request>[] = [];
  const over = new AbortController();
  const held: HeldRequest<Request>[] = requests.map((request) => holdRequest(request, limits));
  const abandon = () => {
    for (const one of held) one.abandon();
  };
  signal.addEventListener('abort', abandon, { once: true });
  let released = 0;
  const answered = new Set<Request>();
  const pending = () => requests.slice(0, released).filter((request) => !answered.has(request));
  for (const one of held) {
    void one.exchange.then((exchange) => {
      answered.add(exchange.request);
      if (pending().length === 0) over.abort();
      for (const listener of listeners) listener(exchange);
    });
  }
  const exchanges = Promise.all(held.map(({ exchange }) => exchange)).then((all) => {
    signal.removeEventListener('abort', abandon);
    return all;
  });
  await Promise.all(held.map((one) => one.held));
  signal.throwIfAborted();
  return {
    release(count) {
      for (const one of held.slice(released, released + count)) one.release();
      released = Math.min(held.length, released + count);
    },
    pending,
    over: over.signal,
    onAnswer: (listener) => void listeners.push(listener),
    exchanges,
  };
}
