import assert from 'node:assert/strict';
import type { SqlPort, SqlSession } from '../ports.ts';
import { numberOf, rowsOf } from './business-tables.ts';
import type { ConformanceCase } from './case.ts';
import { killStatement, placeholders, SESSION_ID } from './database.ts';
import { isCommit, isStatement } from './proxy.ts';
import { onSqlBench, type SqlBench, type SqlSubject } from './sql-bench.ts';

const NOT_DONE = { name: 'StoreError', effect: 'none' };
const LOST = { name: 'StoreError', code: 'CONNECTION_LOST', effect: 'unknown' };
const LOST_WITHOUT_EFFECT = { name: 'StoreError', code: 'CONNECTION_LOST', effect: 'none' };

class Refusal extends Error {
  override readonly name = 'Refusal';
}

const seatsOf = async ({ rows, tables }: SqlBench) =>
  (await rows(`SELECT seat FROM ${tables.seat} ORDER BY seat`)).map(({ seat }) => seat);

/** Without parameters, so that every driver sends it in one piece. */
const take = (session: SqlSession, { tables }: SqlBench, seat: string) =>
  rowsOf(session, insertOf(tables.seat, seat));

function insertOf(table: string, seat: string): string {
  return `INSERT INTO ${table} (seat, owner) VALUES ('${seat}', 'somebody')`;
}

const sessionOf = async (session: SqlSession) =>
  Number((await rowsOf(session, SESSION_ID[session.dialect.name]))[0]?.id);

async function kill(killer: SqlPort, id: number): Promise<void> {
  await rowsOf(killer, killStatement(killer.dialect.name, id));
}

