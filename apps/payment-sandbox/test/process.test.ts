import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { apiOf, newLedgerFile, ORDER, startSandbox } from './harness.ts';

const MAIN = new URL('../src/main.ts', import.meta.url).pathname;

function spawnSandbox(env: Record<string, string>, shellPrefix = ''): ChildProcess {
  const child = spawn('sh', ['-c', `${shellPrefix} exec "$0" "$1"`, process.execPath, MAIN], {
    env: { PORT: '0', LATENCY_MIN_MS: '0', LATENCY_MAX_MS: '0', LOG_LEVEL: 'silent', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  return child;
}

async function output(stream: NodeJS.ReadableStream | null, until = /$^/): Promise<string> {
  let text = '';
  for await (const chunk of stream ?? []) {
    text += chunk;
    if (until.test(text)) break;
  }
  return text;
}

async function run(env: Record<string, string>, shellPrefix?: string) {
  const child = spawnSandbox(env, shellPrefix);
  const said = await output(child.stdout, /\n/);
  return { child, ...apiOf(/http:\S+/.exec(said)?.[0] ?? `no address in: ${said}`) };
}

/** Starts a sandbox that must refuse to, and tells how. */
async function refused(env: Record<string, string>) {
  const child = spawnSandbox(env);
  const [said, [code]] = await Promise.all([output(child.stderr), once(child, 'exit')]);
  return { said, code };
}

describe('settings', () => {
  test('that it cannot run with are all named, and end it with 254', async () => {
    const { said, code } = await refused({
      HOST: '0.0.0.0',
      LEDGER_FILE: await newLedgerFile(),
      LATENCY_MIN_MS: '20',
      LATENCY_MAX_MS: '10',
    });
    expect(code).toBe(254);
    expect(said).toContain('HOST must be a loopback address, got "0.0.0.0"');
    expect(said).toContain('LATENCY_MIN_MS must be at most LATENCY_MAX_MS (10), got 20');
  });

  test.each([
    ['LEDGER_FILE', '', 'LEDGER_FILE must be set to the path of the ledger file'],
    ['LEDGER_FILE', '/no/such/folder/ledger.jsonl', 'LEDGER_FILE cannot be opened'],
    ['MODE', 'kind', 'MODE must be one of as-published, generous, toss, got "kind"'],
    ['PORT', '65536', 'PORT must be a whole number from 0 to 65535, got "65536"'],
    ['AUTO_SESSION', 'maybe', 'AUTO_SESSION must be 1 or 0, got "maybe"'],
    ['SESSION_MS', '10m', 'SESSION_MS must be a whole number'],
  ])('%s=%s ends it with 254', async (name, value, problem) => {
    const { said, code } = await refused({ LEDGER_FILE: await newLedgerFile(), [name]: value });
    expect(said).toContain(problem);
    expect(code).toBe(254);
  });

  test('a taken port ends it with 254, and is named', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => {
      server.close();
    });
    const address = server.address();
    const port = typeof address === 'object' ? String(address?.port) : '';
    const { said, code } = await refused({ LEDGER_FILE: await newLedgerFile(), PORT: port });
    expect(said).toContain(`PORT ${port} is taken on 127.0.0.1`);
    expect(code).toBe(254);
  });
});

test('SIGTERM answers what is in flight, then ends it with 0', async () => {
  const LEDGER_FILE = await newLedgerFile();
  const { child, ...api } = await run({ LEDGER_FILE, LATENCY_MIN_MS: '300', LATENCY_MAX_MS: '300' });
  const confirm = api.confirm();
  await expect.poll(() => api.count('request')).toBe(1);
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  expect((await confirm).status).toBe(200);
  expect((await exit)[0]).toBe(0);
});

test('SIGTERM does not wait for those whom fault rules keep waiting', async () => {
  const LEDGER_FILE = await newLedgerFile();
  const { child, ...api } = await run({ LEDGER_FILE });
  const slow = { kind: 'slow', delayMs: 600_000 };
  await api.fault({ orderId: 'order-1', when: 'before', fault: slow });
  await api.fault({ orderId: 'order-2', when: 'after', fault: slow });
  await api.fault({ orderId: 'order-3', when: 'after', fault: { kind: 'hang' } });
  const lost = [1, 2, 3].map((index) =>
    api.confirm({ ...ORDER, paymentKey: `pay_${index}`, orderId: `order-${index}` }).then(
      () => false,
      () => true,
    ),
  );
  await expect.poll(() => api.count('fault')).toBe(3);
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  expect(await Promise.all(lost)).toEqual([true, true, true]);
  expect((await exit)[0]).toBe(0);
  const after = await startSandbox({ ledgerFile: LEDGER_FILE, autoSession: false });
  expect((await after.lookUp('pay_1')).status).toBe(404);
  for (const paymentKey of ['pay_2', 'pay_3'])
    expect((await after.lookUp(paymentKey)).body.status).toBe('DONE');
});

test('killed under load, it continues with everything that it had answered', async () => {
  const LEDGER_FILE = await newLedgerFile();
  const { child, ...api } = await run({ LEDGER_FILE, MODE: 'toss', AUTO_SESSION: '1' });
  const paid: string[] = [];
  const payUntilItDies = async (payer: number) => {
    for (let index = 0; ; index++) {
      const paymentKey = `pay_${payer}_${index}`;
      const reply = await api.confirm({ ...ORDER, paymentKey }).catch(() => undefined);
      if (reply === undefined) return;
      expect(reply.status).toBe(200);
      paid.push(paymentKey);
    }
  };
  const payers = [0, 1, 2, 3].map(payUntilItDies);
  await expect.poll(() => paid.length).toBeGreaterThan(40);
  child.kill('SIGKILL');
  await Promise.all(payers);
  const after = await startSandbox({ ledgerFile: LEDGER_FILE, mode: 'toss' });
  for (const paymentKey of paid) expect((await after.lookUp(paymentKey)).body.status).toBe('DONE');
});

test('on a full disk it answers 500 and stops accepting; what it answered before stands', async () => {
  const LEDGER_FILE = await newLedgerFile();
  // A limit on the file's size fails a write half-way, as a full disk does.
  const { child: _child, ...api } = await run({ LEDGER_FILE }, 'ulimit -f 16;');
  const statuses: number[] = [];
  const paid: string[] = [];
  for (let index = 0; statuses.filter((status) => status === 500).length < 3; index++) {
    const paymentKey = `pay_${index}`;
    const { status } = await api.confirm({ ...ORDER, paymentKey });
    statuses.push(status);
    if (status === 200) paid.push(paymentKey);
  }
  expect(paid.length).toBeGreaterThan(3);
  // Every answer before the first 500 is a 200, and none after it.
  expect(statuses).toEqual([...paid.map(() => 200), 500, 500, 500]);
  expect((await api.call('GET', '/health/ready')).status).toBe(503);
  expect((await readFile(LEDGER_FILE, 'utf8')).endsWith('\n')).toBe(false);
  const after = await startSandbox({ ledgerFile: LEDGER_FILE });
  for (const paymentKey of paid) expect((await after.lookUp(paymentKey)).body.status).toBe('DONE');
  expect((await after.confirm({ ...ORDER, paymentKey: 'pay_next' })).status).toBe(200);
});
