import assert from 'node:assert/strict';
import { done, refused } from '../outcome.ts';
import { lockRow, withRowLock } from '../pessimistic-lock.ts';
import { transact } from '../transaction.ts';
import { type BusinessTables, rowsOf } from './business-tables.ts';
import type { ConformanceCase } from './case.ts';
import { job } from './job.ts';
import { countOf, onlyValue, RACERS, race, values } from './race.ts';
import { onSqlBench, type SqlBench, type SqlSubject } from './sql-bench.ts';
import { databaseOf } from './world.ts';

/** Longer than all others together hold the lock. */
const PATIENT_MS = 60_000;

const buyAfterALook = job('pessimistic-lock/buy-after-a-look', ['looked'], async ({ world, index, meet }) => {
  const { sql, tables } = databaseOf(world);
  const [row] = await rowsOf(sql, `SELECT status FROM ${tables.ticket} WHERE id = 1`);
  await meet('looked');
  if (row?.status !== 'free') return false;
  await rowsOf(sql, sold(tables), String(index));
  return true;
});

const buyUnderLock = job(
  'pessimistic-lock/buy',
  ['ready'],
  async ({ world, index, meet }, { waitMs }: { waitMs: number }) => {
    const { sql, tables } = databaseOf(world);
    await meet('ready');
    return withRowLock(sql, { ...ticket(tables), waitMs }, async ({ status }, transaction) => {
      if (status !== 'free') return refused('wrong-state');
      await rowsOf(transaction, sold(tables), String(index));
      return done(undefined);
    });
  },
);

const holdLock = job(
  'pessimistic-lock/hold',
  [],
  async ({ world, index, meet }, { end }: { end: 'commits' | 'rolls back' }) => {
    const { sql, tables } = databaseOf(world);
    return transact(sql, async (transaction) => {
      const locked = await lockRow(transaction, { ...ticket(tables), waitMs: 0 });
      await rowsOf(transaction, sold(tables), String(index));
      await meet('locked');
      return end === 'commits' ? locked : refused('declined');
    });
  },
);

function ticket({ ticket }: BusinessTables) {
  return { table: ticket, key: { id: 1 }, columns: ['status'] };
}

function sold({ ticket }: BusinessTables): string {
  return `UPDATE ${ticket} SET status = 'sold', buyer = ? WHERE id = 1`;
}

const buyerOf = async ({ rows, tables }: SqlBench) =>
  (await rows(`SELECT buyer FROM ${tables.ticket} WHERE id = 1`))[0]?.buyer;

export const pessimisticLockJobs = [buyAfterALook, buyUnderLock, holdLock];

export function pessimisticLockCases(subject: SqlSubject): readonly ConformanceCase[] {
  return [
    {
      name: `row lock: without it, ${RACERS} racers over two processes that look first all buy the one ticket`,
      run: () =>
        onSqlBench(subject, async (bench) => {
          const bought = values(await race(await bench.hosts(), buyAfterALook, undefined));
          assert.equal(bought.filter(Boolean).length, RACERS);
        }),
    },
    {
      name: `row lock: with it, ${RACERS} racers look one after another, and one buys`,
      run: () =>
        onSqlBench(subject, async (bench) => {
          const outcomes = values(await race(await bench.hosts(), buyUnderLock, { waitMs: PATIENT_MS }));
          assert.equal(countOf(outcomes, 'done'), 1);
          const winner = outcomes.findIndex(({ outcome }) => outcome === 'done');
          const losers = outcomes.filter((_, index) => index !== winner);
          assert.deepEqual(losers, Array(RACERS - 1).fill({ outcome: 'refused', reason: 'wrong-state' }));
          assert.equal(await buyerOf(bench), String(winner));
        }),
    },
    ...(['commits', 'rolls back'] as const).map(
      (end): ConformanceCase => ({
        name: `row lock: a racer that waits for one that ${end} ${end === 'commits' ? 'sees what he wrote' : 'sees nothing of him'}`,
        run: () =>
          onSqlBench(subject, async (bench) => {
            const [first, second] = await bench.hosts({ connections: 1 });
            const holder = first.start(holdLock, { end });
            await holder.reached('locked');
            const waiting = second.start(buyUnderLock, { waitMs: PATIENT_MS }, { first: 1, count: 1 });
            await waiting.reached('ready');
            waiting.pass('ready');
            await bench.waitFor(1);
            holder.pass('locked');
            await onlyValue(holder);
            const { outcome } = await onlyValue(waiting);
            assert.equal(outcome, end === 'commits' ? 'refused' : 'done');
            assert.equal(await buyerOf(bench), end === 'commits' ? '0' : '1');
          }),
      }),
    ),
    {
      name: 'row lock: a racer that does not get it in time is refused, and its port goes on as before',
      run: () =>
        onSqlBench(subject, async (bench) => {
          const [first, second] = await bench.hosts({ connections: 1 });
          const holder = first.start(holdLock, { end: 'commits' });
          await holder.reached('locked');
          const buying = async (waitMs: number) => {
            const run = second.start(buyUnderLock, { waitMs }, { first: 1, count: 1 });
            await run.reached('ready');
            run.pass('ready');
            return onlyValue(run);
          };
          for (const waitMs of [0, 100]) {
            assert.deepEqual(await buying(waitMs), { outcome: 'refused', reason: 'lock-timeout' });
          }
          holder.pass('locked');
          await onlyValue(holder);
          assert.deepEqual(await buying(PATIENT_MS), { outcome: 'refused', reason: 'wrong-state' });
        }),
    },
  ];
}
