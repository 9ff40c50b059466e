import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { idempotencyKeys, MisuseError, memoryIdempotencyStore } from '../../src/index.ts';
import { rows } from './cases.ts';
import { endConnections, type Received } from './client.ts';
import type { Framework } from './framework.ts';
import { situationsIn } from './situations.ts';
import { openStage, type Stage, type StoreName, stores } from './stage.ts';
import { transactions } from './transactions.ts';

/** What callers without types would give. */
const noKeys = { keys: undefined as never };
const noSize = { keys: idempotencyKeys(memoryIdempotencyStore()), maxAnswerBytes: -1 };

/** Every case, on every store, as a service of this framework. */
export function testGuardedServices(framework: Framework, on: readonly StoreName[] = stores): void {
  test.each([
    ['keys', noKeys],
    ['maxAnswerBytes', noSize],
  ])(`${framework.name}: a route with wrong %s does not start`, async (what, guard) => {
    const routes = [{ method: 'POST', path: '/pay', guard } as const];
    const starting = framework.start({
      routes,
      handle: async () => ({ status: 200 }),
      gaveUp: () => new Promise(() => undefined),
    });
    const failure: unknown = await starting.then(undefined, (error) => error);
    expect(failure).toBeInstanceOf(MisuseError);
    expect(failure).toMatchObject({ message: expect.stringContaining(what) });
  });

  describe.each(on)(`${framework.name}, %s`, (store) => {
    let stage: Stage;

    beforeAll(async () => {
      stage = await openStage(framework, store);
    });

    afterAll(async () => {
      endConnections();
      await stage.close();
    });

    describe.concurrent('one request after the other', () => {
      for (const row of rows.filter(({ only }) => only?.(framework) ?? true)) {
        test(row.name, async () => {
          const own = stage.newCase(row.handler);
          const received: Received[] = [];
          for (const [sending, expected] of row.exchanges) {
            const now = await own.send(sending);
            expected(now, received);
            received.push(now);
          }
          expect(own.runs()).toBe(row.runs);
        });
      }
    });

    describe.concurrent('several at once, and in the middle of something', () => {
      for (const { name, run } of situationsIn(framework)) test(name, () => run(stage));
    });

    if (store === 'redis') return;
    describe.concurrent('in transactional mode', () => {
      for (const { name, run } of transactions(framework)) test(name, () => run(stage));
    });
  });
}
