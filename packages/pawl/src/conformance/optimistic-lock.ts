import assert from 'node:assert/strict';
import { versionedUpdate } from '../optimistic-lock.ts';
import { done } from '../outcome.ts';
import type { SqlSession } from '../ports.ts';
import { transact, transactWithRetry } from '../transaction.ts';
import { type BusinessTables, numberOf, rowsOf } from './business-tables.ts';
import type { ConformanceCase } from './case.ts';
import { job } from './job.ts';
import { countOf, onlyValue, RACERS, race, values } from './race.ts';
import { onSqlBench, type SqlBench, type SqlSubject } from './sql-bench.ts';
import { databaseOf } from './world.ts';

/** Each of these has to write in the end, one after another. */
const WRITERS = 10;
const PATIENT = { attempts: 200, backoffMs: 1, maxBackoffMs: 20, jitter: 1 };

const writeUnguarded = job('optimistic-lock/write-unguarded', ['read'], async ({ world, meet }) => {
  const { sql, tables } = databaseOf(world);
  const version = await versionIn(sql, tables);
  await meet('read');
  await rowsOf(sql, `UPDATE ${tables.ticket} SET version = ? WHERE id = 1`, version + 1);
});

const write = job('optimistic-lock/write', ['read'], async ({ world, index, meet }) => {
  const { sql, tables } = databaseOf(world);
  const version = await versionIn(sql, tables);
  await meet('read');
  return versionedUpdate(sql, updateOf(tables, version, index));
});

/** All read the same version at first; whoever comes too late reads again, in another transaction. */
const writeInTheEnd = job('optimistic-lock/write-in-the-end', ['read'], async ({ world, index, meet }) => {
  const { sql, tables } = databaseOf(world);
  let attempts = 0;
  const { outcome } = await transactWithRetry(
    sql,
    async (transaction) => {
      const version = await versionIn(transaction, tables);
      if (++attempts === 1) await meet('read');
      return versionedUpdate(transaction, updateOf(tables, version, index));
    },
    PATIENT,
  );
  return { outcome, attempts };
});

const holdWrite = job('optimistic-lock/hold', [], async ({ world, index, meet }) => {
  const { sql, tables } = databaseOf(world);
  return transact(sql, async (transaction) => {
    const version = await versionIn(transaction, tables);
    const written = await versionedUpdate(transaction, updateOf(tables, version, index));
    await meet('written');
    return written.outcome === 'done' ? done(written.value) : written;
  });
});

function versionIn(session: SqlSession, tables: BusinessTables): Promise<number> {
  return numberOf(session, `SELECT version AS n FROM ${tables.ticket} WHERE id = 1`);
}

function updateOf(tables: BusinessTables, version: number, index: number) {
  const row = { table: tables.ticket, key: { id: 1 } };
  return { ...row, version: { column: 'version', value: version }, set: { buyer: String(index) } };
}

const rowOf = async ({ rows, tables }: SqlBench) => {
  const [row] = await rows(`SELECT version, buyer FROM ${tables.ticket} WHERE id = 1`);
  return { version: Number(row?.version), buyer: row?.buyer };
};

export const optimisticLockJobs = [writeUnguarded, write, writeInTheEnd, holdWrite];

export function optimisticLockCases(subject: SqlSubject): readonly ConformanceCase[] {
  return [
    {
      name: `optimistic lock: without the version, ${RACERS} racers over two processes count to one`,
      run: () =>
        onSqlBench(subject, async (bench) => {
          values(await race(await bench.hosts(), writeUnguarded, undefined));
          assert.equal((await rowOf(bench)).version, 1);
        }),
    },
    {
      name: `optimistic lock: with it, one of ${RACERS} that read the same version writes`,
      run: () =>
        onSqlBench(subject, async (bench) => {
          const outcomes = values(await race(await bench.hosts(), write, undefined));
          assert.equal(countOf(outcomes, 'done'), 1);
          const winner = outcomes.findIndex(({ outcome }) => outcome === 'done');
          const losers = outcomes.filter((_, index) => index !== winner);
          assert.deepEqual(losers, Array(RACERS - 1).fill({ outcome: 'refused', reason: 'contended' }));
          assert.deepEqual(await rowOf(bench), { version: 1, buyer: String(winner) });
        }),
    },
    {
      name: `optimistic lock: with the retry around the transaction, all ${WRITERS} that read the same version write in the end`,
      run: () =>
        onSqlBench(subject, async (bench) => {
          const written = values(await race(await bench.hosts(), writeInTheEnd, undefined, WRITERS));
          assert.equal(countOf(written, 'done'), WRITERS);
          assert.equal((await rowOf(bench)).version, WRITERS);
          assert.equal(written.filter(({ attempts }) => attempts === 1).length, 1);
        }),
    },
    {
      name: 'optimistic lock: a racer that waits for one that commits is refused',
      run: () =>
        onSqlBench(subject, async (bench) => {
          const [first, second] = await bench.hosts({ connections: 1 });
          const holder = first.start(holdWrite, undefined);
          await holder.reached('written');
          const waiting = second.start(write, undefined, { first: 1, count: 1 });
          await waiting.reached('read');
          waiting.pass('read');
          await bench.waitFor(1);
          holder.pass('written');
          assert.equal((await onlyValue(holder)).outcome, 'done');
          assert.deepEqual(await onlyValue(waiting), { outcome: 'refused', reason: 'contended' });
          assert.deepEqual(await rowOf(bench), { version: 1, buyer: '0' });
        }),
    },
  ];
}
