import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { barrier, together, until } from '../../../test/barrier.ts';
import { startProxy } from '../../../test/proxy.ts';
import {
  type Done,
  done,
  type IdempotentRequest,
  idempotencyKeys,
  MisuseError,
  type Refused,
  refused,
  type SqlPort,
  type SqlTransaction,
  StoreError,
  transactionalIdempotencyKeys,
} from '../src/index.ts';
import {
  answer,
  idOf,
  newRequest,
  type OpenSqlIdempotencyStore,
  openSqlIdempotencyStore,
  shown,
} from './idempotency-stores.ts';
import { atIsolation } from './stores.ts';

const RACERS = 50;
const FAST_RETRY = { attempts: 30, backoffMs: 1, maxBackoffMs: 20, jitter: 1 };
const NEVER_RUNS = (): Promise<never> => Promise.reject(new Error('the work ran'));

let opened: OpenSqlIdempotencyStore;
let sql: SqlPort;

const open = (options = {}) => transactionalIdempotencyKeys(sql, { retry: FAST_RETRY, ...options });

const insertBill = (transaction: SqlTransaction, { key }: IdempotentRequest) =>
  transaction.execute(opened.database.statement('INSERT INTO bill VALUES (?)', key));

/** Makes the bill, which is the business row, and answers. */
const pay =
  (request: IdempotentRequest, text = 'bill') =>
  async (transaction: SqlTransaction) => {
    await insertBill(transaction, request);
    return done(answer(text));
  };

async function bills({ key }: IdempotentRequest): Promise<number> {
  return (await opened.database.query('SELECT 1 AS one FROM bill WHERE bill_key = ?', key)).rows.length;
}

async function recordOf(request: IdempotentRequest) {
  const record = await opened.store.read(idOf(request));
  return record?.answer && shown(record.answer);
}

