import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { barrier, together, until } from '../../../test/barrier.ts';
import { newDatabase } from '../../../test/stores.ts';
import { pgPort } from '../src/adapters/pg.ts';
import {
  claimUnique,
  conditionalUpdate,
  done,
  lockRow,
  MisuseError,
  refused,
  releaseClaim,
  type SqlPort,
  StoreError,
  transact,
  versionedUpdate,
  withOptimisticRetry,
  withRowLock,
} from '../src/index.ts';

const RACERS = 50;
const TICKET = { table: 'ticket', key: { id: 1 } };

let pool: pg.Pool;
let sql: SqlPort;

beforeAll(async () => {
  pool = new pg.Pool({
    connectionString: await newDatabase(),
    max: RACERS,
    // A test that fails in the middle of a transaction must not hold up those after it.
    idle_in_transaction_session_timeout: 5_000,
  });
  sql = pgPort(pool);
  await pool.query(`
    CREATE TABLE ticket (id int PRIMARY KEY, status text NOT NULL, version int NOT NULL, buyer text);
    CREATE TABLE claim (key text PRIMARY KEY, order_id text UNIQUE, owner text NOT NULL)`);
});

afterAll(() => pool.end());

beforeEach(async () => {
  await pool.query(`TRUNCATE ticket, claim; INSERT INTO ticket VALUES (1, 'free', 0, NULL)`);
});

const count = (outcomes: { outcome: string }[], outcome: string) =>
  outcomes.filter((one) => one.outcome === outcome).length;

async function status(): Promise<unknown> {
  return (await pool.query('SELECT status FROM ticket WHERE id = 1')).rows[0].status;
}

describe('conditional update', () => {
  test('without a guard, 50 buyers of one ticket all believe they have it', async () => {
    const everybodyHasLooked = barrier(RACERS);
    const bought = await together(RACERS, async (buyer) => {
      const { rows } = await pool.query('SELECT status FROM ticket WHERE id = 1');
      await everybodyHasLooked();
      if (rows[0].status !== 'free') return false;
      await pool.query(`UPDATE ticket SET status = 'sold', buyer = $1 WHERE id = 1`, [String(buyer)]);
      return true;
    });
    expect(bought.filter(Boolean)).toHaveLength(RACERS);
  });

  test('with it, one buyer wins and 49 are refused', async () => {
    const everybodyHasLooked = barrier(RACERS);
    const outcomes = await together(RACERS, async (buyer) => {
      await pool.query('SELECT status FROM ticket WHERE id = 1');
      await everybodyHasLooked();
      const set = { status: 'sold', buyer: String(buyer) };
      return conditionalUpdate(sql, { ...TICKET, expect: { status: 'free' }, set });
    });
    expect(count(outcomes, 'done')).toBe(1);
    expect(outcomes.filter((one) => one.outcome === 'refused')).toEqual(
      Array(49).fill(refused('wrong-state')),
    );
    const { rows } = await pool.query('SELECT buyer FROM ticket WHERE id = 1');
    expect(rows[0].buyer).toBe(String(outcomes.findIndex((one) => one.outcome === 'done')));
  });

  test('a racer that waited for another transaction reads the condition again', async () => {
    const first = await pool.connect();
    try {
      await first.query(`BEGIN; UPDATE ticket SET status = 'sold' WHERE id = 1`);
      const second = conditionalUpdate(sql, {
        ...TICKET,
        expect: { status: 'free' },
        set: { status: 'sold' },
      });
      await until(async () => (await waitingForLocks()) === 1);
      await first.query('COMMIT');
      expect(await second).toEqual(refused('wrong-state'));
    } finally {
      first.release();
    }
  });

  test('null is a value to expect and to set', async () => {
    const taken = { ...TICKET, expect: { buyer: null }, set: { buyer: 'a' } };
    expect(await conditionalUpdate(sql, taken)).toEqual(done(undefined));
    expect(await conditionalUpdate(sql, taken)).toEqual(refused('wrong-state'));
    expect(await conditionalUpdate(sql, { ...TICKET, expect: { buyer: 'a' }, set: { buyer: null } })).toEqual(
      done(undefined),
    );
  });

  test('a column cannot be given twice: it would name another row', async () => {
    const twice = { ...TICKET, expect: { id: 2 }, set: { status: 'x' } };
    await expect(conditionalUpdate(sql, twice)).rejects.toThrow(MisuseError);
    const claim = { table: 'claim', key: { key: 'a' }, values: { key: 'b', owner: 'x' } };
    await expect(claimUnique(sql, claim)).rejects.toThrow(MisuseError);
  });

  test('names that are not plain, and a row without a key, are refused before anything is sent', async () => {
    const attempts = [
      { ...TICKET, expect: { 'status" = 1; --': 1 }, set: { status: 'x' } },
      { table: 'ticket; DROP TABLE ticket', key: { id: 1 }, expect: {}, set: { status: 'x' } },
      { table: 'ticket', key: {}, expect: {}, set: { status: 'x' } },
    ];
    for (const attempt of attempts) {
      await expect(conditionalUpdate(sql, attempt)).rejects.toThrow(MisuseError);
    }
    expect(await status()).toBe('free');
  });
});

