import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type Clock, createSandbox, type LedgerEvent, type SandboxOptions } from '../src/index.ts';

export const ORDER = { paymentKey: 'pay_1', orderId: 'order-1', amount: 1000 };
export const AUTHORIZATION = `Basic ${Buffer.from('test_sk_sandbox:').toString('base64')}`;

export interface Reply {
  status: number;
  text: string;
  /** The parsed body; an error's has a `code`. */
  body: Record<string, unknown>;
}

export type Harness = Awaited<ReturnType<typeof startSandbox>>;

/** A sandbox on a free port that takes no time, on a new ledger unless one is given. Ends with the test. */
export async function startSandbox(options: Partial<SandboxOptions> = {}) {
  const ledgerFile = options.ledgerFile ?? (await newLedgerFile());
  const sandbox = await createSandbox({
    port: 0,
    latencyMinMs: 0,
    latencyMaxMs: 0,
    logLevel: 'silent',
    ...options,
    ledgerFile,
  });
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= sandbox.close();
    return closed;
  };
  onTestFinished(close);
  return { ...apiOf(sandbox.url), ledgerFile, close };
}

/** The calls of a client that holds the secret key. */
export function apiOf(url: string) {
  async function call(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Reply> {
    const response = await fetch(url + path, {
      method,
      headers: {
        authorization: AUTHORIZATION,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, text, body: text === '' ? {} : JSON.parse(text) };
  }

  async function ledger(after = 0): Promise<LedgerEvent[]> {
    const response = await fetch(`${url}/sandbox/ledger?after=${after}`);
    const lines = (await response.text()).split('\n').filter((line) => line !== '');
    return lines.map((line) => JSON.parse(line) as LedgerEvent);
  }

  return {
    url,
    call,
    ledger,
    confirm: (body: unknown = ORDER, headers?: Record<string, string>) =>
      call('POST', '/v1/payments/confirm', body, headers),
    cancel: (body: object = {}, paymentKey = ORDER.paymentKey, headers?: Record<string, string>) =>
      call(
        'POST',
        `/v1/payments/${paymentKey}/cancel`,
        { cancelReason: 'changed my mind', ...body },
        headers,
      ),
    lookUp: (paymentKey = ORDER.paymentKey) => call('GET', `/v1/payments/${paymentKey}`),
    /** Adds a fault rule, and answers its id. */
    async fault(rule: object): Promise<string> {
      const { status, text, body } = await call('POST', '/sandbox/faults', rule);
      if (status !== 200) throw new Error(`the rule was refused: ${text}`);
      return String(body.id);
    },
    openSession: (body: object = ORDER) => call('POST', '/sandbox/sessions', body),
    count: async (type: LedgerEvent['type']) =>
      (await ledger()).filter((event) => event.type === type).length,
  };
}

export async function newLedgerFile(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'payment-sandbox-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return join(folder, 'ledger.jsonl');
}

/** A clock that stands still, and whose sleepers wake only when it is moved: the barrier of the tests. */
export function manualClock(startMs = Date.parse('2026-03-01T00:00:00Z')) {
  let nowMs = startMs;
  let sleepers: { wakeAtMs: number; wake: () => void }[] = [];
  const clock: Clock = {
    nowMs: () => nowMs,
    sleep: (ms, signal) =>
      new Promise((wake) => {
        sleepers.push({ wakeAtMs: nowMs + ms, wake });
        signal?.addEventListener('abort', () => wake());
      }),
  };
  return {
    ...clock,
    sleeping: () => sleepers.length,
    advance(ms: number) {
      nowMs += ms;
      const due = sleepers.filter(({ wakeAtMs }) => wakeAtMs <= nowMs);
      sleepers = sleepers.filter(({ wakeAtMs }) => wakeAtMs > nowMs);
      for (const { wake } of due) wake();
    },
  };
}

/** A request over a socket of its own, and what comes of it down to the bytes and the end of the connection. */
export function sendRaw(url: string, method: string, path: string, body?: object, headers: object = {}) {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  const payload = body === undefined ? '' : JSON.stringify(body);
  const lines = Object.entries({
    host: hostname,
    authorization: AUTHORIZATION,
    'content-length': Buffer.byteLength(payload),
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${payload}`);
  let received = '';
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1');
  });
  const ended = new Promise<string>((resolve) => {
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.on('close', () => resolve('end'));
  });
  onTestFinished(() => {
    socket.destroy();
  });
  return {
    received: () => received,
    open: () => !socket.closed,
    /** How the connection ended: `end`, or the code of an error. */
    ended,
    leave: () => socket.destroy(),
  };
}
