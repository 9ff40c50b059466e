import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { barrier, together, until } from '../../../test/barrier.ts';
import {
  claimUnique,
  conditionalUpdate,
  done,
  lockAvailableRows,
  lockRow,
  MisuseError,
  type RowLock,
  refused,
  releaseClaim,
  retryOnConflict,
  type SqlPort,
  type SqlSession,
  type SqlTransaction,
  StoreError,
  transact,
  transactWithRetry,
  versionedUpdate,
  withRowLock,
} from '../src/index.ts';
import { atIsolation, openStore, SESSION_ID, type Store, sqlStores } from './stores.ts';

const RACERS = 50;
const TICKET = { table: 'ticket', key: { id: 1 } };
const FAST_RETRY = { attempts: 20, backoffMs: 1, maxBackoffMs: 20, jitter: 1 };

let store: Store;
let sql: SqlPort;

const TABLES = [
  'CREATE TABLE ticket (id int PRIMARY KEY, status varchar(20) NOT NULL, version int NOT NULL, buyer varchar(20))',
  'CREATE TABLE claim (claim_key varchar(50) PRIMARY KEY, order_id varchar(50) UNIQUE, owner varchar(20) NOT NULL)',
  'CREATE TABLE plain_claim (claim_key varchar(50), owner varchar(20))',
  'CREATE TABLE job (id int PRIMARY KEY, status varchar(20) NOT NULL)',
];

const count = (outcomes: { outcome: string }[], outcome: string) =>
  outcomes.filter((one) => one.outcome === outcome).length;

const run = (session: SqlSession, text: string, ...values: (string | number)[]) =>
  session.execute(store.statement(text, ...values));

const ticketRow = async (id = 1) =>
  (await store.query('SELECT status, version, buyer FROM ticket WHERE id = ?', id)).rows[0];

