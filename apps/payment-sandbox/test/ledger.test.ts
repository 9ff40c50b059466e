import { appendFile, open, readFile, stat, writeFile } from 'node:fs/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { systemClock } from '../src/clock.ts';
import type { EventDraft, LedgerEvent } from '../src/events.ts';
import { openLedger } from '../src/ledger.ts';
import { newLedgerFile, ORDER, startSandbox } from './harness.ts';

const SESSION = {
  type: 'session',
  ...ORDER,
  currency: 'KRW',
  expiresAt: '2026-03-01T00:00:00.000Z',
} as const satisfies EventDraft;

async function openForTest(file: string) {
  const applied: LedgerEvent[] = [];
  const ledger = await openLedger({
    file,
    clock: systemClock,
    apply: (event) => applied.push(event),
    onFailure: () => undefined,
  });
  onTestFinished(() => ledger.close());
  return { ledger, applied };
}

/** Puts a stand-in before the disk's `datasync` of every file, until the test ends. */
async function replaceDatasync(replacement: (datasync: () => Promise<void>) => Promise<void>) {
  const handle = await open(await newLedgerFile(), 'a');
  const prototype = Object.getPrototypeOf(handle);
  await handle.close();
  const { datasync } = prototype;
  const spy = vi.spyOn(prototype, 'datasync').mockImplementation(function (this: unknown) {
    return replacement(() => datasync.call(this));
  });
  onTestFinished(() => spy.mockRestore());
  return spy;
}

describe('at start', () => {
  /** A file of one session and one decision of two events, and what was applied of what is left of it. */
  async function reopenAfter(change: (text: string) => string) {
    const file = await newLedgerFile();
    const { ledger } = await openForTest(file);
    ledger.write(({ append }) => append(SESSION));
    ledger.write(({ append }) => {
      append({ ...SESSION, paymentKey: 'pay_2' });
      append({ ...SESSION, paymentKey: 'pay_3' });
    });
    await ledger.close();
    await writeFile(file, change(await readFile(file, 'utf8')));
    return { file, ...(await openForTest(file)) };
  }
  const seqs = (events: LedgerEvent[]) => events.map(({ seq }) => seq);

  test('a whole file is applied in order, and continued', async () => {
    const { file, ledger, applied } = await reopenAfter((text) => text);
    ledger.write(({ append }) => append({ ...SESSION, paymentKey: 'pay_4' }));
    await ledger.synced();
    expect(seqs(applied)).toEqual([1, 2, 3, 4]);
    const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line).more)).toEqual([undefined, true, undefined, undefined]);
    expect((await openForTest(file)).applied.map(({ type: _type, ...rest }) => rest.seq)).toEqual([
      1, 2, 3, 4,
    ]);
  });

  test.each([
    ['inside a line', (text: string) => text.slice(0, -20)],
    ['before the last line feed', (text: string) => text.slice(0, -1)],
    [
      'between the lines of one decision',
      (text: string) => text.slice(0, text.lastIndexOf('\n', text.length - 2) + 1),
    ],
    ['with zeros after the last sync', (text: string) => `${text.slice(0, text.indexOf('\n') + 1)}\0\0\0`],
  ])('what was torn %s is cut off with its whole decision', async (_where, tear) => {
    const { file, ledger, applied } = await reopenAfter(tear);
    expect(seqs(applied)).toEqual([1]);
    ledger.write(({ append }) => append({ ...SESSION, paymentKey: 'pay_5' }));
    await ledger.synced();
    expect((await openForTest(file)).applied).toEqual(applied);
    expect(seqs(applied)).toEqual([1, 2]);
  });

  test.each([
    ['garbage', (text: string) => text.replace('{"seq":2', 'x"seq":2'), 'line 2'],
    ['an empty line', (text: string) => text.replace('\n', '\n\n'), 'line 2'],
    ['a missing line', (text: string) => text.slice(text.indexOf('\n') + 1), 'line 1'],
    ['an unknown type', (text: string) => text.replace('"type":"session"', '"type":"gift"'), 'line 1'],
    ['a moment that is none', (text: string) => text.replace(/"at":"[^"]*"/, '"at":"today"'), 'line 1'],
    ['a negative amount', (text: string) => text.replace('"amount":1000', '"amount":-1000'), 'line 1'],
  ])('%s before the end is CORRUPT, by line, and nothing is changed', async (_what, spoil, line) => {
    const file = await newLedgerFile();
    const { ledger } = await openForTest(file);
    for (const paymentKey of ['pay_1', 'pay_2'])
      ledger.write(({ append }) => append({ ...SESSION, paymentKey }));
    await ledger.close();
    const spoilt = spoil(await readFile(file, 'utf8'));
    await writeFile(file, spoilt);
    await expect(openForTest(file)).rejects.toMatchObject({
      name: 'LedgerError',
      code: 'CORRUPT',
      message: expect.stringContaining(line),
    });
    expect(await readFile(file, 'utf8')).toBe(spoilt);
  });

  test('a history that contradicts itself is CORRUPT', async () => {
    const sandbox = await startSandbox();
    await sandbox.confirm();
    await sandbox.cancel();
    await sandbox.close();
    const text = await readFile(sandbox.ledgerFile, 'utf8');
    const refund = text.trimEnd().split('\n').at(-1) ?? '';
    const twice = JSON.stringify({ ...JSON.parse(refund), seq: text.trimEnd().split('\n').length + 1 });
    await writeFile(sandbox.ledgerFile, `${text}${twice}\n`);
    await expect(startSandbox({ ledgerFile: sandbox.ledgerFile })).rejects.toMatchObject({ code: 'CORRUPT' });
  });
});

