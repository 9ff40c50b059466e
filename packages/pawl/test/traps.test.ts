import { createConnection } from 'mysql2/promise';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { barrier, together, until } from '../../../test/barrier.ts';
import type { SqlStore } from '../../../test/stores.ts';
import {
  claimUnique,
  conditionalUpdate,
  done,
  MisuseError,
  refused,
  releaseClaim,
  type SqlPort,
  type SqlSession,
  type SqlValue,
  transactWithRetry,
  versionedUpdate,
  withRowLock,
} from '../src/index.ts';
import { atIsolation, openStore, SESSION_ID, type Session, type Store, sqlStores } from './stores.ts';

/*
 * What databases and drivers do behind the back of their callers, each shown with the bare driver, and then absent
 * through the library.
 */

let store: Store;

const run = (session: SqlSession, text: string, ...values: SqlValue[]) =>
  session.execute(store.statement(text, ...values));
const sessionOf = async (session: SqlSession) => (await run(session, SESSION_ID[store.kind])).rows[0]?.id;
const left = async (): Promise<number> =>
  Number((await store.query('SELECT n FROM stock WHERE id = 1')).rows[0]?.n);
const notes = async () =>
  (await store.query('SELECT text FROM note ORDER BY text')).rows.map(({ text }) => text);

const STOCK = { table: 'stock', key: { id: 1 } };
const BOTH_DRIVERS = ['driver', 'kysely'] as const;

function onStore(name: SqlStore): void {
  beforeAll(async () => {
    store = await openStore(name);
    await store.query('CREATE TABLE stock (id int PRIMARY KEY, n int NOT NULL, version int NOT NULL)');
    await store.query('CREATE TABLE note (text varchar(50) PRIMARY KEY)');
  });
  beforeEach(async () => {
    await store.query('DELETE FROM stock');
    await store.query('DELETE FROM note');
    await store.query('INSERT INTO stock VALUES (1, 10, 0), (2, 10, 0)');
  });
  afterEach(() => store.endSessions());
  afterAll(() => store.close());
}

/** Two bare sessions, each in a transaction. */
async function twoSessions(isolation: 'READ COMMITTED' | 'REPEATABLE READ'): Promise<[Session, Session]> {
  const sessions: [Session, Session] = [await store.connect(), await store.connect()];
  for (const session of sessions) await session.begin(isolation);
  return sessions;
}

const readStock = async (session: Pick<Session, 'query'>) =>
  Number((await session.query('SELECT n FROM stock WHERE id = 1')).rows[0]?.n);

/** How the bare driver tells that a row cannot be changed, because it is not what the snapshot shows. */
const STALE = {
  postgres: { bare: { code: '40001' } },
  mariadb: undefined,
  'mariadb-snapshot': { bare: { errno: 1020 } },
} as const;

