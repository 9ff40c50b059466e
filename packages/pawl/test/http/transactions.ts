import { once } from 'node:events';
import { expect } from 'vitest';
import { until } from '../../../../test/barrier.ts';
import { type SqlSession, transact } from '../../src/index.ts';
import type { OpenSqlIdempotencyStore } from '../idempotency-stores.ts';
import { fresh, problem, replay } from './cases.ts';
import { open, requestBytes } from './client.ts';
import type { Framework } from './framework.ts';
import { begunStream, givenUp, held, type Situation, stored } from './situations.ts';
import { BILLS, bill, type Handler, MOST_BYTES, type Stage, textOf } from './stage.ts';

/** What commits with the rows of the handler, and what is rolled back with them: the same in every framework and on both databases. */
export function transactions({ streams }: Framework): readonly Situation[] {
  const [stream] = streams;
  if (stream === undefined) throw new Error('every framework streams');
  return [...together, ...apart, impatient, streamed(stream.name), completed];
}

const PATH = '/transactional';

function sqlOf({ sql }: Stage): OpenSqlIdempotencyStore {
  if (sql === undefined) throw new Error('there is no database');
  return sql;
}

function insertBill(session: SqlSession, stage: Stage, caseId: string, run: number): Promise<unknown> {
  const { database } = sqlOf(stage);
  return session.execute(database.statement(`INSERT INTO ${BILLS} VALUES (?, ?)`, caseId, run));
}

/** Writes its row in the transaction that it is given, and then answers as `handler` does. */
const writing =
  (stage: Stage, handler: Handler = bill): Handler =>
  async (run, call) => {
    await insertBill(call.transaction(), stage, call.caseId, run);
    return handler(run, call);
  };

const declining: Handler = async (run, call) => (run === 1 ? { status: 402 } : bill(run, call));

const together: readonly Situation[] = [
  {
    name: 'the handler’s rows and its answer commit together',
    async run(stage) {
      const own = stage.newCase(writing(stage));
      const first = await own.send({ path: PATH });
      fresh()(first, []);
      expect(await stage.bills(own.id)).toEqual([1]);
      replay(await own.send({ path: PATH }, 1), [first]);
      expect(await stage.bills(own.id)).toEqual([1]);
    },
  },
  {
    name: 'a duplicate waits for the end of the first, and is given its answer',
    async run(stage) {
      const first = held();
      const own = stage.newCase(writing(stage, first.handler));
      const one = own.send({ path: PATH });
      await first.begun();
      const another = own.send({ path: PATH }, 1);
      await until(async () => (await stage.waiting()) > 0);
      first.end();
      fresh()(await one, []);
      replay(await another, [await one]);
      expect(await stage.bills(own.id)).toEqual([1]);
    },
  },
  {
    name: 'a duplicate that does not wait for long is told that the first is at work',
    async run(stage) {
      const path = `${PATH}/impatient`;
      const first = held();
      const own = stage.newCase(writing(stage, first.handler));
      const one = own.send({ path });
      await first.begun();
      problem(409, 'in-progress')(await own.send({ path }), []);
      first.end();
      fresh()(await one, []);
      expect(own.runs()).toBe(1);
    },
  },
  {
    name: 'a client that goes away while the handler runs: rows and answer commit all the same',
    async run(stage) {
      const begun = Promise.withResolvers<void>();
      const leaves: Handler = async (run, call) => {
        begun.resolve();
        await once(call.incoming.socket, 'close');
        return bill(run, call);
      };
      const own = stage.newCase(writing(stage, leaves));
      const socket = await open(stage.ports[0]);
      const headers = [`Idempotency-Key: ${own.key}`];
      socket.write(requestBytes(own.id, headers, '{"amount":1000}', { path: PATH }));
      await begun.promise;
      socket.destroy();
      expect(textOf(await stored(() => own.send({ path: PATH })))).toBe('{"bill":1}');
      expect(await stage.bills(own.id)).toEqual([1]);
    },
  },
  {
    name: 'a COMMIT that was carried out, and whose answer was lost',
    async run(stage) {
      const path = `${PATH}/lost`;
      const own = stage.newCase(writing(stage));
      const first = await own.send({ path });
      expect(first).toMatchObject({ status: 201, headers: { location: '/bills/1' } });
      expect(textOf(first)).toBe('{"bill":1}');
      replay(await own.send({ path }), [first]);
      expect(await stage.bills(own.id)).toEqual([1]);
    },
  },
];

