import { type Agent, request } from 'node:http';
import { type Exchange, monotonicUs, type RaceRequest, type Target } from './exchange.ts';

/**
 * Sends one request over one of the agent's connections, all of it at once. Never rejects: what goes wrong is in the
 * exchange.
 *
 * @param limitMs  From the sending to the last byte of the answer, in milliseconds.
 */
export function exchangeOver<Request extends RaceRequest>(
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