describe.each(sqlStores)('on %s', (name) => {
  onStore(name);
  const stale = STALE[name];

  describe('F25: an optimistic retry inside a REPEATABLE READ transaction', () => {
    /** Reads the version, is overtaken, and tries `attempts` times in the same transaction. */
    async function retryInside(attempts: number): Promise<{ versions: number[]; outcomes: unknown[] }> {
      const versions: number[] = [];
      const outcomes: unknown[] = [];
      await atIsolation(store.open(), 'REPEATABLE READ').transaction(async (transaction) => {
        for (let attempt = 1; attempt <= attempts; attempt++) {
          const { rows } = await run(transaction, 'SELECT version FROM stock WHERE id = 1');
          const value = Number(rows[0]?.version);
          versions.push(value);
          if (attempt === 1) await store.query('UPDATE stock SET version = 1 WHERE id = 1');
          const version = { column: 'version', value };
          outcomes.push(await versionedUpdate(transaction, { ...STOCK, version, set: { n: 9 } }));
        }
      });
      return { versions, outcomes };
    }

    test('never sees what overtook it', async () => {
      if (stale === undefined) {
        const { versions, outcomes } = await retryInside(3);
        expect(versions).toEqual([0, 0, 0]);
        expect(outcomes).toEqual(Array(3).fill(refused('contended')));
      } else {
        await expect(retryInside(1)).rejects.toMatchObject({ code: 'SERIALIZATION_FAILURE', effect: 'none' });
      }
      expect(await left()).toBe(10);
    });

    test('around the transaction, the second attempt does', async () => {
      const versions: number[] = [];
      const sql = atIsolation(store.open(), 'REPEATABLE READ');
      const outcome = await transactWithRetry(sql, async (transaction) => {
        const { rows } = await run(transaction, 'SELECT version FROM stock WHERE id = 1');
        const value = Number(rows[0]?.version);
        if (versions.push(value) === 1) await store.query('UPDATE stock SET version = 1 WHERE id = 1');
        return versionedUpdate(transaction, {
          ...STOCK,
          version: { column: 'version', value },
          set: { n: 9 },
        });
      });
      expect(outcome).toEqual(done({ version: 2 }));
      expect(versions).toEqual([0, 1]);
      expect(await left()).toBe(9);
    });
  });

  describe('F26: a lost update', () => {
    /** Two sessions read the stock, and each writes one less than it read. */
    async function sellTwice(): Promise<unknown> {
      const [first, second] = await twoSessions('REPEATABLE READ');
      const seen = [await readStock(first), await readStock(second)];
      expect(seen).toEqual([10, 10]);
      await first.query('UPDATE stock SET n = 9 WHERE id = 1');
      await first.query('COMMIT');
      await second.query('UPDATE stock SET n = 9 WHERE id = 1');
      return second.query('COMMIT');
    }

    test('two sales at REPEATABLE READ take 10 to 9, or the second is refused', async () => {
      if (stale === undefined) await sellTwice();
      else await expect(sellTwice()).rejects.toMatchObject(stale.bare);
      expect(await left()).toBe(9);
    });

    test('a conditional UPDATE after a read is refused as well, or lets nobody through', async () => {
      const [first, second] = await twoSessions('REPEATABLE READ');
      await readStock(second);
      await first.query('UPDATE stock SET n = 9 WHERE id = 1');
      await first.query('COMMIT');
      const conditional = second.query('UPDATE stock SET n = 8 WHERE id = 1 AND n = 10');
      if (stale === undefined) expect((await conditional).affectedRows).toBe(0);
      else await expect(conditional).rejects.toMatchObject(stale.bare);
    });

    test.each(BOTH_DRIVERS)(
      'through the library that is a conflict, and the retry gets through (%s)',
      async (over) => {
        const sql = atIsolation(store.open({ over }), 'REPEATABLE READ');
        const sellOne = (met: () => Promise<void>, attempts: number[], seller: number) =>
          transactWithRetry(sql, async (transaction) => {
            attempts[seller] = (attempts[seller] ?? 0) + 1;
            const { rows } = await run(transaction, 'SELECT n FROM stock WHERE id = 1');
            const n = Number(rows[0]?.n);
            if (attempts[seller] === 1) await met();
            const outcome = await conditionalUpdate(transaction, {
              ...STOCK,
              expect: { n },
              set: { n: n - 1 },
            });
            return outcome.outcome === 'done' ? outcome : refused('contended');
          });
        const attempts = [0, 0];
        const met = barrier(2);
        const outcomes = await together(2, (seller) => sellOne(met, attempts, seller));
        expect(outcomes).toEqual([done(undefined), done(undefined)]);
        expect(attempts.toSorted()).toEqual([1, 2]);
        expect(await left()).toBe(8);
      },
    );

    test('with the row locked, both sales are counted', async () => {
      const sql = store.open();
      const sell = () =>
        withRowLock(sql, { ...STOCK, columns: ['n'], waitMs: 10_000 }, async ({ n }, transaction) => {
          await run(transaction, 'UPDATE stock SET n = ? WHERE id = 1', Number(n) - 1);
          return done(undefined);
        });
      await together(2, sell);
      expect(await left()).toBe(8);
    });
  });

  describe('a conditional UPDATE that had to wait', () => {
    test('reads its condition again at READ COMMITTED', async () => {
      const [first, second] = await twoSessions('READ COMMITTED');
      const buy = 'UPDATE stock SET n = 0 WHERE id = 1 AND n = 10';
      expect((await first.query(buy)).affectedRows).toBe(1);
      const waiting = second.query(buy);
      await until(async () => (await store.waitingForLocks()) === 1);
      await first.query('COMMIT');
      expect((await waiting).affectedRows).toBe(0);
    });
  });

  describe('F30: the client gives up', () => {
    const SELL = 'UPDATE stock SET n = n - 1 WHERE id = 1';

    async function lockedRow(): Promise<Session> {
      const holder = await store.connect();
      await holder.begin('READ COMMITTED');
      await holder.query('SELECT n FROM stock WHERE id = 1 FOR UPDATE');
      return holder;
    }

    test('and the row is written all the same', async () => {
      const holder = await lockedRow();
      const { giveUp, end } = await impatientClient(200);
      await expect(giveUp(SELL)).rejects.toThrow(/timeout/);
      expect(await store.waitingForLocks()).toBe(1);
      expect(await left()).toBe(10);
      await holder.query('COMMIT');
      await until(async () => (await left()) === 9);
      end();
    });

    test.each(BOTH_DRIVERS)(
      'which the adapter calls unknown, and lends that connection to nobody (%s)',
      async (over) => {
        const holder = await lockedRow();
        const sql = store.open({ over, connections: 1, queryTimeoutMs: 500 });
        const first = await sessionOf(sql);
        await expect(run(sql, SELL)).rejects.toMatchObject({ code: 'CONNECTION_LOST', effect: 'unknown' });
        expect(await store.waitingForLocks()).toBe(1);
        const second = await sessionOf(sql);
        expect(second).not.toBe(first);
        await holder.query('COMMIT');
        await until(async () => (await left()) === 9);
        // Nobody was given the late answer for his own.
        expect(await sessionOf(sql)).toBe(second);
      },
    );

    test.each(BOTH_DRIVERS)(
      'in a transaction it is without effect, once the server notices (%s)',
      async (over) => {
        const holder = await lockedRow();
        const sql = store.open({ over, connections: 1, queryTimeoutMs: 500 });
        const transaction = sql.transaction(async (inside) => {
          await run(inside, `INSERT INTO note VALUES ('half')`);
          await run(inside, SELL);
        });
        await expect(transaction).rejects.toMatchObject({ code: 'CONNECTION_LOST', effect: 'none' });
        await holder.query('COMMIT');
        // The row can be locked again only when the abandoned transaction has rolled back.
        await store.query('UPDATE stock SET version = 1 WHERE id = 1');
        expect(await left()).toBe(10);
        expect(await notes()).toEqual([]);
      },
    );
  });
});