const apart: readonly Situation[] = [
  {
    name: 'a decline rolls back, is not stored, and the next request runs',
    async run(stage) {
      const own = stage.newCase(writing(stage, declining));
      expect((await own.send({ path: PATH })).status).toBe(402);
      expect(await stage.bills(own.id)).toEqual([]);
      const second = await own.send({ path: PATH });
      fresh(2)(second, []);
      replay(await own.send({ path: PATH }), [second]);
      expect(await stage.bills(own.id)).toEqual([2]);
    },
  },
  {
    name: 'whoever waits for one that is declined runs',
    async run(stage) {
      const first = held(declining);
      const own = stage.newCase(
        writing(stage, (run, call) => (run === 1 ? first.handler(run, call) : bill(run, call))),
      );
      const one = own.send({ path: PATH });
      await first.begun();
      const another = own.send({ path: PATH });
      await until(async () => (await stage.waiting()) > 0);
      first.end();
      expect((await one).status).toBe(402);
      fresh(2)(await another, []);
      expect(await stage.bills(own.id)).toEqual([2]);
    },
  },
  {
    name: 'a handler that throws: everything is rolled back, and the next request runs at once',
    async run(stage) {
      const throwing: Handler = async (run, call) => {
        if (run === 1) throw new Error('no');
        return bill(run, call);
      };
      const own = stage.newCase(writing(stage, throwing));
      expect((await own.send({ path: PATH })).status).toBe(500);
      expect(await stage.bills(own.id)).toEqual([]);
      fresh(2)(await own.send({ path: PATH }), []);
    },
  },
  {
    name: 'an answer that is too large: everything is rolled back, and it is not stored',
    async run(stage) {
      const path = `${PATH}/small`;
      const large: Handler = async () => ({ status: 200, body: Buffer.alloc(MOST_BYTES + 1) });
      const own = stage.newCase(writing(stage, large));
      for (let sent = 1; sent <= 2; sent++) problem(500, 'answer-too-large')(await own.send({ path }), []);
      expect(await stage.bills(own.id)).toEqual([]);
      expect(own.runs()).toBe(2);
    },
  },
  {
    name: 'a COMMIT that fails by a deadlock: nothing is left, and the handler has run once',
    async run(stage) {
      const path = `${PATH}/deadlocked`;
      const own = stage.newCase(writing(stage));
      problem(503, 'contended')(await own.send({ path }), []);
      expect(own.runs()).toBe(1);
      expect(await stage.bills(own.id)).toEqual([]);
      problem(503, 'contended')(await own.send({ path }), []);
      expect(own.runs()).toBe(2);
    },
  },
];

const impatient: Situation = {
  name: 'a request that is answered by a time-out while the database is asked: the handler does not run, and no transaction stays open',
  run: (stage) => givenUp(stage, `${PATH}/slow`, stage.slowInTransactions),
};

const streamed = (stream: string): Situation => ({
  name: 'an answer that is a stream: everything is rolled back, and it is not stored',
  async run(stage) {
    const stuck: Handler = async () => ({ stream, source: begunStream() });
    const own = stage.newCase(writing(stage, stuck));
    for (let sent = 1; sent <= 2; sent++)
      problem(500, 'streaming-answer')(await own.send({ path: PATH }), []);
    expect(await stage.bills(own.id)).toEqual([]);
    expect(own.runs()).toBe(2);
  },
});

const completed: Situation = {
  name: 'in leased mode, what the handler has stored with its rows is what is sent',
  async run(stage) {
    const own = stage.newCase(async (run, call) => {
      const answer = {
        status: 201,
        headers: { 'content-type': 'application/json; charset=utf-8', location: `/bills/${run}` },
        body: Buffer.from(`{"bill":${run}}`),
      };
      await transact(sqlOf(stage).sql, async (transaction) => {
        await insertBill(transaction, stage, call.caseId, run);
        return call.lease().completeIn(transaction, answer);
      });
      return { status: 200, json: { something: 'else' } };
    });
    const first = await own.send();
    expect(first).toMatchObject({ status: 201, headers: { location: '/bills/1' } });
    expect(textOf(first)).toBe('{"bill":1}');
    replay(await own.send(), [first]);
    expect(await stage.bills(own.id)).toEqual([1]);
  },
};
