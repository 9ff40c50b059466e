import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { until } from '../../../test/barrier.ts';
import { type CommitFate, startProxy } from '../../../test/proxy.ts';
import {
  done,
  type IdempotentRequest,
  idempotencyKeys,
  refused,
  type SqlIdempotencyLease,
  type SqlPort,
  type SqlTransaction,
  StoreError,
  sqlIdempotencyStore,
  transact,
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

const NEVER_RUNS = (): Promise<never> => Promise.reject(new Error('the work ran'));
const LOST = { code: 'CONNECTION_LOST', effect: 'unknown' };

let opened: OpenSqlIdempotencyStore;

const insertBill = (transaction: SqlTransaction, { key }: IdempotentRequest) =>
  transaction.execute(opened.database.statement('INSERT INTO bill VALUES (?)', key));

async function bills({ key }: IdempotentRequest): Promise<number> {
  return (await opened.database.query('SELECT 1 AS one FROM bill WHERE bill_key = ?', key)).rows.length;
}

/** Work that makes the bill and stores its answer in one transaction of `sql`. */
const pay = (sql: SqlPort, request: IdempotentRequest) => (lease: SqlIdempotencyLease) =>
  transact(sql, async (transaction) => {
    await insertBill(transaction, request);
    return lease.completeIn(transaction, answer('bill'));
  });

async function open(name: 'postgres' | 'mariadb'): Promise<void> {
  opened = await openSqlIdempotencyStore(name);
  await opened.database.query('CREATE TABLE bill (bill_key varchar(50))');
}

/** A port whose COMMITs have this fate. */
async function through(fate: CommitFate): Promise<SqlPort> {
  const proxy = await startProxy(opened.database.url, () => fate);
  onTestFinished(() => proxy.close());
  return opened.database.open({ port: proxy.port });
}

describe.each(['postgres', 'mariadb'] as const)('leased, %s: the answer to the COMMIT is lost', (name) => {
  beforeAll(() => open(name));
  afterAll(() => opened.close());

  const keys = () => idempotencyKeys(sqlIdempotencyStore(opened.sql));

  test('it was carried out: the outcome is done', async () => {
    const request = newRequest();
    const outcome = await keys().run(request, pay(await through('answer-lost'), request));
    expect(outcome).toEqual(done(answer('bill')));
    expect(await bills(request)).toBe(1);
    expect(await keys().run(request, NEVER_RUNS)).toMatchObject({ outcome: 'done', replayed: true });
  });

  test('it never arrived: the error is the work’s, and the key stays taken until its lease is over', async () => {
    const request = newRequest();
    const lost = keys().run(request, pay(await through('request-lost'), request));
    await expect(lost).rejects.toMatchObject(LOST);
    expect(await bills(request)).toBe(0);
    expect(await keys().run(request, NEVER_RUNS)).toMatchObject(refused('in-progress'));
    await opened.endLease(idOf(request));
    expect(await keys().run(request, pay(opened.sql, request))).toEqual(done(answer('bill')));
    expect(await bills(request)).toBe(1);
  });

  test('somebody else’s answer does not prove that it was carried out', async () => {
    const request = newRequest();
    const late = keys().run(request, async (lease) => {
      await transact(opened.sql, async (transaction) => {
        await lease.completeIn(transaction, answer('rolled back'));
        return refused('wrong-state');
      });
      await opened.endLease(idOf(request));
      await keys().run(request, pay(opened.sql, request));
      throw new StoreError('CONNECTION_LOST', 'unknown', 'the COMMIT was not answered');
    });
    await expect(late).rejects.toMatchObject(LOST);
    const replay = await keys().run(request, NEVER_RUNS);
    if (replay.outcome !== 'done') throw new Error(replay.outcome);
    expect(shown(replay.value)).toEqual(shown(answer('bill')));
  });
});

describe('on PostgreSQL, the client gives up a COMMIT that the server is still at', () => {
  beforeAll(async () => {
    await open('postgres');
    // A deferred trigger runs in the COMMIT. It asks again and again, because a wait for a lock would have a limit.
    await opened.database.query(
      `CREATE FUNCTION wait_in_commit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
         WHILE NOT pg_try_advisory_xact_lock_shared(1) LOOP PERFORM pg_sleep(0.01); END LOOP;
         RETURN NULL;
       END'`,
    );
    await opened.database.query(
      `CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON bill DEFERRABLE INITIALLY DEFERRED
       FOR EACH ROW EXECUTE FUNCTION wait_in_commit()`,
    );
  });

  afterAll(() => opened.close());

  /** Holds COMMITs up until it is called. */
  async function holdUp(): Promise<() => Promise<void>> {
    const holder = await opened.database.connect();
    onTestFinished(() => opened.database.endSessions());
    await holder.query('SELECT pg_advisory_lock(1)');
    return async () => {
      await holder.query('SELECT pg_advisory_unlock(1)');
    };
  }

  test('leased: the guard waits for the end of it, and tells what became of it', async () => {
    const goOn = await holdUp();
    const request = newRequest();
    const impatient = opened.database.open({ queryTimeoutMs: 200 });
    const outcome = idempotencyKeys(sqlIdempotencyStore(opened.sql)).run(request, pay(impatient, request));
    outcome.catch(() => undefined);
    // Who asks what becomes of the COMMIT.
    await until(async () => (await opened.database.waitingForLocks()) === 1, 5_000);
    await goOn();
    expect(await outcome).toEqual(done(answer('bill')));
    expect(await bills(request)).toBe(1);
  });

  test('transactional: a lock that is not granted meanwhile does not mean that nothing was done', async () => {
    const goOn = await holdUp();
    const request = newRequest();
    const impatient = opened.database.open({ queryTimeoutMs: 400 });
    const retry = { attempts: 2, backoffMs: 1, maxBackoffMs: 1, jitter: 0 };
    let runs = 0;
    const lost = transactionalIdempotencyKeys(impatient, { retry, waitMs: 20 }).run(
      request,
      async (transaction) => {
        runs++;
        await insertBill(transaction, request);
        return done(answer('bill'));
      },
    );
    await expect(lost).rejects.toMatchObject(LOST);
    await goOn();
    await until(async () => (await bills(request)) === 1);
    expect(runs).toBe(1);
  });
});
