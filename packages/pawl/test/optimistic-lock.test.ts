import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { barrier, together, until } from '../../../test/barrier.ts';
import {
  conditionalUpdate,
  done,
  MisuseError,
  refused,
  type SqlSession,
  transact,
  transactWithRetry,
  type Version,
  verifyVersion,
  versionedUpdate,
} from '../src/index.ts';
import { mysql } from '../src/mysql/index.ts';
import { sqlStores } from './stores.ts';
import { count, FAST_RETRY, onTickets, RACERS, run, sql, store, TICKET, ticketRow } from './tickets.ts';

// By the manual of MySQL 8 text and an integer are compared as DOUBLE. MariaDB compares them exactly, so it cannot show it.
test('on MySQL, a version is compared as DECIMAL and not as text', () => {
  const beyondNumbers = { ...TICKET, expect: { version: 9_007_199_254_740_993n }, set: { status: 'sold' } };
  expect(mysql.conditionalUpdate(beyondNumbers)).toEqual({
    text: 'UPDATE `ticket` SET `status` = ? WHERE `id` = ? AND `version` = CAST(? AS DECIMAL(20))',
    values: ['sold', 1, 9_007_199_254_740_993n],
  });
});

describe.each(sqlStores)('%s', (name) => {
  onTickets(name);

  const readVersion = async (session: SqlSession = sql): Promise<number> =>
    Number((await run(session, 'SELECT version FROM ticket WHERE id = 1')).rows[0]?.version);

  describe('optimistic lock', () => {
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

  describe('forced increment', () => {
    const force = (value: number) =>
      versionedUpdate(sql, { ...TICKET, version: { column: 'version', value }, set: {} });

    test('of 50 who decide on the same version and change nothing else, one gets through', async () => {
      const outcomes = await together(RACERS, () => force(0));
      expect(count(outcomes, 'done')).toBe(1);
      expect(outcomes.filter((one) => one.outcome === 'refused')).toEqual(
        Array(RACERS - 1).fill(refused('contended')),
      );
      expect(await ticketRow()).toEqual({ status: 'free', version: 1, buyer: null });
    });

    test('the version that is counted up cannot be set too', async () => {
      const both = { ...TICKET, version: { column: 'version', value: 0 }, set: { version: 9 } };
      await expect(versionedUpdate(sql, both)).rejects.toThrow(MisuseError);
      expect(await ticketRow()).toMatchObject({ version: 0 });
    });
  });

  describe('a version of 64 bits', () => {
    const BEYOND_NUMBERS = '9007199254740993';
    const stored = async () => String((await run(sql, 'SELECT version FROM big')).rows[0]?.version);
    const update = <Value extends Version>(value: Value) =>
      versionedUpdate(sql, { table: 'big', key: { id: 1 }, version: { column: 'version', value }, set: {} });

    beforeAll(() => store.query('CREATE TABLE big (id int PRIMARY KEY, version bigint NOT NULL)'));
    beforeEach(async () => {
      await store.query('DELETE FROM big');
      await store.query(`INSERT INTO big VALUES (1, ${BEYOND_NUMBERS})`);
    });

    test('made a number, is taken for another', async () => {
      const number = Number(await stored());
      const counted = await run(
        sql,
        'UPDATE big SET version = version + 1 WHERE version = ?',
        BigInt(number),
      );
      expect(counted.affectedRows).toBe(0);
      await expect(update(number)).rejects.toThrow(MisuseError);
    });

    test.each([
      { type: 'text', current: BEYOND_NUMBERS, stale: '9007199254740992', next: '9007199254740994' },
      {
        type: 'bigint',
        current: 9_007_199_254_740_993n,
        stale: 9_007_199_254_740_992n,
        next: 9_007_199_254_740_994n,
      },
    ])('as $type, keeps every digit and its type', async ({ current, stale, next }) => {
      expect(await update(stale)).toEqual(refused('contended'));
      expect(await update(current)).toEqual(done({ version: next }));
      expect(await stored()).toBe(String(next));
      expect(await update(current)).toEqual(refused('contended'));
    });

    test('as the driver gives it, can be given back', async () => {
      const { rows } = await run(sql, 'SELECT version FROM big');
      expect(await update(rows[0]?.version as string)).toEqual(done({ version: '9007199254740994' }));
    });

    test('that fits a number is one again', async () => {
      await store.query('UPDATE big SET version = 7');
      expect(await update(7)).toEqual(done({ version: 8 }));
    });

    test('that is no whole number is refused', async () => {
      for (const value of [1.5, Number.NaN, 2 ** 53, Infinity, '', ' 1', '1.0', '0x10', '1e3', 'abc']) {
        await expect(update(value)).rejects.toThrow(MisuseError);
      }
      expect(await stored()).toBe(BEYOND_NUMBERS);
    });
  });

  describe('a version that is verified', () => {
    const check = (value: Version, id = 1) => ({
      table: 'ticket',
      key: { id },
      version: { column: 'version', value },
    });
    const sell = (id = 1) =>
      conditionalUpdate(sql, {
        table: 'ticket',
        key: { id },
        expect: { status: 'free' },
        set: { status: 'sold' },
        increment: 'version',
      });

    test('with a plain read instead, the row changes between the look and the commit', async () => {
      await sql.transaction(async (transaction) => {
        expect(await readVersion(transaction)).toBe(0);
        expect(await sell()).toEqual(done(undefined));
      });
    });

    test('does not change before the commit: a writer waits for it', async () => {
      const [verified, commit] = [barrier(2), barrier(2)];
      const reader = transact(sql, async (transaction) => {
        const outcome = await verifyVersion(transaction, check(0));
        await verified();
        await commit();
        return outcome;
      });
      await verified();
      const writer = sell();
      await until(async () => (await store.waitingForLocks()) === 1);
      await commit();
      expect(await reader).toEqual(done(undefined));
      expect(await writer).toEqual(done(undefined));
    });

    test('two verify the same row side by side', async () => {
      const both = barrier(2);
      const outcomes = await together(2, () =>
        transact(sql, async (transaction) => {
          const outcome = await verifyVersion(transaction, check('0'));
          await both();
          return outcome;
        }),
      );
      expect(outcomes).toEqual([done(undefined), done(undefined)]);
    });

    test('is contended where the row has changed, or is gone', async () => {
      const verify = () => transact(sql, (transaction) => verifyVersion(transaction, check(0)));
      await sell();
      expect(await verify()).toEqual(refused('contended'));
      await store.query('DELETE FROM ticket WHERE id = 1');
      expect(await verify()).toEqual(refused('contended'));
    });

    test('is contended where a change under way commits, and done where it rolls back', async () => {
      for (const [end, outcome] of [
        ['ROLLBACK', done(undefined)],
        ['COMMIT', refused('contended')],
      ] as const) {
        const writer = await store.connect();
        await writer.begin('READ COMMITTED');
        await writer.query('UPDATE ticket SET version = version + 1 WHERE id = 1');
        const verified = transact(sql, (transaction) => verifyVersion(transaction, check(0)));
        await until(async () => (await store.waitingForLocks()) === 1);
        await writer.query(end);
        expect(await verified).toEqual(outcome);
      }
    });

    test('that is no whole number is refused', async () => {
      const verify = transact(sql, (transaction) => verifyVersion(transaction, check('x')));
      await expect(verify).rejects.toThrow(MisuseError);
    });

    /** Each of two sells his ticket if the other's is free: together they sell both, which neither would have wanted. */
    function sellIfTheOtherIsFree(verify: boolean) {
      const bothHaveLooked = barrier(2);
      const attempts = [0, 0];
      return together(2, (racer) => {
        const [mine, other] = racer === 0 ? [1, 2] : [2, 1];
        return transactWithRetry(
          sql,
          async (transaction) => {
            attempts[racer] = (attempts[racer] ?? 0) + 1;
            const text = 'SELECT id, status, version FROM ticket ORDER BY id';
            const { rows } = await run(transaction, text);
            if (attempts[racer] === 1) await bothHaveLooked();
            const theirs = rows[other - 1];
            if (theirs?.status !== 'free') return refused('wrong-state');
            const version = { column: 'version', value: Number(rows[mine - 1]?.version) };
            const row = { table: 'ticket', key: { id: mine } };
            const sold = await versionedUpdate(transaction, { ...row, version, set: { status: 'sold' } });
            if (sold.outcome !== 'done' || !verify) return sold;
            return verifyVersion(transaction, check(Number(theirs.version), other));
          },
          FAST_RETRY,
        );
      });
    }

    test('without it, two that decide on each other’s row both go through', async () => {
      expect(count(await sellIfTheOtherIsFree(false), 'done')).toBe(2);
    });

    test('with it one does, and the other sees what has become of the row', async () => {
      const outcomes = await sellIfTheOtherIsFree(true);
      expect(count(outcomes, 'done')).toBe(1);
      expect(outcomes.filter((one) => one.outcome === 'refused')).toEqual([refused('wrong-state')]);
    });
  });
});
