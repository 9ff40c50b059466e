import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { recordIdOf } from '../idempotency-request.ts';
import { transactionalIdempotencyKeys } from '../idempotency-transaction.ts';
import { done, refused } from '../outcome.ts';
import { transact } from '../transaction.ts';
import { newAnswer, requestOf, type Seen, seen } from './answers.ts';
import type { ConformanceCase } from './case.ts';
import { job, type Racer } from './job.ts';
import { isCommit } from './proxy.ts';
import { buyersOf, purchase } from './purchases.ts';
import { onlyValue, RACERS, race, values } from './race.ts';
import { onSqlBench, type SqlBench, type SqlSubject } from './sql-bench.ts';
import { databaseOf, recordsOf } from './world.ts';

/** Longer than the first one's transaction lasts, on a slow machine too. */
const PATIENT_MS = 30_000;

const lookThenBuy = job(
  'transactional-key/look-then-buy',
  ['looked'],
  async (racer, { key }: { key: string }) => {
    const { sql, tables } = databaseOf(racer.world);
    const found = await recordsOf(racer.world).store.read(recordIdOf(requestOf(key)));
    await racer.meet('looked');
    if (found !== undefined) return false;
    await sql.transaction((transaction) =>
      purchase(transaction, tables, { key, buyer: String(racer.index) }),
    );
    return true;
  },
);

const buy = job(
  'transactional-key/buy',
  ['ready'],
  async (racer, { key }: { key: string }): Promise<Seen> => {
    const { sql, tables } = databaseOf(racer.world);
    await racer.meet('ready');
    const keys = transactionalIdempotencyKeys(sql, { table: tables.idempotencyKey, waitMs: PATIENT_MS });
    const outcome = await keys.run(requestOf(key), async (transaction) => {
      await purchase(transaction, tables, { key, buyer: String(racer.index) });
      return done(newAnswer());
    });
    return seen(outcome);
  },
);

const steps = ['claimed', 'bought', 'completed'] as const;

interface HoldOptions {
  readonly key: string;
  /** Where it waits until it is told to go on. Absent: nowhere. */
  readonly at?: (typeof steps)[number];
  readonly end: 'commits' | 'rolls back';
}

/** Goes step by step, in a transaction of its own. */
const hold = job(
  'transactional-key/hold',
  [],
  async (racer: Racer, { key, at, end }: HoldOptions): Promise<Seen> => {
    const { sql, tables } = databaseOf(racer.world);
    const keys = transactionalIdempotencyKeys(sql, { table: tables.idempotencyKey, waitMs: PATIENT_MS });
    const outcome = await transact(sql, async (transaction) => {
      const ended = await keys.runIn(transaction, requestOf(key), async () => {
        if (at === 'claimed') await racer.meet(at);
        await purchase(transaction, tables, { key, buyer: String(racer.index) });
        if (at === 'bought') await racer.meet(at);
        return end === 'commits' ? done(newAnswer()) : refused('declined');
      });
      if (at === 'completed') await racer.meet(at);
      return ended;
    });
    return seen(outcome);
  },
);

/** What is committed of a request: both its record, with an answer, and what it bought, or neither. */
async function left(bench: SqlBench, key: string): Promise<'both' | 'nothing'> {
  const record = await bench.store.read(recordIdOf(requestOf(key)));
  const bought = (await buyersOf(bench, key)).length;
  if (record === undefined && bought === 0) return 'nothing';
  assert.ok(
    record?.answer !== undefined && bought === 1,
    `half of it: ${JSON.stringify(record)}, ${bought} bought`,
  );
  return 'both';
}

export const transactionalKeyJobs = [lookThenBuy, buy, hold];