/** What the guards rely on in every adapter: `SqlPort`. */
export function sqlPortCases(subject: SqlSubject): readonly ConformanceCase[] {
  const onBench = (work: (bench: SqlBench) => Promise<void>) => onSqlBench(subject, work);
  return [
    {
      name: 'SQL port: a transaction commits what its work has done, and rolls back when it throws',
      run: () =>
        onBench(async (bench) => {
          const { sql } = bench;
          const committed = await sql.transaction(async (transaction) => {
            await take(transaction, bench, 'kept');
            assert.deepEqual(await seatsOf(bench), [], 'others see nothing of it before its COMMIT');
            return 'what the work has answered';
          });
          assert.equal(committed, 'what the work has answered');
          const refusal = new Refusal();
          const refused = sql.transaction(async (transaction) => {
            await take(transaction, bench, 'refused');
            throw refusal;
          });
          await assert.rejects(refused, (error) => error === refusal);
          assert.deepEqual(await seatsOf(bench), ['kept']);
        }),
    },
    {
      name: 'SQL port: a transaction that was rolled back leaves nothing to the next one on its connection',
      run: () =>
        onBench(async (bench) => {
          const sql = await bench.open({ connections: 1 });
          await assert.rejects(
            sql.transaction(async (transaction) => {
              await take(transaction, bench, 'refused');
              throw new Refusal();
            }),
            Refusal,
          );
          await take(sql, bench, 'alone');
          await sql.transaction((transaction) => take(transaction, bench, 'next'));
          assert.deepEqual(await seatsOf(bench), ['alone', 'next']);
        }),
    },
    {
      name: 'SQL port: an update reports the rows that it found, also where it changes nothing in them',
      run: () =>
        onBench(async ({ sql, tables: { ticket } }) => {
          const affected = async (text: string) =>
            (await sql.execute({ text: `UPDATE ${ticket} SET status = 'free' ${text}`, values: [] }))
              .affectedRows;
          assert.equal(await affected(''), 2);
          assert.equal(await affected('WHERE id = 1'), 1);
          assert.equal(await affected('WHERE id = 3'), 0);
        }),
    },
    {
      name: 'SQL port: a transaction sees what others commit while it runs (READ COMMITTED)',
      run: () =>
        onBench(async ({ sql, tables: { ticket } }) => {
          const version = (session: SqlSession) =>
            numberOf(session, `SELECT version AS n FROM ${ticket} WHERE id = 1`);
          const versions = await sql.transaction(async (transaction) => {
            const before = await version(transaction);
            await rowsOf(sql, `UPDATE ${ticket} SET version = 1 WHERE id = 1`);
            return [before, await version(transaction)];
          });
          assert.deepEqual(versions, [0, 1]);
        }),
    },
    {
      name: 'SQL port: values come back as they were given',
      run: () =>
        onBench(async ({ sql, tables: { seat, ticket } }) => {
          const text = `"quo'ted" \\ ✓ ${'\t'} ? $1`;
          const { dialect } = sql;
          const insert = placeholders(dialect.name, `INSERT INTO ${seat} (seat, owner) VALUES (?, ?)`);
          assert.equal((await sql.execute({ text: insert, values: [text, ''] })).affectedRows, 1);
          assert.deepEqual(
            (await rowsOf(sql, `SELECT seat, owner FROM ${seat}`)).map((row) => ({ ...row })),
            [{ seat: text, owner: '' }],
          );
          await rowsOf(sql, `UPDATE ${ticket} SET buyer = ?, version = ? WHERE id = 1`, null, 2_147_483_647);
          const [row] = await rowsOf(sql, `SELECT buyer, version FROM ${ticket} WHERE id = 1`);
          assert.deepEqual({ ...row }, { buyer: null, version: 2_147_483_647 });
        }),
    },
    {
      name: 'SQL port: a unique constraint that refuses is DUPLICATE_KEY, and anything else REJECTED, without effect',
      run: () =>
        onBench(async (bench) => {
          await take(bench.sql, bench, 'a');
          await assert.rejects(take(bench.sql, bench, 'a'), { ...NOT_DONE, code: 'DUPLICATE_KEY' });
          const nowhere = rowsOf(bench.sql, `SELECT * FROM ${bench.tables.prefix}nowhere`);
          await assert.rejects(nowhere, { ...NOT_DONE, code: 'REJECTED' });
        }),
    },
    {
      name: 'SQL port: a lock that is not granted within the wait limit is LOCK_TIMEOUT, and keeps nothing of its transaction',
      run: () =>
        onBench(async (bench) => {
          const { sql, tables } = bench;
          const lock = sql.dialect.lockRow({
            ...{ table: tables.ticket, key: { id: 1 }, expect: {}, columns: ['id'] },
            ...{ mode: 'update', noWait: true },
          });
          await sql.transaction(async (holder) => {
            await holder.execute(lock);
            const second = sql.transaction(async (transaction) => {
              await take(transaction, bench, 'half');
              // Swallowed, it must not be committed either.
              await assert.rejects(transaction.execute(lock), { ...NOT_DONE, code: 'LOCK_TIMEOUT' });
            });
            await assert.rejects(second, NOT_DONE);
          });
          assert.deepEqual(await seatsOf(bench), []);
        }),
    },
    {
      name: 'SQL port: two transactions that wait for each other: one is a DEADLOCK, and the other commits',
      run: () =>
        onBench(async (bench) => {
          const { sql, tables } = bench;
          const count = (session: SqlSession, id: number) =>
            rowsOf(session, `UPDATE ${tables.ticket} SET version = version + 1 WHERE id = ${id}`);
          const bothHold = Promise.withResolvers<void>();
          let holding = 0;
          const crossing = (first: number, then: number) =>
            sql.transaction(async (transaction) => {
              await count(transaction, first);
              if (++holding === 2) bothHold.resolve();
              await bothHold.promise;
              await count(transaction, then);
            });
          const ended = await Promise.allSettled([crossing(1, 2), crossing(2, 1)]);
          const failed = ended.filter((one) => one.status === 'rejected');
          assert.equal(failed.length, 1);
          const { code, effect } = failed[0]?.reason ?? {};
          assert.deepEqual({ code, effect }, { code: 'DEADLOCK', effect: 'none' });
          assert.equal(await bench.number(`SELECT SUM(version) AS n FROM ${tables.ticket}`), 2);
        }),
    },
    {
      name: 'SQL port: a COMMIT after a failure that was swallowed is an error, and keeps nothing',
      run: () =>
        onBench(async (bench) => {
          const { sql, tables } = bench;
          const swallowed = sql.transaction(async (transaction) => {
            await take(transaction, bench, 'half');
            const lost = rowsOf(transaction, `SELECT * FROM ${tables.prefix}nowhere`);
            await assert.rejects(lost, NOT_DONE);
            await take(transaction, bench, 'other half').catch(() => undefined);
          });
          await assert.rejects(swallowed, { ...NOT_DONE, code: 'ROLLED_BACK' });
          assert.deepEqual(await seatsOf(bench), []);
        }),
    },
    {
      name: 'SQL port: work that outlives its transaction reaches nobody else’s',
      run: () =>
        onBench(async (bench) => {
          const sql = await bench.open({ connections: 1 });
          const over = Promise.withResolvers<void>();
          let branch: Promise<unknown> | undefined;
          const failed = sql.transaction((transaction) => {
            branch = over.promise.then(() => take(transaction, bench, 'too late'));
            return Promise.reject(new Refusal());
          });
          await assert.rejects(failed, Refusal);
          await sql.transaction(async (transaction) => {
            await take(transaction, bench, 'next');
            over.resolve();
            await assert.rejects(branch ?? Promise.resolve(), NOT_DONE);
          });
          assert.deepEqual(await seatsOf(bench), ['next']);
        }),
    },
    {
      name: 'SQL port: a connection that is killed in mid-transaction leaves nothing, and the port goes on',
      run: () =>
        onBench(async (bench) => {
          const sql = await bench.open({ connections: 1 });
          const killed = sql.transaction(async (transaction) => {
            await take(transaction, bench, 'before');
            await kill(bench.sql, await sessionOf(transaction));
            await take(transaction, bench, 'after');
          });
          await assert.rejects(killed, LOST_WITHOUT_EFFECT);
          await sql.transaction((transaction) => take(transaction, bench, 'next'));
          assert.deepEqual(await seatsOf(bench), ['next']);
        }),
    },
    ...(['answer-lost', 'request-lost'] as const).flatMap((fate): ConformanceCase[] => {
      const what = fate === 'answer-lost' ? 'whose answer is lost' : 'that is lost on its way';
      const kept = fate === 'answer-lost' ? ['x'] : [];
      return [
        {
          name: `SQL port: a COMMIT ${what} is unknown, and not sent again`,
          run: () =>
            onBench(async (bench) => {
              const { port, seen } = await bench.proxy(isCommit, (commit) =>
                commit === 1 ? fate : 'passes',
              );
              const sql = await bench.open({ port });
              const cut = sql.transaction((transaction) => take(transaction, bench, 'x'));
              await assert.rejects(cut, LOST);
              assert.deepEqual(await seatsOf(bench), kept);
              assert.equal(seen(), 1);
            }),
        },
        {
          name: `SQL port: a statement ${what} is unknown where it commits by itself, and not sent again`,
          run: () =>
            onBench(async (bench) => {
              const statement = insertOf(bench.tables.openSeat, 'x');
              const { port, seen } = await bench.proxy(isStatement(statement), () => fate);
              const sql = await bench.open({ port });
              await assert.rejects(rowsOf(sql, statement), LOST);
              const n = await bench.number(`SELECT COUNT(*) AS n FROM ${bench.tables.openSeat}`);
              assert.equal(n, kept.length);
              assert.equal(seen(), 1);
              const within = sql.transaction((transaction) => rowsOf(transaction, statement));
              await assert.rejects(within, LOST_WITHOUT_EFFECT);
              assert.equal(await bench.number(`SELECT COUNT(*) AS n FROM ${bench.tables.openSeat}`), n);
            }),
        },
      ];
    }),
    {
      name: 'SQL port: where nobody listens it is UNAVAILABLE, and nothing was done',
      run: () =>
        onBench(async (bench) => {
          const { port, close } = await bench.proxy(
            () => false,
            () => 'passes',
          );
          const sql = await bench.open({ port });
          await take(sql, bench, 'before');
          await close();
          const unavailable = { ...NOT_DONE, code: 'UNAVAILABLE' };
          const fresh = await bench.open({ port });
          await assert.rejects(take(fresh, bench, 'x'), unavailable);
          await assert.rejects(
            fresh.transaction(async () => assert.fail('the work ran')),
            unavailable,
          );
          assert.deepEqual(await seatsOf(bench), ['before']);
        }),
    },
  ];
}
