import { describe, expect, test } from 'vitest';
import type { SandboxOptions } from '../src/index.ts';
import { manualClock, ORDER, type Reply, startSandbox } from './harness.ts';

/** Five confirms of one payment that are all waiting when the first is decided. */
async function confirmFiveTimes(
  options: Partial<SandboxOptions>,
  headers: (index: number) => Record<string, string> = () => ({}),
) {
  const clock = manualClock();
  const sandbox = await startSandbox({ ...options, clock });
  if (options.mode === 'toss') await sandbox.openSession();
  const replies: Promise<Reply>[] = [];
  for (let index = 0; index < 5; index++) replies.push(sandbox.confirm(ORDER, headers(index)));
  await expect.poll(clock.sleeping).toBe(5);
  clock.advance(0);
  return { sandbox, replies: await Promise.all(replies) };
}

const codes = (replies: Reply[]) => replies.map(({ body }) => body.code ?? 'DONE').sort();

describe('five confirms of one payment at once', () => {
  test('as-published: one captures, four are the 500 of a duplicate key', async () => {
    const { sandbox, replies } = await confirmFiveTimes({ mode: 'as-published' });
    expect(replies.map(({ status }) => status).sort()).toEqual([200, 500, 500, 500, 500]);
    expect(codes(replies)).toEqual(['DONE', ...Array(4).fill('DUPLICATE_PAYMENT_KEY')]);
    expect(await sandbox.count('request')).toBe(5);
    expect(await sandbox.count('capture')).toBe(1);
  });

  test('generous: all five capture, and the balance says so', async () => {
    const { sandbox, replies } = await confirmFiveTimes({ mode: 'generous' });
    expect(replies.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect(await sandbox.count('capture')).toBe(5);
    expect((await sandbox.lookUp()).body).toMatchObject({ totalAmount: 1000, balanceAmount: 5000 });
  });

  test('toss: one captures, four are ALREADY_PROCESSED_PAYMENT', async () => {
    const { sandbox, replies } = await confirmFiveTimes({ mode: 'toss' });
    expect(codes(replies)).toEqual([...Array(4).fill('ALREADY_PROCESSED_PAYMENT'), 'DONE']);
    expect(replies.map(({ status }) => status).sort()).toEqual([200, 400, 400, 400, 400]);
    expect(await sandbox.count('capture')).toBe(1);
  });

  test('toss without the guard: every confirm under its own key captures', async () => {
    const { sandbox, replies } = await confirmFiveTimes(
      { mode: 'toss', alreadyProcessedGuard: false },
      (index) => ({ 'idempotency-key': `key-${index}` }),
    );
    expect(replies.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect(await sandbox.count('capture')).toBe(5);
  });
});

test('an idempotency key means nothing outside toss mode', async () => {
  for (const mode of ['as-published', 'generous'] as const) {
    const sandbox = await startSandbox({ mode });
    const headers = { 'idempotency-key': 'k'.repeat(301) };
    expect((await sandbox.confirm(ORDER, headers)).status).toBe(200);
    const second = await sandbox.confirm(ORDER, headers);
    expect(second.status).toBe(mode === 'generous' ? 200 : 500);
    expect(await sandbox.count('answer')).toBe(0);
  }
});

test('a confirm takes the seeded time, within its bounds', async () => {
  const draw = async (seed: number) => {
    const slept: number[] = [];
    const sandbox = await startSandbox({
      mode: 'generous',
      latencyMinMs: 100,
      latencyMaxMs: 103,
      seed,
      clock: {
        nowMs: Date.now,
        sleep: async (ms) => {
          slept.push(ms);
        },
      },
    });
    for (let index = 0; index < 30; index++) await sandbox.confirm();
    return slept;
  };
  const first = await draw(1);
  expect(new Set(first)).toEqual(new Set([100, 101, 102, 103]));
  expect(await draw(1)).toEqual(first);
  expect(await draw(2)).not.toEqual(first);
});
