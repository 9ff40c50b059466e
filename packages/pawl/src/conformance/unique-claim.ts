import assert from 'node:assert/strict';
import { refused } from '../outcome.ts';
import { transact } from '../transaction.ts';
import { claimUnique } from '../unique-claim.ts';
import { numberOf, rowsOf } from './business-tables.ts';
import type { ConformanceCase } from './case.ts';
import { job, type Racer } from './job.ts';
import { countOf, onlyValue, RACERS, race, values } from './race.ts';
import { onSqlBench, type SqlBench, type SqlSubject } from './sql-bench.ts';
import { databaseOf } from './world.ts';

const SEAT = '12A';

const claimUnguarded = job('unique-claim/claim-unguarded', ['looked'], async ({ world, index, meet }) => {
  const { sql, tables } = databaseOf(world);
  const taken = await numberOf(sql, `SELECT COUNT(*) AS n FROM ${tables.openSeat} WHERE seat = ?`, SEAT);
  await meet('looked');
  if (taken > 0) return false;
  await rowsOf(sql, `INSERT INTO ${tables.openSeat} (seat, owner) VALUES (?, ?)`, SEAT, String(index));
  return true;
});

const claim = job('unique-claim/claim', ['ready'], async (racer) => {
  const { sql } = databaseOf(racer.world);
  await racer.meet('ready');
  return claimUnique(sql, claimOf(racer));
});

const holdClaim = job('unique-claim/hold', [], async (racer, { end }: { end: 'commits' | 'rolls back' }) => {
  const { sql } = databaseOf(racer.world);
  return transact(sql, async (transaction) => {
    const outcome = await claimUnique(transaction, claimOf(racer));
    await racer.meet('claimed');
    return end === 'commits' ? outcome : refused('declined');
  });
});

function claimOf({ world, index }: Racer) {
  const { tables } = databaseOf(world);
  return { table: tables.seat, key: { seat: SEAT }, values: { owner: String(index) } };
}

const ownersIn = async ({ rows }: SqlBench, table: string) =>
  (await rows(`SELECT owner FROM ${table}`)).map(({ owner }) => owner);

export const uniqueClaimJobs = [claimUnguarded, claim, holdClaim];

export function uniqueClaimCases(subject: SqlSubject): readonly ConformanceCase[] {
  return [
    {
      name: `unique claim: without the unique key, ${RACERS} racers over two processes all have the one seat`,
      run: () =>
        onSqlBench(subject, async (bench) => {
          const claimed = values(await race(await bench.hosts(), claimUnguarded, undefined));
          assert.equal(claimed.filter(Boolean).length, RACERS);
          assert.equal((await ownersIn(bench, bench.tables.openSeat)).length, RACERS);
        }),
    },
    {
      name: `unique claim: with it, one of ${RACERS} has the seat, and all others are told who`,
      run: () =>
        onSqlBench(subject, async (bench) => {
          const outcomes = values(await race(await bench.hosts(), claim, undefined));
          assert.equal(countOf(outcomes, 'done'), 1);
          const winner = outcomes.findIndex(({ outcome }) => outcome === 'done');
          const losers = outcomes.filter((_, index) => index !== winner);
          const holder = { seat: SEAT, owner: String(winner) };
          assert.deepEqual(
            losers,
            Array(RACERS - 1).fill({ outcome: 'refused', reason: 'in-progress', holder }),
          );
          assert.deepEqual(await ownersIn(bench, bench.tables.seat), [String(winner)]);
        }),
    },
    ...(['commits', 'rolls back'] as const).map(
      (end): ConformanceCase => ({
        name: `unique claim: a racer that waits for one that ${end} ${end === 'commits' ? 'is refused' : 'wins'}`,
        run: () =>
          onSqlBench(subject, async (bench) => {
            const [first, second] = await bench.hosts({ connections: 1 });
            const holder = first.start(holdClaim, { end });
            await holder.reached('claimed');
            const waiting = second.start(claim, undefined, { first: 1, count: 1 });
            await waiting.reached('ready');
            waiting.pass('ready');
            await bench.waitFor(1);
            holder.pass('claimed');
            await onlyValue(holder);
            const { outcome } = await onlyValue(waiting);
            assert.equal(outcome, end === 'commits' ? 'refused' : 'done');
            assert.deepEqual(await ownersIn(bench, bench.tables.seat), [end === 'commits' ? '0' : '1']);
          }),
      }),
    ),
  ];
}
