import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type RedisDriver, redisPort } from '../src/adapters/redis-port.ts';
import { StoreError } from '../src/index.ts';

const LIMIT_MS = 1_000;

// The clock stands still but for the test, so that a moment is exactly that.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const passes = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const lost = { code: 'CONNECTION_LOST', effect: 'unknown' };

/** A port whose answers come when the test says so. */
function start() {
  const answers: PromiseWithResolvers<unknown>[] = [];
  let replacements = 0;
  const driver: RedisDriver = {
    notReady: () => undefined,
    send() {
      const answer = Promise.withResolvers<unknown>();
      answers.push(answer);
      return answer.promise;
    },
    isErrorReply: () => false,
    replaceConnection() {
      replacements++;
    },
  };
  const port = redisPort(driver, { commandTimeoutMs: LIMIT_MS });
  return {
    replacements: () => replacements,
    /** Sends a command. */
    ask() {
      const state: { became?: unknown; answer(value: unknown): void; fail(error: Error): void } = {
        answer: () => undefined,
        fail: () => undefined,
      };
      port.command('GET', 'key').then(
        (value) => {
          state.became = value;
        },
        (error: unknown) => {
          state.became = error;
        },
      );
      const answer = answers.at(-1);
      return Object.assign(state, { answer: answer?.resolve, fail: answer?.reject });
    },
  };
}

test.each([0, 1, 100, 249, 250, 499, 777])(
  'a command that comes %i ms after another is given up after the time-out, and before a quarter more',
  async (laterMs) => {
    const { ask, replacements } = start();
    const first = ask();
    await passes(laterMs);
    const command = ask();
    await passes(LIMIT_MS - 1);
    expect(command.became).toBeUndefined();
    await passes(LIMIT_MS / 4 + 1);
    expect(command.became).toMatchObject(lost);
    expect(command.became).toBeInstanceOf(StoreError);
    expect(first.became).toMatchObject(lost);
    expect(replacements()).toBe(2);
  },
);

test('what is answered in time is not, with a value or an error', async () => {
  const { ask, replacements } = start();
  const [first, second] = [ask(), ask()];
  await passes(LIMIT_MS - 1);
  first.answer('value');
  second.fail(new Error('closed'));
  await passes(0);
  expect([first.became, (second.became as Error).message]).toEqual(['value', 'closed']);
  await passes(10 * LIMIT_MS);
  expect(replacements()).toBe(0);
});

test('what comes after a time in which nothing was asked has its whole time', async () => {
  const { ask } = start();
  const first = ask();
  first.answer('value');
  await passes(10 * LIMIT_MS + 100);
  const command = ask();
  await passes(LIMIT_MS - 1);
  expect(command.became).toBeUndefined();
  await passes(LIMIT_MS / 4 + 1);
  expect(command.became).toMatchObject(lost);
});

test('a standstill of the process counts as one look, however long it was', async () => {
  const { ask, replacements } = start();
  const command = ask();
  const now = performance.now.bind(performance);
  vi.spyOn(performance, 'now').mockImplementation(() => now() + 60 * LIMIT_MS);
  // The timer that is overdue goes off; then the answer is read that has been there for long.
  await passes(LIMIT_MS / 4);
  command.answer('value');
  await passes(LIMIT_MS);
  expect([command.became, replacements()]).toEqual(['value', 0]);
});

test('one timer watches over a thousand commands, and none when all are answered', async () => {
  const { ask } = start();
  const commands = Array.from({ length: 1_000 }, () => ask());
  expect(vi.getTimerCount()).toBe(1);
  for (const { answer } of commands) answer('value');
  await passes(LIMIT_MS / 4);
  expect(vi.getTimerCount()).toBe(0);
});

test('of many that are answered in any order, those alone are given up that were not', async () => {
  const { ask, replacements } = start();
  const commands = Array.from({ length: 100 }, () => ask());
  const silent = commands.filter((_, index) => index % 7 === 0);
  const answered = commands.filter((command) => !silent.includes(command));
  // In an order that is neither that of their coming nor its reverse.
  for (let index = 0; index < answered.length; index++) {
    answered[(index * 37) % answered.length]?.answer(index);
  }
  await passes(0);
  await passes(2 * LIMIT_MS);
  for (const command of silent) expect(command.became).toMatchObject(lost);
  for (const command of answered) expect(command.became).toEqual(expect.any(Number));
  expect(replacements()).toBe(silent.length);
  expect(vi.getTimerCount()).toBe(0);
});