/** A client of the bare driver that waits `timeoutMs` for an answer. */
async function impatientClient(timeoutMs: number) {
  if (store.kind === 'postgres') {
    const client = new pg.Client({ connectionString: store.url, query_timeout: timeoutMs });
    client.on('error', () => undefined);
    await client.connect();
    return { giveUp: (text: string) => client.query(text), end: () => void client.end() };
  }
  const connection = await createConnection({ uri: store.url });
  connection.on('error', () => undefined);
  return {
    giveUp: (sql: string) => connection.query({ sql, timeout: timeoutMs }),
    end: () => connection.destroy(),
  };
}

describe('on PostgreSQL', () => {
  onStore('postgres');

  describe('F24: an error inside a transaction', () => {
    test('COMMIT after it answers ROLLBACK, and no error', async () => {
      const bare = await store.connect();
      await bare.begin('READ COMMITTED');
      await bare.query(`INSERT INTO note VALUES ('acknowledged')`);
      await bare.query('SELECT 1/0').catch(() => undefined);
      await expect(bare.query('SELECT 1')).rejects.toMatchObject({ code: '25P02' });
      expect(await bare.query('COMMIT')).toMatchObject({ command: 'ROLLBACK' });
      expect(await notes()).toEqual([]);
    });

    test.each(BOTH_DRIVERS)('through the adapter that COMMIT is an error (%s)', async (over) => {
      const swallowed = store.open({ over }).transaction(async (transaction) => {
        await run(transaction, `INSERT INTO note VALUES ('acknowledged')`);
        await run(transaction, 'SELECT 1/0').catch(() => undefined);
        const rolledBack = { code: 'ROLLED_BACK', effect: 'none' };
        await expect(run(transaction, 'SELECT 1')).rejects.toMatchObject(rolledBack);
      });
      await expect(swallowed).rejects.toMatchObject({ code: 'ROLLED_BACK', effect: 'none' });
      expect(await notes()).toEqual([]);
    });

    test('40001 and 55P03 are a conflict and a time-out, and neither is anything else', async () => {
      const [first, second] = await twoSessions('REPEATABLE READ');
      await readStock(second);
      await first.query('UPDATE stock SET n = 9 WHERE id = 1');
      const noWait = 'SELECT n FROM stock WHERE id = 1 FOR UPDATE NOWAIT';
      await expect(store.query(noWait)).rejects.toMatchObject({ code: '55P03' });
      const sql = store.open();
      await expect(run(sql, noWait)).rejects.toMatchObject({ code: 'LOCK_TIMEOUT', effect: 'none' });
      await first.query('COMMIT');
      await expect(second.query('UPDATE stock SET n = 9 WHERE id = 1')).rejects.toMatchObject({
        code: '40001',
      });

      const conflict = atIsolation(sql, 'REPEATABLE READ').transaction(async (transaction) => {
        await run(transaction, 'SELECT n FROM stock WHERE id = 1');
        await store.query('UPDATE stock SET n = 8 WHERE id = 1');
        await run(transaction, 'UPDATE stock SET n = 7 WHERE id = 1');
      });
      await expect(conflict).rejects.toMatchObject({ code: 'SERIALIZATION_FAILURE', effect: 'none' });
    });
  });

  describe('ON CONFLICT DO NOTHING', () => {
    const lose = async (isolation: 'READ COMMITTED' | 'REPEATABLE READ') => {
      const [first, second] = await twoSessions(isolation);
      await readStock(second);
      await first.query(`INSERT INTO note VALUES ('claim')`);
      await first.query('COMMIT');
      return second.query(`INSERT INTO note VALUES ('claim') ON CONFLICT DO NOTHING`);
    };

    test('inserts no row at READ COMMITTED, and fails with 40001 at REPEATABLE READ', async () => {
      expect((await lose('READ COMMITTED')).affectedRows).toBe(0);
      await store.query('DELETE FROM note');
      await expect(lose('REPEATABLE READ')).rejects.toMatchObject({ code: '40001' });
    });

    test('a claim inside the library’s own transaction is refused, and one at another level is retried', async () => {
      const claim = { table: 'note', key: { text: 'claim' }, values: {} };
      const afterALook = (sql: SqlPort) => {
        let attempts = 0;
        return transactWithRetry(sql, async (transaction) => {
          await run(transaction, 'SELECT 1 FROM stock');
          if (attempts++ === 0) await store.query(`INSERT INTO note VALUES ('claim')`);
          const outcome = await claimUnique(transaction, claim);
          return outcome.outcome === 'done' ? outcome : { ...outcome, attempts };
        });
      };
      const sql = store.open();
      expect(await afterALook(sql)).toMatchObject({ reason: 'in-progress', attempts: 1 });
      await store.query('DELETE FROM note');
      expect(await afterALook(atIsolation(sql, 'REPEATABLE READ'))).toMatchObject({
        reason: 'in-progress',
        attempts: 2,
      });
    });
  });
});