describe.each(['postgres', 'mariadb', 'mariadb-snapshot'] as const)('%s', (name) => {
  beforeAll(async () => {
    opened = await openSqlIdempotencyStore(name, { connections: RACERS });
    sql = opened.sql;
    await opened.database.query('CREATE TABLE bill (bill_key varchar(50))');
  });

  afterAll(() => opened.close());

  test('without a record, 50 duplicates that look first all do the work', async () => {
    const request = newRequest();
    const everybodyHasLooked = barrier(RACERS);
    await together(RACERS, async () => {
      const { rows } = await sql.execute(
        opened.database.statement('SELECT 1 AS one FROM bill WHERE bill_key = ?', request.key),
      );
      await everybodyHasLooked();
      if (rows.length === 0) await sql.transaction((transaction) => insertBill(transaction, request));
    });
    expect(await bills(request)).toBe(RACERS);
  });

  test('of 50 duplicates one does the work, and 49 wait and get its answer', async () => {
    const request = newRequest();
    let runs = 0;
    const outcomes = await together(RACERS, () =>
      open({ waitMs: 20_000 }).run(request, async (transaction) => {
        runs++;
        await until(async () => (await opened.database.waitingForLocks()) >= RACERS - 1);
        return pay(request)(transaction);
      }),
    );
    expect(runs).toBe(1);
    const answers = outcomes.map((outcome) => outcome.outcome === 'done' && shown(outcome.value));
    expect(answers).toEqual(Array(RACERS).fill(shown(answer('bill'))));
    expect(outcomes.filter((outcome) => outcome.outcome === 'done' && !outcome.replayed)).toHaveLength(1);
    expect(await bills(request)).toBe(1);
  });

  test('who waits longer than waitMs is refused, without an effect', async () => {
    const request = newRequest();
    const runs = barrier(2);
    const ends = barrier(2);
    const first = open().run(request, async (transaction) => {
      await runs();
      await ends();
      return pay(request)(transaction);
    });
    await runs();
    expect(await open({ waitMs: 50 }).run(request, NEVER_RUNS)).toEqual(refused('lock-timeout'));
    await ends();
    expect(await first).toEqual(done(answer('bill')));
    expect(await open({ waitMs: 50 }).run(request, NEVER_RUNS)).toMatchObject({ replayed: true });
  });

  test.each([
    ['is refused', async (): Promise<Refused> => refused('declined')],
    ['throws', async (): Promise<Refused> => Promise.reject(new Error('a bug'))],
  ])(
    'when the first %s, everything of it is rolled back, and one of those who wait does the work',
    async (_, ends) => {
      const request = newRequest();
      const WAITERS = 10;
      const runs = barrier(2);
      const first = open()
        .run(request, async (transaction) => {
          await insertBill(transaction, request);
          await runs();
          await until(async () => (await opened.database.waitingForLocks()) === WAITERS);
          return ends();
        })
        .catch((error: unknown) => String(error));
      await runs();
      let others = 0;
      const outcomes = await together(WAITERS, () =>
        open({ waitMs: 20_000 }).run(request, async (transaction) => {
          others++;
          return pay(request, 'second')(transaction);
        }),
      );
      expect(await first).not.toMatchObject({ outcome: 'done' });
      // It may run in several transactions of which all but one are rolled back.
      expect(others).toBeGreaterThanOrEqual(1);
      expect(await bills(request)).toBe(1);
      expect(await recordOf(request)).toEqual(shown(answer('second')));
      const fresh = outcomes.filter(
        (outcome): outcome is Done<never> => outcome.outcome === 'done' && !outcome.replayed,
      );
      expect(fresh).toHaveLength(1);
      for (const outcome of outcomes) {
        if (outcome.outcome === 'done') expect(shown(outcome.value)).toEqual(shown(answer('second')));
        else expect(outcome).toEqual(refused('contended'));
      }
    },
  );

  test('nobody sees the record before its transaction has committed', async () => {
    const request = newRequest();
    const before = await opened.records();
    const outcome = await open().run(request, async (transaction) => {
      await insertBill(transaction, request);
      expect(await opened.store.read(idOf(request))).toBeUndefined();
      expect(await opened.records()).toBe(before);
      return done(answer('bill'));
    });
    expect(outcome).toEqual(done(answer('bill')));
    expect(await opened.records()).toBe(before + 1);
  });

  test('a refusal leaves nothing, and the key is free at once, for any payload', async () => {
    const request = newRequest();
    const outcome = await open().run(request, async (transaction) => {
      await insertBill(transaction, request);
      return refused('sold-out');
    });
    expect(outcome).toEqual(refused('sold-out'));
    expect(await bills(request)).toBe(0);
    expect(await opened.store.read(idOf(request))).toBeUndefined();
    expect(await open().run({ ...request, payload: 'other' }, pay(request))).toEqual(done(answer('bill')));
  });

  test('another payload is refused, another member and another route have keys of their own', async () => {
    const request = newRequest();
    await open().run(request, pay(request));
    expect(await open().run({ ...request, payload: '{"amount": 1000}' }, NEVER_RUNS)).toEqual(
      refused('payload-mismatch'),
    );
    for (const scope of [
      ['member 2', 'POST /api/tickets'],
      ['member 1', 'POST /api/orders'],
    ]) {
      expect(await open().run({ ...request, scope }, pay(request, 'theirs'))).toEqual(done(answer('theirs')));
    }
    expect(await recordOf(request)).toEqual(shown(answer('bill')));
  });

  test('a session killed in the middle leaves neither the record nor the row', async () => {
    const request = newRequest();
    const attempt = open().run(request, async (transaction) => {
      await insertBill(transaction, request);
      const { rows } = await transaction.execute(
        opened.database.statement(
          name === 'postgres' ? 'SELECT pg_backend_pid() AS id' : 'SELECT CONNECTION_ID() AS id',
        ),
      );
      await opened.database.kill(Number(rows[0]?.id));
      return done(answer('never'));
    });
    await expect(attempt).rejects.toMatchObject({ name: 'StoreError', effect: 'none' });
    expect(await bills(request)).toBe(0);
    expect(await opened.store.read(idOf(request))).toBeUndefined();
    expect(await open().run(request, pay(request))).toEqual(done(answer('bill')));
  });

  describe('the answer to the COMMIT is lost', () => {
    test.each([
      ['it was carried out: the same request finds its own answer', 'answer-lost' as const],
      ['it never arrived: the work is done again', 'request-lost' as const],
    ])('%s', async (_, fate) => {
      const proxy = await startProxy(opened.database.url, (commit) => (commit === 1 ? fate : 'passes'));
      try {
        const through = opened.database.open({ port: proxy.port });
        const request = newRequest();
        let runs = 0;
        const outcome = await transactionalIdempotencyKeys(through, { retry: FAST_RETRY }).run(
          request,
          async (transaction) => {
            runs++;
            return pay(request)(transaction);
          },
        );
        if (outcome.outcome !== 'done') throw new Error(outcome.outcome);
        expect([outcome.replayed, shown(outcome.value)]).toEqual([false, shown(answer('bill'))]);
        expect(runs).toBe(fate === 'answer-lost' ? 1 : 2);
        expect(await bills(request)).toBe(1);
      } finally {
        await proxy.close();
      }
    });

    test('without the record, trying again does the work twice', async () => {
      const proxy = await startProxy(opened.database.url, (commit) =>
        commit === 1 ? 'answer-lost' : 'passes',
      );
      try {
        const through = opened.database.open({ port: proxy.port });
        const request = newRequest();
        const attempt = () => through.transaction((transaction) => insertBill(transaction, request));
        await expect(attempt()).rejects.toMatchObject({ effect: 'unknown' });
        await attempt();
        expect(await bills(request)).toBe(2);
      } finally {
        await proxy.close();
      }
    });

    test('and nobody can be asked what became of it: unknown, and the work is not done again', async () => {
      const proxy = await startProxy(opened.database.url, () => {
        // With the COMMIT on its way; whoever asks again finds nobody.
        void proxy.close();
        return 'answer-lost';
      });
      const through = opened.database.open({ port: proxy.port, acquireTimeoutMs: 300 });
      const request = newRequest();
      let runs = 0;
      const retry = { ...FAST_RETRY, attempts: 3 };
      const attempt = transactionalIdempotencyKeys(through, { retry }).run(request, async (transaction) => {
        runs++;
        return pay(request)(transaction);
      });
      await expect(attempt).rejects.toMatchObject({ code: 'CONNECTION_LOST', effect: 'unknown' });
      expect(runs).toBe(1);
    });
  });

  test('after a COMMIT that was not carried out, the error of the next try is the answer', async () => {
    const proxy = await startProxy(opened.database.url, (commit) =>
      commit === 1 ? 'request-lost' : 'passes',
    );
    try {
      const through = opened.database.open({ port: proxy.port });
      const request = newRequest();
      let runs = 0;
      const attempt = transactionalIdempotencyKeys(through, { retry: FAST_RETRY }).run(
        request,
        async (transaction) => {
          runs++;
          if (runs > 1) throw new TypeError('a bug');
          return pay(request)(transaction);
        },
      );
      await expect(attempt).rejects.toThrow(TypeError);
      expect(runs).toBe(2);
      expect(await bills(request)).toBe(0);
    } finally {
      await proxy.close();
    }
  });

  test('work may take longer than its answer is kept', async () => {
    const request = newRequest();
    const outcome = await open({ retentionMs: 20 }).run(request, async (transaction) => {
      await new Promise((resolve) => setTimeout(resolve, 60));
      return pay(request)(transaction);
    });
    expect(outcome).toEqual(done(answer('bill')));
    expect(await bills(request)).toBe(1);
  });

  test('its wait limit is not left to the work', async () => {
    const request = newRequest();
    const holder = await opened.database.connect();
    await holder.begin('READ COMMITTED');
    await opened.database.query('CREATE TABLE IF NOT EXISTS stock (id int PRIMARY KEY, amount int)');
    await opened.database.query('DELETE FROM stock');
    await opened.database.query('INSERT INTO stock VALUES (1, 1)');
    await holder.query('UPDATE stock SET amount = 2 WHERE id = 1');
    const working = open({ waitMs: 1 }).run(request, async (transaction) => {
      await transaction.execute(opened.database.statement('UPDATE stock SET amount = 3 WHERE id = 1'));
      return done(answer('x'));
    });
    await until(async () => (await opened.database.waitingForLocks()) === 1);
    // Longer than the limit, which MySQL counts in whole seconds.
    await new Promise((resolve) => setTimeout(resolve, name === 'postgres' ? 50 : 1_500));
    await holder.query('COMMIT');
    expect(await working).toEqual(done(answer('x')));
  });

  test('an unknown error of another store is not taken for a lost COMMIT: the work is not repeated', async () => {
    const request = newRequest();
    let runs = 0;
    const attempt = open().run(request, async () => {
      runs++;
      throw new StoreError('CONNECTION_LOST', 'unknown', 'of a Redis');
    });
    await expect(attempt).rejects.toMatchObject({ effect: 'unknown' });
    expect(runs).toBe(1);
  });

  test('a key has one mode: the other is a misuse, and nothing runs', async () => {
    const leased = idempotencyKeys(opened.store);
    const transactional = newRequest();
    await open().run(transactional, pay(transactional));
    await expect(leased.run(transactional, NEVER_RUNS)).rejects.toThrow(MisuseError);

    const done_ = newRequest();
    await leased.run(done_, async () => done(answer('leased')));
    await expect(open().run(done_, NEVER_RUNS)).rejects.toThrow(MisuseError);
    const abandoned = newRequest();
    await expect(leased.run(abandoned, () => Promise.reject(new Error('crash')))).rejects.toThrow('crash');
    await opened.endLease(idOf(abandoned));
    await expect(open().run(abandoned, NEVER_RUNS)).rejects.toThrow(MisuseError);
  });

  test('when its retention is over, one of many takes the record over', async () => {
    const request = newRequest();
    await open().run(request, pay(request, 'old'));
    await opened.endRetention(idOf(request));
    const outcomes = await together(10, () => open({ waitMs: 20_000 }).run(request, pay(request, 'new')));
    expect(await bills(request)).toBe(2);
    const fresh = outcomes.filter((outcome) => outcome.outcome === 'done' && !outcome.replayed);
    expect(fresh).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.outcome === 'done') expect(shown(outcome.value)).toEqual(shown(answer('new')));
    }
  });

  describe('in a transaction of the caller’s', () => {
    test('the record commits and rolls back with it', async () => {
      const request = newRequest();
      const inTransaction = (fails: boolean) =>
        sql.transaction(async (transaction) => {
          const outcome = await open().runIn(transaction, request, () => pay(request)(transaction));
          if (fails) throw new Error('rolled back');
          return outcome;
        });
      await expect(inTransaction(true)).rejects.toThrow('rolled back');
      expect(await opened.store.read(idOf(request))).toBeUndefined();
      expect(await inTransaction(false)).toEqual(done(answer('bill')));
      expect(await inTransaction(false)).toMatchObject({ replayed: true });
      expect(await bills(request)).toBe(1);
    });

    test('one that was committed without its answer does not block its key', async () => {
      const request = newRequest();
      await sql.transaction(async (transaction) => {
        await open()
          .runIn(transaction, request, () => Promise.reject(new Error('swallowed')))
          .catch(() => undefined);
      });
      expect(await open().run(request, pay(request))).toEqual(done(answer('bill')));
    });

    test('under REPEATABLE READ a lost race is a conflict, never a second run', async () => {
      const request = newRequest();
      const strict = atIsolation(sql, 'REPEATABLE READ');
      const looked = barrier(2);
      const committed = barrier(2);
      const late = strict.transaction(async (transaction) => {
        await transaction.execute(opened.database.statement('SELECT count(*) AS bills FROM bill'));
        await looked();
        await committed();
        return open().runIn(transaction, request, NEVER_RUNS);
      });
      const conflict = expect(late).rejects.toMatchObject({ code: 'SERIALIZATION_FAILURE', effect: 'none' });
      await looked();
      await open().run(request, pay(request));
      await committed();
      await conflict;
      expect(await bills(request)).toBe(1);
    });
  });

  test('settings that make no sense are refused at once', () => {
    for (const options of [
      { waitMs: 0 },
      { waitMs: 1.5 },
      { retentionMs: 0 },
      { storedHeaders: ['Cookie'] },
    ]) {
      expect(() => open(options), JSON.stringify(options)).toThrow(MisuseError);
    }
  });
});
