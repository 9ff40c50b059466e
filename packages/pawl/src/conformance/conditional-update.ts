import assert from 'node:assert/strict';
import { conditionalUpdate } from '../conditional-update.ts';
import { refused } from '../outcome.ts';
import { transact, transactWithRetry } from '../transaction.ts';
import { rowsOf } from './business-tables.ts';
import type { ConformanceCase } from './case.ts';
import { job, type Racer } from './job.ts';
import { isCommit } from './proxy.ts';
import { countOf, onlyValue, RACERS, race, values } from './race.ts';
import { onSqlBench, type SqlBench, type SqlSubject } from './sql-bench.ts';
import { databaseOf } from './world.ts';

const buyUnguarded = job('conditional-update/buy-unguarded', ['looked'], async (racer) => {
  const { sql, tables } = databaseOf(racer.world);
  const free = await looksFree(racer);
  await racer.meet('looked');
  if (!free) return false;
  const bought = `UPDATE ${tables.ticket} SET status = 'sold', buyer = ? WHERE id = 1`;
  await rowsOf(sql, bought, String(racer.index));
  return true;
});

const buy = job('conditional-update/buy', ['looked'], async (racer) => {
  const { sql } = databaseOf(racer.world);
  await looksFree(racer);
  await racer.meet('looked');
  return conditionalUpdate(sql, sale(racer));
});

/** Buys it and keeps others waiting until it is told to commit, or to roll back. */
const holdSale = job(
  'conditional-update/hold',
  [],
  async (racer, { end }: { end: 'commits' | 'rolls back' }) => {
    const { sql } = databaseOf(racer.world);
    return transact(sql, async (transaction) => {
      const outcome = await conditionalUpdate(transaction, sale(racer));
      await racer.meet('bought');
      return end === 'commits' ? outcome : refused('declined');
    });
  },
);

async function looksFree({ world }: Racer): Promise<boolean> {
  const { sql, tables } = databaseOf(world);
  const [row] = await rowsOf(sql, `SELECT status FROM ${tables.ticket} WHERE id = 1`);
  return row?.status === 'free';
}

function sale({ world, index }: Racer) {
  const { tables } = databaseOf(world);
  return {
    table: tables.ticket,
    key: { id: 1 },
    expect: { status: 'free' },
    set: { status: 'sold', buyer: String(index) },
  };
}

const buyerOf = async ({ rows, tables }: SqlBench) =>
  (await rows(`SELECT buyer FROM ${tables.ticket} WHERE id = 1`))[0]?.buyer;

export const conditionalUpdateJobs = [buyUnguarded, buy, holdSale];

export function conditionalUpdateCases(subject: SqlSubject): readonly ConformanceCase[] {
  return [
    {
      name: `conditional update: without it, ${RACERS} racers over two processes all buy the one ticket`,
      run: () =>
        onSqlBench(subject, async (bench) => {
          const bought = values(await race(await bench.hosts(), buyUnguarded, undefined));
          assert.equal(bought.filter(Boolean).length, RACERS);
        }),
    },
    {
      name: `conditional update: with it, one of ${RACERS} buys the ticket, and all others are refused`,
      run: () =>
        onSqlBench(subject, async (bench) => {
          const outcomes = values(await race(await bench.hosts(), buy, undefined));
          assert.equal(countOf(outcomes, 'done'), 1);
          const winner = outcomes.findIndex(({ outcome }) => outcome === 'done');
          const losers = outcomes.filter((_, index) => index !== winner);
          assert.deepEqual(losers, Array(RACERS - 1).fill({ outcome: 'refused', reason: 'wrong-state' }));
          assert.equal(await buyerOf(bench), String(winner));
        }),
    },
    ...(['commits', 'rolls back'] as const).map(
      (end): ConformanceCase => ({
        name: `conditional update: a racer that waits for one that ${end} ${end === 'commits' ? 'is refused' : 'wins'}`,
        run: () =>
          onSqlBench(subject, async (bench) => {
            const [first, second] = await bench.hosts({ connections: 1 });
            const holder = first.start(holdSale, { end });
            await holder.reached('bought');
            const waiting = second.start(buy, undefined, { first: 1, count: 1 });
            await waiting.reached('looked');
            waiting.pass('looked');
            await bench.waitFor(1);
            holder.pass('bought');
            await onlyValue(holder);
            const expected =
              end === 'commits'
                ? { outcome: 'refused', reason: 'wrong-state' }
                : { outcome: 'done', replayed: false };
            assert.deepEqual(await onlyValue(waiting), expected);
            assert.equal(await buyerOf(bench), end === 'commits' ? '0' : '1');
          }),
      }),
    ),
    ...(['answer-lost', 'request-lost'] as const).map(
      (fate): ConformanceCase => ({
        name: `conditional update: a COMMIT whose ${fate === 'answer-lost' ? 'answer' : 'request'} is lost is unknown, and nothing runs twice`,
        run: () =>
          onSqlBench(subject, async ({ proxy, open, tables, number }) => {
            const { port, seen } = await proxy(isCommit, (commit) => (commit === 1 ? fate : 'passes'));
            const sql = await open({ port });
            const row = { table: tables.ticket, key: { id: 1 }, expect: {}, set: {}, increment: 'version' };
            const counted = transactWithRetry(sql, (transaction) => conditionalUpdate(transaction, row));
            await assert.rejects(counted, { name: 'StoreError', code: 'CONNECTION_LOST', effect: 'unknown' });
            assert.equal(seen(), 1);
            const version = await number(`SELECT version AS n FROM ${tables.ticket} WHERE id = 1`);
            assert.equal(version, fate === 'answer-lost' ? 1 : 0);
          }),
      }),
    ),
  ];
}