describe('syncing', () => {
  test('what arrives during a sync shares the next one', async () => {
    const { ledger } = await openForTest(await newLedgerFile());
    const spy = await replaceDatasync((datasync) => datasync());
    await Promise.all(
      Array.from({ length: 100 }, (_, index) => {
        ledger.write(({ append }) => append({ ...SESSION, paymentKey: `pay_${index}` }));
        return ledger.synced();
      }),
    );
    expect(spy).toHaveBeenCalledTimes(2);
  });

  test('nobody is answered, and nothing is served, before the sync is through', async () => {
    const sandbox = await startSandbox();
    const gate = Promise.withResolvers<void>();
    onTestFinished(() => gate.resolve());
    const spy = await replaceDatasync(async (datasync) => {
      await gate.promise;
      await datasync();
    });
    let answered = 0;
    const count = () => answered++;
    const confirm = sandbox.confirm().finally(count);
    await expect.poll(() => spy.mock.calls.length).toBe(1);
    expect((await stat(sandbox.ledgerFile)).size).toBeGreaterThan(0);
    const pending = [confirm, sandbox.ledger().finally(count)];
    // These do not wait for the disk, so those that do would have been answered by now.
    for (let index = 0; index < 10; index++) await sandbox.call('GET', '/health/ready');
    expect(answered).toBe(0);
    gate.resolve();
    await Promise.all(pending);
    expect(answered).toBe(2);
  });

  test('a failed sync is a 500, and the end of all accepting', async () => {
    const sandbox = await startSandbox();
    expect((await sandbox.call('GET', '/health/ready')).status).toBe(200);
    const spy = await replaceDatasync(async () => {
      throw Object.assign(new Error('i/o error'), { code: 'EIO' });
    });
    expect((await sandbox.confirm()).status).toBe(500);
    spy.mockRestore();
    for (const reply of [
      await sandbox.confirm({ ...ORDER, paymentKey: 'pay_2' }),
      await sandbox.lookUp(),
      await sandbox.openSession(),
      await sandbox.call('GET', '/sandbox/ledger'),
    ])
      expect([reply.status, reply.body.code]).toEqual([500, 'FAILED_INTERNAL_SYSTEM_PROCESSING']);
    expect((await sandbox.call('GET', '/health/ready')).status).toBe(503);
    expect(await readFile(sandbox.ledgerFile, 'utf8')).not.toContain('pay_2');
  });

  test('a file that somebody else wrote to is no truth any more', async () => {
    const sandbox = await startSandbox();
    await sandbox.confirm();
    await appendFile(sandbox.ledgerFile, '{}\n');
    expect((await sandbox.cancel()).status).toBe(500);
    expect((await sandbox.lookUp()).status).toBe(500);
  });
});

test('time never goes back, also when the clock does', async () => {
  const file = await newLedgerFile();
  let nowMs = 2000;
  const start = () =>
    openLedger({
      file,
      clock: { ...systemClock, nowMs: () => nowMs },
      apply: () => undefined,
      onFailure: () => undefined,
    });
  const first = await start();
  first.write(({ append }) => append(SESSION));
  await first.close();
  nowMs = 1000;
  const second = await start();
  expect(second.write(({ atMs }) => atMs)).toBe(2000);
  await second.close();
});