describe.each(sqlStores)('%s', (name) => {
  beforeAll(async () => {
    store = await openStore(name);
    sql = store.open({ connections: RACERS });
    for (const table of TABLES) await store.query(table);
  });

  afterAll(() => store.close());

  beforeEach(async () => {
    for (const table of ['ticket', 'claim', 'plain_claim', 'job']) await store.query(`DELETE FROM ${table}`);
    await store.query(`INSERT INTO ticket VALUES (1, 'free', 0, NULL), (2, 'free', 0, NULL)`);
  });

  afterEach(() => store.endSessions());

  describe('conditional update', () => {
    test('without a guard, 50 buyers of one ticket all believe they have it', async () => {
      const everybodyHasLooked = barrier(RACERS);
      const bought = await together(RACERS, async (buyer) => {
        const { rows } = await run(sql, 'SELECT status FROM ticket WHERE id = 1');
        await everybodyHasLooked();
        if (rows[0]?.status !== 'free') return false;
        await run(sql, `UPDATE ticket SET status = 'sold', buyer = ? WHERE id = 1`, String(buyer));
        return true;
      });
      expect(bought.filter(Boolean)).toHaveLength(RACERS);
    });

    test('with it, one buyer wins and 49 are refused', async () => {
      const everybodyHasLooked = barrier(RACERS);
      const outcomes = await together(RACERS, async (buyer) => {
        await run(sql, 'SELECT status FROM ticket WHERE id = 1');
        await everybodyHasLooked();
        const set = { status: 'sold', buyer: String(buyer) };
        return conditionalUpdate(sql, { ...TICKET, expect: { status: 'free' }, set });
      });
      expect(count(outcomes, 'done')).toBe(1);
      expect(outcomes.filter((one) => one.outcome === 'refused')).toEqual(
        Array(49).fill(refused('wrong-state')),
      );
      const winner = String(outcomes.findIndex((one) => one.outcome === 'done'));
      expect(await ticketRow()).toMatchObject({ status: 'sold', buyer: winner });
    });

    test('a racer that waited for another transaction reads the condition again', async () => {
      const first = await store.connect();
      await first.begin('READ COMMITTED');
      await first.query(`UPDATE ticket SET status = 'sold' WHERE id = 1`);
      const second = conditionalUpdate(sql, {
        ...TICKET,
        expect: { status: 'free' },
        set: { status: 'sold' },
      });
      await until(async () => (await store.waitingForLocks()) === 1);
      await first.query('COMMIT');
      expect(await second).toEqual(refused('wrong-state'));
    });

    test('null is a value to expect and to set', async () => {
      const taken = { ...TICKET, expect: { buyer: null }, set: { buyer: 'a' } };
      expect(await conditionalUpdate(sql, taken)).toEqual(done(undefined));
      expect(await conditionalUpdate(sql, taken)).toEqual(refused('wrong-state'));
      const freed = { ...TICKET, expect: { buyer: 'a' }, set: { buyer: null } };
      expect(await conditionalUpdate(sql, freed)).toEqual(done(undefined));
      expect(await ticketRow()).toMatchObject({ buyer: null });
    });

    test('an update that only repeats what it expects would let everybody through, so it is refused', async () => {
      const bare = `UPDATE ticket SET status = 'free' WHERE id = 1 AND status = 'free'`;
      for (let caller = 0; caller < 2; caller++) expect((await run(sql, bare)).affectedRows).toBe(1);

      const same = { status: 'free' };
      await expect(conditionalUpdate(sql, { ...TICKET, expect: same, set: same })).rejects.toThrow(
        MisuseError,
      );
      await expect(conditionalUpdate(sql, { ...TICKET, expect: same, set: {} })).rejects.toThrow(MisuseError);
      const counted = { ...TICKET, expect: { status: 'free', version: 0 }, set: same, increment: 'version' };
      expect(await conditionalUpdate(sql, counted)).toEqual(done(undefined));
      expect(await conditionalUpdate(sql, counted)).toEqual(refused('wrong-state'));
    });

    test('equal dates and equal bytes repeat too, and what is counted up cannot be set', async () => {
      const now = new Date();
      const dates = { expect: { status: now }, set: { status: new Date(now) } };
      await expect(conditionalUpdate(sql, { ...TICKET, ...dates })).rejects.toThrow(MisuseError);
      const bytes = { expect: { status: Buffer.from('a') }, set: { status: new Uint8Array([97]) } };
      await expect(conditionalUpdate(sql, { ...TICKET, ...bytes })).rejects.toThrow(MisuseError);
      const both = { expect: { status: 'free' }, set: { version: 5 }, increment: 'version' };
      await expect(conditionalUpdate(sql, { ...TICKET, ...both })).rejects.toThrow(MisuseError);
    });

    test('a column cannot be given twice: it would name another row', async () => {
      const twice = { ...TICKET, expect: { id: 2 }, set: { status: 'x' } };
      await expect(conditionalUpdate(sql, twice)).rejects.toThrow(MisuseError);
      const claim = { table: 'claim', key: { claim_key: 'a' }, values: { claim_key: 'b', owner: 'x' } };
      await expect(claimUnique(sql, claim)).rejects.toThrow(MisuseError);
    });

    test('names that are not plain, and a row without a key, are refused before anything is sent', async () => {
      const attempts = [
        { ...TICKET, expect: { 'status" = 1; --': 1 }, set: { status: 'x' } },
        { ...TICKET, expect: { 'status` = 1; -- ': 1 }, set: { status: 'x' } },
        { table: 'ticket; DROP TABLE ticket', key: { id: 1 }, expect: {}, set: { status: 'x' } },
        { table: 'ticket', key: {}, expect: {}, set: { status: 'x' } },
      ];
      for (const attempt of attempts) {
        await expect(conditionalUpdate(sql, attempt)).rejects.toThrow(MisuseError);
      }
      expect(await ticketRow()).toMatchObject({ status: 'free' });
    });
  });

  describe('unique claim', () => {
    const claim = (owner: string) => ({
      table: 'claim',
      key: { claim_key: 'pay-1' },
      values: { owner, order_id: 'o1' },
    });

    /** Holds the claim uncommitted until `waiters` wait for it, then rolls it back. */
    async function whileClaimIsHeld<T>(waiters: number, wait: () => Promise<T>): Promise<T> {
      const holder = await store.connect();
      await holder.begin('READ COMMITTED');
      await holder.query(`INSERT INTO claim VALUES ('pay-1', 'o1', 'holder')`);
      const waiting = wait();
      await until(async () => (await store.waitingForLocks()) === waiters);
      await holder.query('ROLLBACK');
      return waiting;
    }

    test('without the unique key, 50 racers who look first all claim it', async () => {
      const everybodyHasLooked = barrier(RACERS);
      await together(RACERS, async (racer) => {
        const { rows } = await run(sql, `SELECT 1 FROM plain_claim WHERE claim_key = 'pay-1'`);
        await everybodyHasLooked();
        if (rows.length === 0) await run(sql, `INSERT INTO plain_claim VALUES ('pay-1', ?)`, String(racer));
      });
      expect((await store.query('SELECT * FROM plain_claim')).rows).toHaveLength(RACERS);
    });

    test('of 50 racers one claims the key, and 49 are told who holds it', async () => {
      const outcomes = await together(RACERS, (racer) => claimUnique(sql, claim(String(racer))));
      expect(count(outcomes, 'done')).toBe(1);
      const winner = String(outcomes.findIndex((one) => one.outcome === 'done'));
      for (const outcome of outcomes.filter((one) => one.outcome === 'refused')) {
        expect(outcome).toMatchObject({ reason: 'in-progress', holder: { owner: winner } });
      }
      expect((await store.query('SELECT owner FROM claim')).rows).toEqual([{ owner: winner }]);
    });

    test('another unique column of the row refuses too', async () => {
      await claimUnique(sql, claim('a'));
      const second = { table: 'claim', key: { claim_key: 'pay-2' }, values: { owner: 'b', order_id: 'o1' } };
      expect(await claimUnique(sql, second)).toEqual({ ...refused('in-progress'), holder: undefined });
    });

    test('a value that does not fit is an error, and is not stored otherwise', async () => {
      const tooLong = claim('an owner of more than twenty characters');
      await expect(claimUnique(sql, tooLong)).rejects.toMatchObject({ code: 'REJECTED', effect: 'none' });
      expect((await store.query('SELECT * FROM claim')).rows).toEqual([]);
    });

    test('a claim whose transaction rolls back is free again, and whoever waited for it wins', async () => {
      const outcome = await whileClaimIsHeld(1, () => claimUnique(sql, claim('b')));
      expect(outcome).toEqual(done(undefined));
      expect((await store.query('SELECT owner FROM claim')).rows).toEqual([{ owner: 'b' }]);
    });

    const WAITERS = 5;

    test('of several who waited for it one wins at once, and on MySQL the others meet a deadlock', async () => {
      const results = await whileClaimIsHeld(WAITERS, () =>
        Promise.allSettled(
          Array.from({ length: WAITERS }, (_, racer) =>
            transact(sql, (transaction) => claimUnique(transaction, claim(String(racer)))),
          ),
        ),
      );
      const errors = results.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
      const outcomes = results.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
      expect(count(outcomes, 'done')).toBe(1);
      expect(errors.map(({ code }) => code)).toEqual(
        store.kind === 'mysql' ? Array(WAITERS - 1).fill('DEADLOCK') : [],
      );
    });

    test('of several who waited for it and try again one wins, and all others are refused', async () => {
      const outcomes = await whileClaimIsHeld(WAITERS, () =>
        together(WAITERS, (racer) =>
          transactWithRetry(sql, (transaction) => claimUnique(transaction, claim(String(racer))), FAST_RETRY),
        ),
      );
      expect(count(outcomes, 'done')).toBe(1);
      const refusals = outcomes.filter((one) => one.outcome === 'refused');
      expect(refusals.map(({ reason }) => reason)).toEqual(Array(WAITERS - 1).fill('in-progress'));
      const winner = String(outcomes.findIndex((one) => one.outcome === 'done'));
      expect((await store.query('SELECT owner FROM claim')).rows).toEqual([{ owner: winner }]);
    });

    test('a claim that is lost inside a transaction leaves the transaction usable', async () => {
      await claimUnique(sql, claim('a'));
      const outcome = await transact(sql, async (transaction) => {
        expect(await claimUnique(transaction, claim('b'))).toMatchObject({ holder: { owner: 'a' } });
        await run(transaction, `UPDATE ticket SET status = 'lost' WHERE id = 1`);
        return done('went on');
      });
      expect(outcome).toEqual(done('went on'));
      expect(await ticketRow()).toMatchObject({ status: 'lost' });
    });

    test('only the owner gives a claim back', async () => {
      await claimUnique(sql, claim('a'));
      const { table, key } = claim('a');
      expect(await releaseClaim(sql, { table, key, owner: { owner: 'b' } })).toEqual(refused('fenced'));
      await expect(releaseClaim(sql, { table, key, owner: {} })).rejects.toThrow(MisuseError);
      expect(await claimUnique(sql, claim('b'))).toMatchObject(refused('in-progress'));
      expect(await releaseClaim(sql, { table, key, owner: { owner: 'a' } })).toEqual(done(undefined));
      expect(await claimUnique(sql, claim('b'))).toEqual(done(undefined));
    });
  });

  describe('optimistic lock', () => {
    const readVersion = async (session: SqlSession = sql): Promise<number> =>
      Number((await run(session, 'SELECT version FROM ticket WHERE id = 1')).rows[0]?.version);
    const versioned = (value: number) => ({
      ...TICKET,
      version: { column: 'version', value },
      set: { status: 'sold' },
    });

    test('without the version, 50 racers that read the same row all write', async () => {
      const everybodyHasRead = barrier(RACERS);
      const written = await together(RACERS, async () => {
        const version = await readVersion();
        await everybodyHasRead();
        return run(sql, 'UPDATE ticket SET version = ? WHERE id = 1', version + 1);
      });
      expect(written.map(({ affectedRows }) => affectedRows)).toEqual(Array(RACERS).fill(1));
      expect(await readVersion()).toBe(1);
    });

    test('of 50 racers that read the same version one writes, and the version grows by one', async () => {
      const everybodyHasRead = barrier(RACERS);
      const outcomes = await together(RACERS, async () => {
        const version = await readVersion();
        await everybodyHasRead();
        return versionedUpdate(sql, versioned(version));
      });
      expect(count(outcomes, 'done')).toBe(1);
      expect(outcomes.filter((one) => one.outcome === 'refused')).toEqual(
        Array(RACERS - 1).fill(refused('contended')),
      );
      expect(await readVersion()).toBe(1);
    });

    test('with the retry around the transaction, every one of 20 increments lands', async () => {
      const outcomes = await together(20, () =>
        transactWithRetry(
          sql,
          async (transaction) => versionedUpdate(transaction, versioned(await readVersion(transaction))),
          { attempts: 200, backoffMs: 1, maxBackoffMs: 20, jitter: 1 },
        ),
      );
      expect(count(outcomes, 'done')).toBe(20);
      expect(await readVersion()).toBe(20);
    });

    test('each attempt has a transaction of its own, and what a lost one wrote is rolled back', async () => {
      let attempts = 0;
      const outcome = await transactWithRetry(
        sql,
        async (transaction) => {
          attempts++;
          await run(transaction, `INSERT INTO claim VALUES (?, NULL, 'x')`, `k${attempts}`);
          return attempts < 3 ? refused('contended') : done(attempts);
        },
        FAST_RETRY,
      );
      expect(outcome).toEqual(done(3));
      expect((await store.query('SELECT claim_key FROM claim')).rows).toEqual([{ claim_key: 'k3' }]);
    });

    test('a change that does not count the version up lets a stale reader win', async () => {
      const version = await readVersion();
      await conditionalUpdate(sql, { ...TICKET, expect: { status: 'free' }, set: { status: 'held' } });
      expect(await versionedUpdate(sql, versioned(version))).toMatchObject({ outcome: 'done' });
    });

    test('one that does count it up does not', async () => {
      const version = await readVersion();
      const held = { ...TICKET, expect: { status: 'free' }, set: { status: 'held' }, increment: 'version' };
      await conditionalUpdate(sql, held);
      expect(await versionedUpdate(sql, versioned(version))).toEqual(refused('contended'));
    });
  });

  describe('retry around the transaction', () => {
    test('a number of attempts that would never try is refused', async () => {
      for (const attempts of [0, -1, Number.NaN, 1.5]) {
        const retry = { ...FAST_RETRY, attempts };
        await expect(transactWithRetry(sql, async () => done(1), retry)).rejects.toThrow(MisuseError);
      }
    });

    test('it gives up after its attempts, and another refusal is final at once', async () => {
      const retry = { ...FAST_RETRY, attempts: 3 };
      let attempts = 0;
      const contended = async () => {
        attempts++;
        return refused('contended');
      };
      expect(await transactWithRetry(sql, contended, retry)).toEqual(refused('contended'));
      expect(attempts).toBe(3);
      const wrongState = async () => {
        attempts++;
        return refused('wrong-state');
      };
      expect(await transactWithRetry(sql, wrongState, retry)).toEqual(refused('wrong-state'));
      expect(attempts).toBe(4);
    });

    test('an outcome that is unknown, and an error that is no conflict, are never repeated', async () => {
      const failures = [
        new StoreError('CONNECTION_LOST', 'unknown', 'the answer to another store’s COMMIT was lost'),
        new StoreError('SERIALIZATION_FAILURE', 'unknown', 'nobody knows'),
        new StoreError('REJECTED', 'none', 'no'),
        new TypeError('a bug'),
      ];
      for (const failure of failures) {
        let attempts = 0;
        const attempt = transactWithRetry(sql, async () => {
          attempts++;
          throw failure;
        });
        await expect(attempt).rejects.toBe(failure);
        expect(attempts).toBe(1);
      }
    });

    /** Updates both tickets, each racer in another order, so that the first attempts are a deadlock. */
    async function lockBoth(transactions: number[], racer: number, transaction: SqlTransaction, met: Met) {
      const attempt = (transactions[racer] ?? 0) + 1;
      transactions[racer] = attempt;
      for (const id of racer === 0 ? [1, 2] : [2, 1]) {
        await run(transaction, 'UPDATE ticket SET version = version + 1 WHERE id = ?', id);
        if (attempt === 1) await met();
      }
      return done(undefined);
    }
    type Met = () => Promise<void>;

    test('without it, one of two that lock in opposite orders fails with a deadlock', async () => {
      const met = barrier(2);
      const results = await Promise.allSettled(
        [0, 1].map((racer) => transact(sql, (transaction) => lockBoth([0, 0], racer, transaction, met))),
      );
      const errors = results.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
      expect(errors).toMatchObject([{ code: 'DEADLOCK', effect: 'none' }]);
      expect(await ticketRow(1)).toMatchObject({ version: 1 });
      expect(await ticketRow(2)).toMatchObject({ version: 1 });
    });

    test('with it, both get through', async () => {
      const met = barrier(2);
      const transactions = [0, 0];
      const outcomes = await together(2, (racer) =>
        transactWithRetry(sql, (transaction) => lockBoth(transactions, racer, transaction, met)),
      );
      expect(count(outcomes, 'done')).toBe(2);
      expect(transactions.toSorted()).toEqual([1, 2]);
      expect(await ticketRow(1)).toMatchObject({ version: 2 });
      expect(await ticketRow(2)).toMatchObject({ version: 2 });
    });

    test('around a guard that has a transaction of its own, it does the same', async () => {
      const bothHoldOne = barrier(2);
      const attempts = [0, 0];
      const outcomes = await together(2, (racer) => {
        const lock = (id: number) => ({ table: 'ticket', key: { id }, columns: ['id'], waitMs: 10_000 });
        const [first, second] = racer === 0 ? [1, 2] : [2, 1];
        return retryOnConflict(() =>
          withRowLock(sql, lock(first), async (_row, transaction) => {
            attempts[racer] = (attempts[racer] ?? 0) + 1;
            if (attempts[racer] === 1) await bothHoldOne();
            await lockRow(transaction, lock(second));
            return done(undefined);
          }),
        );
      });
      expect(count(outcomes, 'done')).toBe(2);
      expect(attempts.toSorted()).toEqual([1, 2]);
    });

    /**
     * Each of two sells a ticket if none has been sold, and looks at both before: a write skew, which SERIALIZABLE
     * alone refuses. PostgreSQL does so at the COMMIT of the second, MySQL by a deadlock of its reads.
     */
    function sellIfNoneIsSold(atLeastOne: SqlPort, retry: number) {
      const bothHaveLooked = barrier(2);
      const bothHaveWritten = barrier(2);
      const attempts = [0, 0];
      return Promise.all(
        [0, 1].map((racer) =>
          transactWithRetry(
            atLeastOne,
            async (transaction) => {
              attempts[racer] = (attempts[racer] ?? 0) + 1;
              const first = attempts[racer] === 1;
              const { rows } = await run(transaction, `SELECT id FROM ticket WHERE status = 'sold'`);
              if (first) await bothHaveLooked();
              if (rows.length > 0) return refused('sold-out');
              await run(transaction, `UPDATE ticket SET status = 'sold' WHERE id = ?`, racer + 1);
              if (first && store.kind === 'postgres') await bothHaveWritten();
              return done(racer);
            },
            { ...FAST_RETRY, attempts: retry },
          ),
        ),
      );
    }

    test('at READ COMMITTED, two that look at each other’s row both sell', async () => {
      const outcomes = await sellIfNoneIsSold(sql, 5);
      expect(count(outcomes, 'done')).toBe(2);
    });

    test('at SERIALIZABLE one of them meets a conflict, and is refused when it looks again', async () => {
      const serializable = atIsolation(sql, 'SERIALIZABLE');
      const once = await sellIfNoneIsSold(serializable, 1);
      expect(once.map((one) => (one.outcome === 'refused' ? one.reason : one.outcome)).toSorted()).toEqual([
        'contended',
        'done',
      ]);
      await store.query(`UPDATE ticket SET status = 'free'`);
      const again = await sellIfNoneIsSold(serializable, 5);
      expect(again.map((one) => (one.outcome === 'refused' ? one.reason : one.outcome)).toSorted()).toEqual([
        'done',
        'sold-out',
      ]);
    });
  });

  describe('pessimistic lock', () => {
    const lock = { ...TICKET, columns: ['status'], waitMs: 10_000 } satisfies RowLock;
    const buy = (waitMs = 10_000) =>
      withRowLock(sql, { ...lock, waitMs }, async (row, transaction) => {
        if (row.status !== 'free') return refused('already-done');
        await run(transaction, `UPDATE ticket SET status = 'sold' WHERE id = 1`);
        return done(undefined);
      });

    test('50 racers look under the lock one after another: one buys', async () => {
      const outcomes = await together(RACERS, () => buy());
      expect(count(outcomes, 'done')).toBe(1);
      expect(outcomes.filter((one) => one.outcome === 'refused')).toEqual(
        Array(RACERS - 1).fill(refused('already-done')),
      );
    });

    test('it locks its own row and no other', async () => {
      await withRowLock(sql, lock, async () => {
        const other = { ...lock, key: { id: 2 }, waitMs: 0 };
        expect(await withRowLock(sql, other, async () => done('free'))).toEqual(done('free'));
        expect(await buy(0)).toEqual(refused('lock-timeout'));
        return done(undefined);
      });
    });

    test('with the status in the condition, a loser finds no row', async () => {
      await store.query(`UPDATE ticket SET status = 'sold'`);
      const locked = { ...lock, expect: { status: 'free' } };
      expect(await withRowLock(sql, locked, async () => done(undefined))).toEqual(refused('wrong-state'));
    });

    test('a racer that waited finds no row when the holder has changed the status', async () => {
      const locked = barrier(2);
      const commit = barrier(2);
      const free = { ...lock, expect: { status: 'free' } };
      const holder = withRowLock(sql, free, async (_row, transaction) => {
        await locked();
        await commit();
        await run(transaction, `UPDATE ticket SET status = 'sold' WHERE id = 1`);
        return done(undefined);
      });
      await locked();
      const waiter = withRowLock(sql, free, async () => done(undefined));
      await until(async () => (await store.waitingForLocks()) === 1);
      await commit();
      expect(await holder).toEqual(done(undefined));
      expect(await waiter).toEqual(refused('wrong-state'));
    });

    test('a refusal inside rolls back what was written under the lock', async () => {
      const outcome = await withRowLock(sql, lock, async (_row, transaction) => {
        await run(transaction, `UPDATE ticket SET status = 'sold' WHERE id = 1`);
        return refused('declined');
      });
      expect(outcome).toEqual(refused('declined'));
      expect(await ticketRow()).toMatchObject({ status: 'free' });
    });
  });

  describe('the wait for a lock', () => {
    const lock = { ...TICKET, columns: ['status'] };

    const lockedElsewhere = async (id = 1) => {
      const holder = await store.connect();
      await holder.begin('READ COMMITTED');
      await holder.query('SELECT * FROM ticket WHERE id = ? FOR UPDATE', id);
      return holder;
    };

    const attempt = (waitMs: number, port = sql) =>
      withRowLock(port, { ...lock, waitMs }, async () => done(undefined));

    test.each([0, 50])('past a limit of %i ms it is refused, and holds nothing', async (waitMs) => {
      const holder = await lockedElsewhere();
      expect(await attempt(waitMs)).toEqual(refused('lock-timeout'));
      await holder.query('ROLLBACK');
      expect(await attempt(waitMs)).toEqual(done(undefined));
    });

    test('one that times out later, inside the work, is an error and not a refusal', async () => {
      await lockedElsewhere(2);
      const settings: Record<string, string> =
        store.kind === 'mysql' ? { innodb_lock_wait_timeout: '0' } : {};
      const late = withRowLock(
        store.open({ settings }),
        { ...lock, waitMs: 50 },
        async (_row, transaction) => {
          await run(transaction, 'UPDATE ticket SET version = 1 WHERE id = 2');
          return done(undefined);
        },
      );
      await expect(late).rejects.toMatchObject({ code: 'LOCK_TIMEOUT', effect: 'none' });
    });

    test('one that is not a whole number of milliseconds is refused', async () => {
      for (const waitMs of [-1, 0.5, Number.NaN]) {
        await expect(attempt(waitMs)).rejects.toThrow(MisuseError);
      }
    });

    /** How long the session waits for locks. */
    async function limits(session: SqlSession) {
      const text =
        store.kind === 'postgres'
          ? `SELECT current_setting('lock_timeout') AS row_lock`
          : 'SELECT @@SESSION.innodb_lock_wait_timeout AS row_lock, @@SESSION.lock_wait_timeout AS metadata';
      return (await run(session, text)).rows[0];
    }
    const id = async (session: SqlPort) => (await run(session, SESSION_ID[store.kind])).rows[0]?.id;

    test('inside the transaction the limit holds, or the twins below would prove nothing', async () => {
      const single = store.open({ connections: 1 });
      const before = await limits(single);
      await single.transaction(async (transaction) => {
        await transaction.execute(transaction.dialect.limitLockWait(3_000));
        expect(await limits(transaction)).toEqual(
          store.kind === 'postgres' ? { row_lock: '3s' } : { row_lock: '3', metadata: '3' },
        );
      });
      expect(await limits(single)).toEqual(before);
    });

    test('the limit is given back to the session with its transaction', async () => {
      const single = store.open({ connections: 1 });
      const [before, session] = [await limits(single), await id(single)];
      expect(await attempt(3_000, single)).toEqual(done(undefined));
      expect(await limits(single)).toEqual(before);
      // Given back, and not merely gone with its connection.
      expect(await id(single)).toEqual(session);
    });

    test('it is given back after a time-out', async () => {
      const single = store.open({ connections: 1 });
      const [before, session] = [await limits(single), await id(single)];
      await lockedElsewhere();
      expect(await attempt(50, single)).toEqual(refused('lock-timeout'));
      expect(await limits(single)).toEqual(before);
      expect(await id(single)).toEqual(session);
    });

    test('it is given back after a deadlock', async () => {
      const single = store.open({ connections: 1 });
      const [before, session] = [await limits(single), await id(single)];
      const other = await lockedElsewhere();
      // So that the other is not the victim: on MySQL it has written more, on PostgreSQL it looks for deadlocks later.
      await other.query(`INSERT INTO job VALUES (1, 'x'), (2, 'x'), (3, 'x')`);
      if (store.kind === 'postgres') await other.query(`SET deadlock_timeout = '1min'`);
      const victim = single.transaction(async (transaction) => {
        await run(transaction, 'UPDATE ticket SET version = 7 WHERE id = 2');
        const others = other.query('UPDATE ticket SET version = 8 WHERE id = 2');
        await until(async () => (await store.waitingForLocks()) === 1);
        await lockRow(transaction, { ...lock, waitMs: 10_000 }).finally(() => others);
      });
      await expect(victim).rejects.toMatchObject({ code: 'DEADLOCK', effect: 'none' });
      expect(await limits(single)).toEqual(before);
      expect(await id(single)).toEqual(session);
    });
  });

  describe('shared lock', () => {
    const share = { ...TICKET, columns: ['status'], mode: 'share', waitMs: 10_000 } satisfies RowLock;
    const sell = { ...TICKET, expect: { status: 'free' }, set: { status: 'sold' } };
    const holdUntil = (lock: RowLock, held: () => Promise<void>, end: () => Promise<void>) =>
      withRowLock(sql, lock, async (row) => {
        await held();
        await end();
        return done(row.status);
      });

    test('two share a row, which an exclusive lock would keep from the second', async () => {
      const bothHold = barrier(2);
      const outcomes = await together(2, () => holdUntil(share, bothHold, bothHold));
      expect(outcomes).toEqual([done('free'), done('free')]);

      const [held, end] = [barrier(2), barrier(2)];
      const exclusive = holdUntil({ ...share, mode: 'update' }, held, end);
      await held();
      const second = withRowLock(sql, { ...share, waitMs: 0 }, async () => done('shared'));
      expect(await second).toEqual(refused('lock-timeout'));
      await end();
      expect(await exclusive).toEqual(done('free'));
    });

    test('while it is shared, a writer waits, and nobody locks it for himself', async () => {
      const [held, end] = [barrier(3), barrier(3)];
      const sharers = together(2, () => holdUntil(share, held, end));
      await held();
      const exclusive = withRowLock(sql, { ...share, mode: 'update', waitMs: 0 }, async () => done('mine'));
      expect(await exclusive).toEqual(refused('lock-timeout'));
      const writer = conditionalUpdate(sql, sell);
      await until(async () => (await store.waitingForLocks()) === 1);
      await end();
      expect(await sharers).toEqual([done('free'), done('free')]);
      expect(await writer).toEqual(done(undefined));
    });

    test('without it, what was read is changed under the reader', async () => {
      const read = await sql.transaction(async (transaction) => {
        const before = (await run(transaction, 'SELECT status FROM ticket WHERE id = 1')).rows[0];
        expect(await conditionalUpdate(sql, sell)).toEqual(done(undefined));
        const after = (await run(transaction, 'SELECT status FROM ticket WHERE id = 1')).rows[0];
        return [before, after];
      });
      expect(read).toEqual([{ status: 'free' }, { status: 'sold' }]);
    });

    test('two sharers who both want to change it are a deadlock, which the retry gets through', async () => {
      const bothHold = barrier(2);
      const attempts = [0, 0];
      const outcomes = await together(2, (racer) =>
        transactWithRetry(sql, async (transaction) => {
          attempts[racer] = (attempts[racer] ?? 0) + 1;
          await lockRow(transaction, share);
          if (attempts[racer] === 1) await bothHold();
          await run(transaction, 'UPDATE ticket SET version = version + 1 WHERE id = 1');
          return done(undefined);
        }),
      );
      expect(count(outcomes, 'done')).toBe(2);
      expect(attempts.toSorted()).toEqual([1, 2]);
      expect(await ticketRow()).toMatchObject({ version: 2 });
    });
  });

  describe('lock that counts the version up', () => {
    const lock = { ...TICKET, columns: ['status', 'version'], waitMs: 10_000 } satisfies RowLock;
    const stale = { ...TICKET, version: { column: 'version', value: 0 }, set: { status: 'sold' } };

    test('without it, an optimistic reader does not notice that the row was locked', async () => {
      expect(await withRowLock(sql, lock, async () => done(undefined))).toEqual(done(undefined));
      expect(await versionedUpdate(sql, stale)).toEqual(done({ version: 1 }));
    });

    test('with it, he finds the row changed, although nothing else is', async () => {
      const forced = { ...lock, increment: 'version' };
      const row = await withRowLock(sql, forced, async (locked) => done(locked));
      expect(row).toEqual(done({ status: 'free', version: 1 }));
      expect(await versionedUpdate(sql, stale)).toEqual(refused('contended'));
      expect(await ticketRow()).toEqual({ status: 'free', version: 1, buyer: null });
      expect(await ticketRow(2)).toMatchObject({ version: 0 });
    });

    test('a refusal inside takes the count back', async () => {
      const forced = { ...lock, increment: 'version' };
      await withRowLock(sql, forced, async () => refused('declined'));
      expect(await ticketRow()).toMatchObject({ version: 0 });
    });

    test('a shared lock cannot', async () => {
      const shared = { ...lock, mode: 'share', increment: 'version' } satisfies RowLock;
      await expect(withRowLock(sql, shared, async () => done(undefined))).rejects.toThrow(MisuseError);
    });
  });

  describe('available rows', () => {
    const open = { table: 'job', expect: { status: 'open' }, columns: ['id'], orderBy: 'id', limit: 2 };
    const ids = (rows: readonly Readonly<Record<string, unknown>>[]) => rows.map(({ id }) => id);

    beforeEach(async () => {
      await store.query(
        `INSERT INTO job VALUES (5, 'open'), (4, 'open'), (3, 'open'), (2, 'done'), (1, 'open')`,
      );
    });

    test('without it, a second worker waits for the rows of the first', async () => {
      const text = `SELECT id FROM job WHERE status = 'open' ORDER BY id LIMIT 2 FOR UPDATE`;
      const first = await store.connect();
      await first.begin('READ COMMITTED');
      expect(ids((await first.query(text)).rows)).toEqual([1, 3]);
      const second = sql.transaction((transaction) => run(transaction, text));
      await until(async () => (await store.waitingForLocks()) === 1);
      await first.query('ROLLBACK');
      expect(ids((await second).rows)).toEqual([1, 3]);
    });

    test('two workers get rows of their own, in order and within the limit, and neither waits', async () => {
      const [first, second] = await sql.transaction(async (one) => {
        const mine = await lockAvailableRows(one, open);
        // Inside the first worker's transaction: if it had to wait, it would wait for ever.
        const others = await sql.transaction((two) => lockAvailableRows(two, open));
        return [mine, others];
      });
      expect(ids(first ?? [])).toEqual([1, 3]);
      expect(ids(second ?? [])).toEqual([4, 5]);
    });

    test('what is locked stays locked until the transaction ends', async () => {
      await sql.transaction(async (transaction) => {
        await lockAvailableRows(transaction, open);
        const one = { table: 'job', key: { id: 1 }, columns: ['id'], waitMs: 0 };
        expect(await withRowLock(sql, one, async () => done(undefined))).toEqual(refused('lock-timeout'));
        const third = await sql.transaction((two) => lockAvailableRows(two, { ...open, limit: 9 }));
        expect(ids(third)).toEqual([4, 5]);
      });
      const freed = await sql.transaction((transaction) => lockAvailableRows(transaction, open));
      expect(ids(freed)).toEqual([1, 3]);
    });

    test('a limit of no rows is refused', async () => {
      for (const limit of [0, -1, 1.5, Number.NaN]) {
        const none = sql.transaction((transaction) => lockAvailableRows(transaction, { ...open, limit }));
        await expect(none).rejects.toThrow(MisuseError);
      }
    });
  });

  test('StoreError tells a lost answer from a refusal of the server', async () => {
    const unknownTable = run(sql, 'SELECT * FROM nowhere');
    await expect(unknownTable).rejects.toMatchObject({
      name: 'StoreError',
      code: 'REJECTED',
      effect: 'none',
    });
    const duplicate = run(sql, `INSERT INTO ticket VALUES (1, 'x', 0, NULL)`);
    await expect(duplicate).rejects.toBeInstanceOf(StoreError);
    await expect(duplicate).rejects.toMatchObject({ code: 'DUPLICATE_KEY', effect: 'none' });
  });

  test('through Kysely each guard lets one of 10 racers through', async () => {
    const kysely = store.open({ over: 'kysely', connections: 10 });
    const sell = { ...TICKET, expect: { status: 'free' }, set: { status: 'sold' }, increment: 'version' };
    const races: Record<string, () => Promise<{ outcome: string }>> = {
      'conditional update': () => conditionalUpdate(kysely, sell),
      'unique claim': () =>
        claimUnique(kysely, { table: 'claim', key: { claim_key: 'k' }, values: { owner: 'x' } }),
      'optimistic lock': () =>
        versionedUpdate(kysely, { ...TICKET, version: { column: 'version', value: 1 }, set: {} }),
      'pessimistic lock': () =>
        withRowLock(kysely, { ...TICKET, columns: ['buyer'], waitMs: 10_000 }, async (row, transaction) => {
          if (row.buyer !== null) return refused('already-done');
          await run(transaction, `UPDATE ticket SET buyer = 'x' WHERE id = 1`);
          return done(undefined);
        }),
    };
    for (const [guard, race] of Object.entries(races)) {
      expect([guard, count(await together(10, race), 'done')]).toEqual([guard, 1]);
    }
  });
});
