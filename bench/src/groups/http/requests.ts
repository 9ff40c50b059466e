import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { HOST } from './frameworks/framework.ts';

const BODY = JSON.stringify({ orderId: 'order-7', amount: 5_000, paymentKey: 'payment-key-7' });

export interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly tookMs: number;
}

/** Sends the same POST under the keys that it is given, over connections that it keeps. */
export interface Requests {
  send(path: string, key: string): Promise<Answered>;
  close(): void;
}

export function openRequests(port: number, connections: number): Requests {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  return {
    send: (path, key) =>
      new Promise((resolve, reject) => {
        const headers = {
          'content-type': 'application/json',
          'content-length': BODY.length,
          'idempotency-key': key,
        };
        const sentMs = performance.now();
        const sending = request({ host: HOST, port, path, method: 'POST', agent, headers }, (response) => {
          let body = '';
          response.setEncoding('utf8');
          response.on('data', (text) => {
            body += text;
          });
          response.on('error', reject);
          response.on('end', () => {
            const tookMs = performance.now() - sentMs;
            resolve({ status: response.statusCode ?? 0, headers: response.headers, body, tookMs });
          });
        });
        sending.on('error', reject);
        sending.end(BODY);
      }),
    close: () => agent.destroy(),
  };
}
