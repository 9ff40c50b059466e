import type { IncomingHttpHeaders } from 'node:http';
import { connect, type Socket } from 'node:net';
import { type Exchange, monotonicUs, type RaceRequest, type Target } from './exchange.ts';

/** One connection that is kept, and used for one request after the other. */
export interface KeptConnection {
  /** Resolves when it is open. @throws Error  It cannot be opened. */
  open(): Promise<void>;
  /**
   * Sends a request without a body, when the one before it has been answered. Never rejects: what goes wrong is in the
   * exchange, and the next request opens the connection again.
   *
   * @param limitMs  From the sending to the last byte of the answer, in milliseconds.
   */
  send<Request extends RaceRequest>(request: Request, limitMs: number): Promise<Exchange<Request>>;
  close(): void;
}

const HEAD_END = '\r\n\r\n';

/**
 * A connection for a generator of load that shares the processors with what it loads: it costs a fifth of what Node's
 * client takes for a request. In return it understands only answers that say how long they are; any other is `reset`.
 */
export function keptConnection({ host, port }: Target): KeptConnection {
  let socket: Socket | undefined;
  const opened = () => {
    socket ??= connect({ host, port, noDelay: true });
    return socket;
  };
  const close = () => {
    socket?.destroy();
    socket = undefined;
  };
  return {
    close,
    open: () =>
      new Promise((resolve, reject) => {
        opened()
          .once('connect', () => resolve())
          .once('error', reject)
          .once('close', close);
      }),
    send(request, limitMs) {
      const line = opened();
      const releasedAtUs = monotonicUs();
      return new Promise((resolve) => {
        let received: Buffer = Buffer.alloc(0);
        const end = (answer: Answer | undefined, error: string | undefined) => {
          clearTimeout(timer);
          line.off('data', take).off('error', failed).off('close', lost);
          if (answer === undefined || answer.headers.connection === 'close') close();
          resolve({
            request,
            status: answer?.status,
            headers: answer?.headers ?? {},
            body: answer?.body ?? Buffer.alloc(0),
            releasedAtUs,
            answeredAtUs: monotonicUs(),
            error,
          });
        };
        const take = (bytes: Buffer) => {
          received = received.length === 0 ? bytes : Buffer.concat([received, bytes]);
          const answer = answerIn(received);
          if (answer === 'unreadable') end(undefined, 'reset');
          else if (answer !== 'incomplete') end(answer, undefined);
        };
        const failed = ({ code }: NodeJS.ErrnoException) =>
          end(undefined, code === undefined || code === 'ECONNRESET' || code === 'EPIPE' ? 'reset' : code);
        const lost = () => end(undefined, 'reset');
        const timer = setTimeout(end, limitMs, undefined, 'timeout');
        line.on('data', take).once('error', failed).once('close', lost);
        line.write(headOf(request));
      });
    },
  };
}

type Answer = Pick<Exchange, 'headers' | 'body'> & { status: number };

function headOf({ target, method, path, headers }: RaceRequest): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\nhost: ${target.host}:${target.port}\r\ncontent-length: 0\r\n${lines.join('')}\r\n`;
}

function answerIn(received: Buffer): Answer | 'incomplete' | 'unreadable' {
  const headEnd = received.indexOf(HEAD_END);
  if (headEnd === -1) return 'incomplete';
  const [statusLine = '', ...fields] = received.toString('latin1', 0, headEnd).split('\r\n');
  const headers: IncomingHttpHeaders = {};
  for (const field of fields) {
    const colon = field.indexOf(':');
    headers[field.slice(0, colon).toLowerCase()] = field.slice(colon + 1).trim();
  }
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(statusLine)?.[1]);
  const length = Number(headers['content-length']);
  if (Number.isNaN(status) || Number.isNaN(length)) return 'unreadable';
  const bodyStart = headEnd + HEAD_END.length;
  if (received.length < bodyStart + length) return 'incomplete';
  return { status, headers, body: received.subarray(bodyStart, bodyStart + length) };
}