describe('unique claim', () => {
  const claim = (owner: string) => ({
    table: 'claim',
    key: { key: 'pay-1' },
    values: { owner, order_id: 'o1' },
  });

  test('of 50 racers one claims the key, and 49 are told who holds it', async () => {
    const outcomes = await together(RACERS, (racer) => claimUnique(sql, claim(String(racer))));
    expect(count(outcomes, 'done')).toBe(1);
    const winner = String(outcomes.findIndex((one) => one.outcome === 'done'));
    for (const outcome of outcomes.filter((one) => one.outcome === 'refused')) {
      expect(outcome).toMatchObject({ reason: 'in-progress', holder: { owner: winner } });
    }
  });

  test('without the unique key, 50 racers who look first all claim it', async () => {
    await pool.query('CREATE TABLE IF NOT EXISTS plain_claim (key text, owner text); TRUNCATE plain_claim');
    const everybodyHasLooked = barrier(RACERS);
    await together(RACERS, async (racer) => {
      const { rows } = await pool.query(`SELECT 1 FROM plain_claim WHERE key = 'pay-1'`);
      await everybodyHasLooked();
      if (rows.length === 0) await pool.query(`INSERT INTO plain_claim VALUES ('pay-1', $1)`, [racer]);
    });
    expect((await pool.query('SELECT * FROM plain_claim')).rows).toHaveLength(RACERS);
  });

  test('another unique column of the row refuses too', async () => {
    await claimUnique(sql, claim('a'));
    const second = { table: 'claim', key: { key: 'pay-2' }, values: { owner: 'b', order_id: 'o1' } };
    expect(await claimUnique(sql, second)).toEqual({ ...refused('in-progress'), holder: undefined });
  });

  test('a claim whose transaction rolls back is free again, and whoever waited for it wins', async () => {
    const claimed = barrier(2);
    const rollBack = barrier(2);
    const first = transact(sql, async (transaction) => {
      await claimUnique(transaction, claim('a'));
      await claimed();
      await rollBack();
      return refused('declined');
    });
    await claimed();
    const second = claimUnique(sql, claim('b'));
    await until(async () => (await waitingForLocks()) === 1);
    await rollBack();
    expect(await first).toEqual(refused('declined'));
    expect(await second).toEqual(done(undefined));
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
  const readVersion = async (): Promise<number> =>
    (await pool.query('SELECT version FROM ticket WHERE id = 1')).rows[0].version;
  const versioned = (value: number) => ({
    ...TICKET,
    version: { column: 'version', value },
    set: { status: 'sold' },
  });

  test('of 50 racers that read the same version one writes, and the version grows by one', async () => {
    const everybodyHasRead = barrier(RACERS);
    const outcomes = await together(RACERS, async () => {
      const version = await readVersion();
      await everybodyHasRead();
      return versionedUpdate(sql, versioned(version));
    });
    expect(count(outcomes, 'done')).toBe(1);
    expect(count(outcomes, 'refused')).toBe(RACERS - 1);
    expect(await readVersion()).toBe(1);
  });

  test('with the retry around the transaction, every one of 20 increments lands', async () => {
    const outcomes = await together(20, () =>
      withOptimisticRetry(
        sql,
        async (transaction) => {
          const { rows } = await transaction.execute({ text: 'SELECT version FROM ticket', values: [] });
          return versionedUpdate(transaction, versioned(Number(rows[0]?.version)));
        },
        { attempts: 200, backoffMs: 1, maxBackoffMs: 20, jitter: 1 },
      ),
    );
    expect(count(outcomes, 'done')).toBe(20);
    expect(await readVersion()).toBe(20);
  });

  test('each attempt has a transaction of its own, and what a lost one wrote is rolled back', async () => {
    let attempts = 0;
    const outcome = await withOptimisticRetry(
      sql,
      async (transaction) => {
        attempts++;
        await transaction.execute({
          text: `INSERT INTO claim VALUES ($1, NULL, 'x')`,
          values: [`k${attempts}`],
        });
        return attempts < 3 ? refused('contended') : done(attempts);
      },
      { attempts: 5, backoffMs: 1, maxBackoffMs: 1, jitter: 0 },
    );
    expect(outcome).toEqual(done(3));
    expect((await pool.query('SELECT key FROM claim')).rows).toEqual([{ key: 'k3' }]);
  });

  test('a change that does not count the version up lets a stale reader win; one that does, does not', async () => {
    const expect_ = { status: 'free' };
    const version = await readVersion();
    await conditionalUpdate(sql, { ...TICKET, expect: expect_, set: { status: 'held' } });
    expect(await versionedUpdate(sql, versioned(version))).toMatchObject({ outcome: 'done' });

    await pool.query(`UPDATE ticket SET status = 'free', version = 0`);
    await conditionalUpdate(sql, {
      ...TICKET,
      expect: expect_,
      set: { status: 'held' },
      increment: 'version',
    });
    expect(await versionedUpdate(sql, versioned(0))).toEqual(refused('contended'));
  });

  test('a number of attempts that would never try is refused', async () => {
    for (const attempts of [0, -1, Number.NaN, 1.5]) {
      const retry = { attempts, backoffMs: 1, maxBackoffMs: 1, jitter: 0 };
      await expect(withOptimisticRetry(sql, async () => done(1), retry)).rejects.toThrow(MisuseError);
    }
  });

  test('it gives up after its attempts, and another refusal is final at once', async () => {
    const retry = { attempts: 3, backoffMs: 1, maxBackoffMs: 1, jitter: 0 };
    let attempts = 0;
    const contended = async () => {
      attempts++;
      return refused('contended');
    };
    expect(await withOptimisticRetry(sql, contended, retry)).toEqual(refused('contended'));
    expect(attempts).toBe(3);
    const wrongState = async () => {
      attempts++;
      return refused('wrong-state');
    };
    expect(await withOptimisticRetry(sql, wrongState, retry)).toEqual(refused('wrong-state'));
    expect(attempts).toBe(4);
  });

  test('a deadlock is tried again', async () => {
    await pool.query(`INSERT INTO ticket VALUES (2, 'free', 0, NULL)`);
    const bothHoldOne = barrier(2);
    const transactions: number[] = [0, 0];
    const lockBoth = (racer: number, ids: [number, number]) =>
      withOptimisticRetry(sql, async (transaction) => {
        const attempt = (transactions[racer] ?? 0) + 1;
        transactions[racer] = attempt;
        for (const id of ids) {
          await transaction.execute({
            text: 'UPDATE ticket SET version = version + 1 WHERE id = $1',
            values: [id],
          });
          if (attempt === 1) await bothHoldOne();
        }
        return done(undefined);
      });
    const outcomes = await Promise.all([lockBoth(0, [1, 2]), lockBoth(1, [2, 1])]);
    expect(count(outcomes, 'done')).toBe(2);
    expect(transactions.toSorted()).toEqual([1, 2]);
    expect((await pool.query('SELECT version FROM ticket ORDER BY id')).rows).toEqual([
      { version: 2 },
      { version: 2 },
    ]);
  });
});

describe('pessimistic lock', () => {
  const lock = { ...TICKET, columns: ['status'], waitMs: 10_000 };
  const buy = (waitMs = 10_000) =>
    withRowLock(sql, { ...lock, waitMs }, async (row, transaction) => {
      if (row.status !== 'free') return refused('already-done');
      await transaction.execute({ text: `UPDATE ticket SET status = 'sold' WHERE id = 1`, values: [] });
      return done(undefined);
    });

  test('50 racers look under the lock one after another: one buys', async () => {
    const outcomes = await together(RACERS, () => buy());
    expect(count(outcomes, 'done')).toBe(1);
    expect(count(outcomes, 'refused')).toBe(RACERS - 1);
  });

  test('with the status in the condition, a loser finds no row', async () => {
    await pool.query(`UPDATE ticket SET status = 'sold'`);
    const locked = { ...lock, expect: { status: 'free' } };
    expect(await withRowLock(sql, locked, async () => done(undefined))).toEqual(refused('wrong-state'));
  });

  test('a racer that waited finds no row when the holder has changed the status', async () => {
    const locked = barrier(2);
    const commit = barrier(2);
    const holder = withRowLock(sql, { ...lock, expect: { status: 'free' } }, async (_row, transaction) => {
      await locked();
      await commit();
      await transaction.execute({ text: `UPDATE ticket SET status = 'sold' WHERE id = 1`, values: [] });
      return done(undefined);
    });
    await locked();
    const waiter = withRowLock(sql, { ...lock, expect: { status: 'free' } }, async () => done(undefined));
    await until(async () => (await waitingForLocks()) === 1);
    await commit();
    expect(await holder).toEqual(done(undefined));
    expect(await waiter).toEqual(refused('wrong-state'));
  });

  test.each([0, 50])('past a wait limit of %i ms it is refused, and holds nothing', async (waitMs) => {
    const holder = await pool.connect();
    try {
      await holder.query('BEGIN; SELECT * FROM ticket FOR UPDATE');
      expect(await buy(waitMs)).toEqual(refused('lock-timeout'));
      await holder.query('ROLLBACK');
      expect(await buy(waitMs)).toEqual(done(undefined));
    } finally {
      holder.release();
    }
  });

  test('a wait that times out later, inside the work, is an error and not a refusal', async () => {
    const holder = await pool.connect();
    try {
      await pool.query(`INSERT INTO ticket VALUES (2, 'free', 0, NULL)`);
      await holder.query('BEGIN; SELECT * FROM ticket WHERE id = 2 FOR UPDATE');
      const attempt = withRowLock(sql, { ...lock, waitMs: 50 }, async (_row, transaction) => {
        await transaction.execute({ text: 'UPDATE ticket SET version = 1 WHERE id = 2', values: [] });
        return done(undefined);
      });
      await expect(attempt).rejects.toMatchObject({ code: 'LOCK_TIMEOUT', effect: 'none' });
    } finally {
      await holder.query('ROLLBACK');
      holder.release();
    }
  });

  test('the wait limit ends with its transaction', async () => {
    const single = new pg.Pool({ ...pool.options, max: 1 });
    try {
      await withRowLock(pgPort(single), { ...lock, waitMs: 77 }, async () => done(undefined));
      expect((await single.query('SHOW lock_timeout')).rows).toEqual([{ lock_timeout: '0' }]);
    } finally {
      await single.end();
    }
  });

  test('a refusal inside rolls back what was written under the lock', async () => {
    const outcome = await withRowLock(sql, lock, async (_row, transaction) => {
      await transaction.execute({ text: `UPDATE ticket SET status = 'sold' WHERE id = 1`, values: [] });
      return refused('declined');
    });
    expect(outcome).toEqual(refused('declined'));
    expect(await status()).toBe('free');
  });

  test('a wait that is not a whole number of milliseconds is refused', async () => {
    for (const waitMs of [-1, 0.5, Number.NaN]) {
      await expect(
        sql.transaction((transaction) => lockRow(transaction, { ...lock, waitMs })),
      ).rejects.toThrow(MisuseError);
    }
  });
});

test('StoreError tells a lost answer from a refusal of the server', async () => {
  const unknownTable = sql.execute({ text: 'SELECT * FROM nowhere', values: [] });
  await expect(unknownTable).rejects.toMatchObject({ name: 'StoreError', code: 'REJECTED', effect: 'none' });
  const duplicate = sql.execute({ text: `INSERT INTO ticket VALUES (1, 'x', 0, NULL)`, values: [] });
  await expect(duplicate).rejects.toBeInstanceOf(StoreError);
  await expect(duplicate).rejects.toMatchObject({ code: 'DUPLICATE_KEY', effect: 'none' });
});

async function waitingForLocks(): Promise<number> {
  const { rows } = await pool.query(
    `SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
  );
  return rows[0].n;
}