describe.each(['mariadb', 'mariadb-snapshot'] as const)('on MySQL (%s)', (name) => {
  onStore(name);

  describe('F22: select for update, then insert', () => {
    const MISSING = 'SELECT * FROM stock WHERE id = ? FOR UPDATE';
    const INSERT = 'INSERT INTO stock VALUES (?, 0, 0)';

    test('two that lock a missing row both get it, and the second to insert is a deadlock', async () => {
      const [first, second] = await twoSessions('REPEATABLE READ');
      await first.query(MISSING, 100);
      await second.query(MISSING, 101);
      const inserting = first.query(INSERT, 100);
      await until(async () => (await store.waitingForLocks()) === 1);
      await expect(second.query(INSERT, 101)).rejects.toMatchObject({ errno: 1213 });
      await inserting;
      // The victim is outside any transaction now: what it does commits by itself, and is not rolled back.
      await second.query(`INSERT INTO note VALUES ('stays')`);
      await second.query('ROLLBACK');
      expect(await notes()).toEqual(['stays']);
    });

    /** A deadlock over the two rows of stock, of which `victim` is told and which it swallows. */
    async function swallowDeadlock(sql: SqlPort, afterwards: (victim: SqlSession) => Promise<unknown>) {
      const other = await store.connect();
      await other.begin('READ COMMITTED');
      // More than the victim writes, so that the server chooses the victim.
      await other.query(`INSERT INTO note VALUES ('other 1'), ('other 2'), ('other 3')`);
      await other.query('UPDATE stock SET n = 1 WHERE id = 2');
      const victim = sql.transaction(async (transaction) => {
        await run(transaction, 'UPDATE stock SET n = 0 WHERE id = 1');
        const others = other.query('UPDATE stock SET n = 1 WHERE id = 1');
        await until(async () => (await store.waitingForLocks()) === 1);
        await expect(run(transaction, 'UPDATE stock SET n = 0 WHERE id = 2')).rejects.toMatchObject({
          code: 'DEADLOCK',
          effect: 'none',
        });
        await others;
        await afterwards(transaction);
      });
      await victim.finally(() => other.query('ROLLBACK'));
    }

    test.each(BOTH_DRIVERS)(
      'through the adapter nothing passes after it, and nothing stays (%s)',
      async (over) => {
        const rolledBack = { code: 'ROLLED_BACK', effect: 'none' };
        const sql = store.open({ over, connections: 1 });
        const swallowed = swallowDeadlock(sql, async (victim) => {
          await expect(run(victim, `INSERT INTO note VALUES ('stays')`)).rejects.toMatchObject(rolledBack);
          await expect(run(victim, 'SELECT 1')).rejects.toMatchObject(rolledBack);
          await expect(run(victim, 'ROLLBACK TO SAVEPOINT gone')).rejects.toMatchObject(rolledBack);
        });
        await expect(swallowed).rejects.toMatchObject(rolledBack);
        expect(await notes()).toEqual([]);
        await sql.transaction((next) => run(next, `INSERT INTO note VALUES ('next')`));
        expect(await notes()).toEqual(['next']);
      },
    );

    test('at the library’s READ COMMITTED a missing row is nobody’s, so both get through', async () => {
      const bothHaveLooked = barrier(2);
      const sql = store.open();
      await together(2, (racer) =>
        sql.transaction(async (transaction) => {
          await run(transaction, MISSING, 100 + racer);
          await bothHaveLooked();
          await run(transaction, INSERT, 100 + racer);
        }),
      );
      const { rows } = await store.query('SELECT id FROM stock WHERE id >= 100 ORDER BY id');
      expect(rows).toEqual([{ id: 100 }, { id: 101 }]);
    });
  });

  describe('F23: a lock wait that times out', () => {
    const lockSecond = async () => {
      const holder = await store.connect();
      await holder.begin('READ COMMITTED');
      await holder.query('SELECT * FROM stock WHERE id = 2 FOR UPDATE');
    };

    test('undoes its statement alone: swallowed, COMMIT keeps the half', async () => {
      await lockSecond();
      const bare = await store.connect();
      await bare.query('SET SESSION innodb_lock_wait_timeout = 0');
      await bare.begin('READ COMMITTED');
      await bare.query('UPDATE stock SET n = 0 WHERE id = 1');
      await expect(bare.query('UPDATE stock SET n = 20 WHERE id = 2')).rejects.toMatchObject({ errno: 1205 });
      await bare.query('COMMIT');
      expect(await left()).toBe(0);
    });

    test.each(BOTH_DRIVERS)(
      'through the adapter that COMMIT is refused, and keeps nothing (%s)',
      async (over) => {
        await lockSecond();
        const sql = store.open({ over, settings: { innodb_lock_wait_timeout: '0' } });
        const swallowed = sql.transaction(async (transaction) => {
          await run(transaction, 'UPDATE stock SET n = 0 WHERE id = 1');
          await expect(run(transaction, 'UPDATE stock SET n = 20 WHERE id = 2')).rejects.toMatchObject({
            code: 'LOCK_TIMEOUT',
            effect: 'none',
          });
        });
        await expect(swallowed).rejects.toMatchObject({ code: 'ROLLED_BACK', effect: 'none' });
        expect(await left()).toBe(10);
      },
    );

    test('to a savepoint it can be rolled back, and what was before that is kept', async () => {
      await lockSecond();
      const sql = store.open({ settings: { innodb_lock_wait_timeout: '0' } });
      await sql.transaction(async (transaction) => {
        await run(transaction, 'UPDATE stock SET n = 9 WHERE id = 1');
        await run(transaction, 'SAVEPOINT before_second');
        await expect(run(transaction, 'UPDATE stock SET n = 20 WHERE id = 2')).rejects.toMatchObject({
          code: 'LOCK_TIMEOUT',
        });
        await run(transaction, 'ROLLBACK TO SAVEPOINT before_second');
      });
      expect(await left()).toBe(9);
    });
  });

  describe('F27: a false winner, with the driver’s FOUND_ROWS', () => {
    test('an insert that changes nothing, and an update that changes nothing, both report one row', async () => {
      const bare = await store.connect();
      const claim = `INSERT INTO note VALUES ('claim') ON DUPLICATE KEY UPDATE text = text`;
      expect((await bare.query(claim)).affectedRows).toBe(1);
      expect((await bare.query(claim)).affectedRows).toBe(1);
      const sell = 'UPDATE stock SET n = 0 WHERE id = 1';
      expect((await bare.query(sell)).affectedRows).toBe(1);
      expect((await bare.query(sell)).affectedRows).toBe(1);
    });

    test.each(BOTH_DRIVERS)(
      'the claim has one winner, and the update that would have two is refused (%s)',
      async (over) => {
        const sql = store.open({ over });
        const claim = { table: 'note', key: { text: 'claim' }, values: {} };
        expect(await claimUnique(sql, claim)).toEqual(done(undefined));
        expect(await claimUnique(sql, claim)).toMatchObject(refused('in-progress'));
        const sell = { ...STOCK, expect: { n: 10 }, set: { n: 0 } };
        expect(await conditionalUpdate(sql, sell)).toEqual(done(undefined));
        expect(await conditionalUpdate(sql, sell)).toEqual(refused('wrong-state'));
        const noChange = { ...STOCK, expect: { n: 0 }, set: { n: 0 } };
        await expect(conditionalUpdate(sql, noChange)).rejects.toThrow(MisuseError);
      },
    );
  });

  describe('collations', () => {
    const KEYS = ['Abc', 'abc', 'Abc '];
    const TYPES = {
      text: 'varchar(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci',
      binary: 'varchar(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin',
      bytes: 'varbinary(50)',
    };

    beforeAll(async () => {
      for (const [table, type] of Object.entries(TYPES)) {
        await store.query(`CREATE TABLE claim_${table} (claim_key ${type} PRIMARY KEY, owner varchar(20))`);
      }
    });

    const claims = async (table: keyof typeof TYPES) => {
      const outcomes: string[] = [];
      for (const claim_key of KEYS) {
        const claim = { table: `claim_${table}`, key: { claim_key }, values: { owner: claim_key } };
        outcomes.push((await claimUnique(store.open(), claim)).outcome);
      }
      return outcomes;
    };

    test('take Abc, abc and "Abc " for one key, and utf8mb4_bin still takes two of them for one', async () => {
      expect(await claims('text')).toEqual(['done', 'refused', 'refused']);
      expect(await claims('binary')).toEqual(['done', 'done', 'refused']);
    });

    test('a VARBINARY key is exact', async () => {
      expect(await claims('bytes')).toEqual(['done', 'done', 'done']);
    });
  });

  describe('a number for a key that is text', () => {
    const release = (claim_key: string | number) =>
      releaseClaim(store.open(), { table: 'claimed', key: { claim_key }, owner: { owner: 'me' } });

    beforeAll(() =>
      store.query('CREATE TABLE claimed (claim_key varbinary(50) PRIMARY KEY, owner varchar(9))'),
    );
    beforeEach(async () => {
      await store.query(`REPLACE INTO claimed VALUES ('pay-1', 'me'), ('pay-2', 'me')`);
    });

    test('matches every key that does not begin with a digit, in the text and as a parameter', async () => {
      const bare = await store.connect();
      expect((await bare.query('SELECT * FROM claimed WHERE claim_key = 0')).rows).toHaveLength(2);
      expect((await bare.query('SELECT * FROM claimed WHERE claim_key = ?', 0)).rows).toHaveLength(2);
    });

    test('so a guard protects its row only where the key is of its column’s type', async () => {
      expect(await release('0')).toEqual(refused('fenced'));
      expect((await store.query('SELECT * FROM claimed')).rows).toHaveLength(2);
      expect(await release(0)).toEqual(done(undefined));
      expect((await store.query('SELECT * FROM claimed')).rows).toHaveLength(0);
    });
  });
});