export function transactionalKeyCases(subject: SqlSubject): readonly ConformanceCase[] {
  const onBench = (work: (bench: SqlBench) => Promise<void>) => onSqlBench(subject, work, { records: true });
  return [
    {
      name: `transactional key: without it, ${RACERS} identical requests over two processes that look first all buy`,
      run: () =>
        onBench(async (bench) => {
          const key = randomUUID();
          const bought = values(await race(await bench.hosts(), lookThenBuy, { key }));
          assert.equal(bought.filter(Boolean).length, RACERS);
          assert.equal((await buyersOf(bench, key)).length, RACERS);
        }),
    },
    {
      name: `transactional key: with it, one of ${RACERS} buys, and all others are given its answer or refused`,
      run: () =>
        onBench(async (bench) => {
          const key = randomUUID();
          const all = values(await race(await bench.hosts(), buy, { key }));
          await boughtOnce(bench, key, all);
        }),
    },
    ...steps.map(
      (at): ConformanceCase => ({
        name: `transactional key: a process that is killed when it has ${at} leaves nothing, and the next one buys`,
        run: () =>
          onBench(async (bench) => {
            const [first, second] = await bench.hosts({ connections: 1 });
            const key = randomUUID();
            const killed = first.start(hold, { key, at, end: 'commits' });
            await killed.reached(at);
            assert.equal(await left(bench, key), 'nothing');
            await first.signal('SIGKILL');
            assert.equal(await left(bench, key), 'nothing');
            const next = second.start(buy, { key }, { first: 1, count: 1 });
            await next.reached('ready');
            next.pass('ready');
            await boughtOnce(bench, key, [await onlyValue(next)]);
          }),
      }),
    ),
    {
      name: 'transactional key: a process that is killed when its COMMIT has been done leaves all of it, and the next one is given its answer',
      run: () =>
        onBench(async (bench) => {
          const proxy = await bench.proxy(isCommit, () => 'answer-lost');
          const [first] = await bench.hosts({ port: proxy.port, connections: 1 });
          const key = randomUUID();
          const killed = first.start(hold, { key, end: 'commits' });
          await proxy.cut;
          await first.signal('SIGKILL');
          await killed.ended.catch(() => undefined);
          assert.equal(await left(bench, key), 'both');
          const keys = transactionalIdempotencyKeys(bench.sql, { table: bench.tables.idempotencyKey });
          const again = await keys.run(requestOf(key), async () => assert.fail('it ran again'));
          assert.deepEqual([again.outcome, again.outcome === 'done' && again.replayed], ['done', true]);
        }),
    },
    ...(['answer-lost', 'request-lost'] as const).map(
      (fate): ConformanceCase => ({
        name: `transactional key: a COMMIT whose ${fate === 'answer-lost' ? 'answer' : 'request'} is lost is followed by one answer, and one purchase`,
        run: () =>
          onBench(async (bench) => {
            const { port } = await bench.proxy(isCommit, (commit) => (commit === 1 ? fate : 'passes'));
            const host = await bench.here({ port });
            const key = randomUUID();
            const run = host.start(buy, { key });
            await run.reached('ready');
            run.pass('ready');
            const own = await onlyValue(run);
            assert.equal(own.replayed, false);
            await boughtOnce(bench, key, [own]);
          }),
      }),
    ),
    {
      name: 'transactional key: when the first rolls back, one of those who wait for it buys',
      run: () =>
        onBench(async (bench) => {
          const [first, second] = await bench.hosts({ connections: 5 });
          const key = randomUUID();
          const holder = first.start(hold, { key, at: 'bought', end: 'rolls back' });
          await holder.reached('bought');
          const waiting = second.start(buy, { key }, { first: 1, count: 5 });
          await waiting.reached('ready');
          waiting.pass('ready');
          await bench.waitFor(5);
          holder.pass('bought');
          assert.deepEqual(await onlyValue(holder), { outcome: 'refused', reason: 'declined' });
          await boughtOnce(bench, key, values(await waiting.ended));
        }),
    },
  ];
}

/** Exactly one has bought; all others were given its answer, or were refused, and so is whoever comes later. */
async function boughtOnce(bench: SqlBench, key: string, all: readonly Seen[]): Promise<void> {
  const [winner, ...others] = all.filter(({ outcome, replayed }) => outcome === 'done' && !replayed);
  assert.ok(winner?.answer !== undefined && others.length === 0, `${others.length + 1} ran`);
  for (const one of all) {
    if (one.outcome === 'refused') {
      assert.ok(['lock-timeout', 'contended'].includes(String(one.reason)), `refused: ${one.reason}`);
    } else assert.deepEqual(one.answer, winner.answer);
  }
  assert.equal((await buyersOf(bench, key)).length, 1);
  const keys = transactionalIdempotencyKeys(bench.sql, { table: bench.tables.idempotencyKey });
  const again = await keys.run(requestOf(key), async () => assert.fail('it ran again'));
  assert.deepEqual(seen(again), { outcome: 'done', replayed: true, answer: winner.answer });
}
