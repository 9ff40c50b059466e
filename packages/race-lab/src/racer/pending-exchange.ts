import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import { type Exchange, monotonicUs, type RaceRequest, type RequestLimits } from './exchange.ts';

type Answer = Pick<Exchange, 'headers' | 'body'> & { status: number };

/** An exchange that is under way, with its time limits. */
export interface PendingExchange<Request extends RaceRequest> {
  /** Everything but the last byte is sent. */
  held(): void;
  /** The last byte is being written now. When it is called again, that counts. */
  released(): void;
  /** Only the first end counts. */
  end(answer: Answer | undefined, error?: string): void;
  isOver(): boolean;
  /** Resolves when it is held, or over before that. */
  readonly whenHeld: Promise<void>;
  readonly exchange: Promise<Exchange<Request>>;
}

/** @param onEnd  Called once, before the exchange resolves. */
export function pendingExchange<Request extends RaceRequest>(
  request: Request,
  limits: RequestLimits,
  onEnd: () => void,
): PendingExchange<Request> {
  const whenHeld = Promise.withResolvers<void>();
  const exchange = Promise.withResolvers<Exchange<Request>>();
  let releasedAtUs: number | undefined;
  let over = false;

  const end = (answer: Answer | undefined, error?: string) => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    onEnd();
    const answeredAtUs = monotonicUs();
    exchange.resolve({
      request,
      status: answer?.status,
      headers: answer?.headers ?? {},
      body: answer?.body ?? Buffer.alloc(0),
      releasedAtUs: releasedAtUs ?? answeredAtUs,
      answeredAtUs,
      error: answer !== undefined && releasedAtUs === undefined ? 'early-answer' : error,
    });
    whenHeld.resolve();
  };
  let timer = setTimeout(end, limits.prepareTimeoutMs, undefined, 'prepare-timeout');
  return {
    held() {
      clearTimeout(timer);
      whenHeld.resolve();
    },
    released() {
      if (over) return;
      clearTimeout(timer);
      releasedAtUs = monotonicUs();
      timer = setTimeout(end, limits.answerTimeoutMs, undefined, 'timeout');
    },
    end,
    isOver: () => over,
    whenHeld: whenHeld.promise,
    exchange: exchange.promise,
  };
}

/**
 * Ends the exchange with the whole body of an answer, or with what went wrong with it.
 *
 * @param head  Read at its end; absent when the answer is none.
 */
export function collectAnswer(
  body: Readable,
  limits: RequestLimits,
  pending: PendingExchange<RaceRequest>,
  head: () => { status: number; headers: IncomingHttpHeaders } | undefined,
): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  body.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > limits.maxAnswerBytes) pending.end(undefined, 'too-large');
    else chunks.push(chunk);
  });
  body.on('end', () => {
    const answer = head();
    if (answer === undefined) pending.end(undefined, 'reset');
    else pending.end({ ...answer, body: Buffer.concat(chunks) });
  });
  body.on('error', (error) => pending.end(undefined, errorCode(error)));
}

const LOST = ['ECONNRESET', 'EPIPE', 'ERR_HTTP2_STREAM_ERROR', 'ERR_HTTP2_SESSION_ERROR'];

/** What an exchange says of a failed connection. */
export function errorCode({ code }: NodeJS.ErrnoException): string {
  return code === undefined || LOST.includes(code) ? 'reset' : code;
}
