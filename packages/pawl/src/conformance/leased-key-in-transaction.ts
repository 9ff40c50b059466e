import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { idempotencyKeys } from '../idempotency-key.ts';
import { recordIdOf } from '../idempotency-request.ts';
import type { IdempotencyEvent } from '../idempotency-run.ts';
import type { SqlIdempotencyStore } from '../idempotency-store.ts';
import { transact } from '../transaction.ts';
import { newAnswer, requestOf, type Seen, seen } from './answers.ts';
import type { ConformanceCase } from './case.ts';
import { job } from './job.ts';
import { isReplayed } from './leased-key.ts';
import { isCommit } from './proxy.ts';
import { buyersOf, purchase } from './purchases.ts';
import { onlyValue } from './race.ts';
import { onSqlBench, type SqlBench, type SqlSubject } from './sql-bench.ts';
import { until } from './waiting.ts';
import { databaseOf, recordsOf } from './world.ts';

const LONG_MS = 300_000;
const SHORT_MS = 500;
const LOOK_AGAIN_MS = 20;

interface BuyOptions {
  readonly key: string;
  readonly leaseMs: number;
  /** Where it waits until it is told to go on, in the transaction that it has opened. */
  readonly stop?: 'bought' | 'completed';
}

interface Bought {
  readonly seen: Seen;
  readonly refused: readonly Seen[];
  readonly events: readonly IdempotencyEvent['kind'][];
  readonly attempt: number;
}

/** Buys, and completes its key, in one transaction; asks again while somebody else is at work. */
const buy = job(
  'leased-key-in-transaction/buy',
  [],
  async ({ world, index, meet }, { key, leaseMs, stop }: BuyOptions): Promise<Bought> => {
    const { sql, tables } = databaseOf(world);
    const events: IdempotencyEvent['kind'][] = [];
    const keys = idempotencyKeys(recordsOf(world).store as SqlIdempotencyStore, {
      leaseMs,
      onEvent: ({ kind }) => events.push(kind),
    });
    const refused: Seen[] = [];
    let attempt = 0;
    for (;;) {
      const outcome = await keys.run(requestOf(key), (lease) => {
        attempt = lease.attempt;
        return transact(sql, async (transaction) => {
          await purchase(transaction, tables, { key, buyer: String(index) });
          if (stop === 'bought') await meet('bought');
          const completed = await lease.completeIn(transaction, newAnswer());
          if (stop === 'completed') await meet('completed');
          return completed;
        });
      });
      if (outcome.outcome !== 'refused' || attempt > 0) {
        return { seen: seen(outcome), refused, events, attempt };
      }
      refused.push(seen(outcome));
      if (refused.length === 1) await meet('refused');
      await sleep(LOOK_AGAIN_MS);
    }
  },
);

export const leasedKeyInTransactionJobs = [buy];

export function leasedKeyInTransactionCases(subject: SqlSubject): readonly ConformanceCase[] {
  const onBench = (work: (bench: SqlBench) => Promise<void>) => onSqlBench(subject, work, { records: true });
  return [
    {
      name: 'leased key, completed in a transaction: what a process had bought that was stopped for too long is rolled back',
      run: () =>
        onBench(async (bench) => {
          const [first, second] = await bench.hosts({ connections: 2 });
          const key = randomUUID();
          const stopped = first.start(buy, { key, leaseMs: SHORT_MS, stop: 'bought' });
          await stopped.reached('bought');
          await first.signal('SIGSTOP');
          const successor = second.start(buy, { key, leaseMs: LONG_MS }, { first: 1, count: 1 });
          successor.pass('refused');
          const won = await onlyValue(successor);
          assert.equal(won.attempt, 2);
          assert.deepEqual([won.seen.outcome, won.seen.replayed], ['done', false]);
          assert.ok(won.seen.answer);
          await first.signal('SIGCONT');
          stopped.pass('bought');
          const late = await onlyValue(stopped);
          assert.ok(late.events.includes('lease-lost'));
          assert.deepEqual(late.seen, { ...won.seen, replayed: true });
          assert.deepEqual(await buyersOf(bench, key), ['1']);
          await isReplayed(bench, key, won.seen.answer);
        }),
    },
    {
      name: 'leased key, completed in a transaction: one that is stopped before its COMMIT is not taken over, and commits',
      run: () =>
        onBench(async (bench) => {
          const [first, second] = await bench.hosts({ connections: 2 });
          const key = randomUUID();
          const stopped = first.start(buy, { key, leaseMs: SHORT_MS, stop: 'completed' });
          await stopped.reached('completed');
          await first.signal('SIGSTOP');
          await until(async () => {
            const record = await bench.store.read(recordIdOf(requestOf(key)));
            return record !== undefined && record.leaseLeftMs <= 0;
          }, 'the end of the lease');
          const other = second.start(buy, { key, leaseMs: LONG_MS }, { first: 1, count: 1 });
          await other.reached('refused');
          await first.signal('SIGCONT');
          stopped.pass('completed');
          const { seen, attempt } = await onlyValue(stopped);
          assert.deepEqual([seen.outcome, seen.replayed, attempt], ['done', false, 1]);
          other.pass('refused');
          const replayed = await onlyValue(other);
          assert.deepEqual([replayed.seen, replayed.attempt], [{ ...seen, replayed: true }, 0]);
          assert.deepEqual(await buyersOf(bench, key), ['0']);
        }),
    },
    {
      name: 'leased key, completed in a transaction: a COMMIT whose answer is lost stands, and is told as done',
      run: () =>
        onBench(async (bench) => {
          const { port } = await bench.proxy(isCommit, (commit) => (commit === 1 ? 'answer-lost' : 'passes'));
          const host = await bench.here({ port });
          const key = randomUUID();
          const { seen } = await onlyValue(host.start(buy, { key, leaseMs: LONG_MS }));
          assert.deepEqual([seen.outcome, seen.replayed], ['done', false]);
          assert.ok(seen.answer);
          assert.deepEqual(await buyersOf(bench, key), ['0']);
          await isReplayed(bench, key, seen.answer);
        }),
    },
    {
      name: 'leased key, completed in a transaction: a COMMIT that was lost is unknown, and nobody else runs while the lease lasts',
      run: () =>
        onBench(async (bench) => {
          const { port } = await bench.proxy(isCommit, (commit) =>
            commit === 1 ? 'request-lost' : 'passes',
          );
          const host = await bench.here({ port });
          const key = randomUUID();
          const [ended] = await host.start(buy, { key, leaseMs: LONG_MS }).ended;
          assert.ok(ended !== undefined && 'error' in ended);
          assert.deepEqual([ended.error.code, ended.error.effect], ['CONNECTION_LOST', 'unknown']);
          assert.deepEqual(await buyersOf(bench, key), []);
          const again = await idempotencyKeys(bench.store).run(requestOf(key), async () =>
            assert.fail('ran beside a lease'),
          );
          assert.equal(again.outcome === 'refused' && again.reason, 'in-progress');
        }),
    },
  ];
}
