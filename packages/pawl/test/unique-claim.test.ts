import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { barrier, together, until } from '../../../test/barrier.ts';
import {
  claimUnique,
  done,
  MisuseError,
  refused,
  releaseClaim,
  renewClaim,
  retryOnConflict,
  type SqlSession,
  type SqlTransaction,
  sweepClaims,
  transact,
  transactWithRetry,
} from '../src/index.ts';
import { sqlStores } from './stores.ts';
import { count, FAST_RETRY, onTickets, RACERS, run, sql, store, ticketRow } from './tickets.ts';

describe.each(sqlStores)('%s', (name) => {
  onTickets(name);

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

    test('a key with half of a character is an error: two that differ would be one', async () => {
      for (const claim_key of ['k\ud800', 'k\ud801']) {
        const halved = { ...claim('a'), key: { claim_key } };
        await expect(claimUnique(sql, halved)).rejects.toMatchObject({ code: 'REJECTED', effect: 'none' });
      }
      expect((await store.query('SELECT * FROM claim')).rows).toEqual([]);
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

  describe('claim that expires', () => {
    const LEASE_MS = 60_000;
    const expiry = { column: 'expires_at', leaseMs: LEASE_MS };
    const ref = { table: 'lease', key: { claim_key: 'pay-1' } };
    const lease = (owner: string, order_id = `order of ${owner}`) => ({
      ...ref,
      values: { owner, order_id },
      expiry,
    });
    const owned = (owner: string) => ({ ...ref, owner: { owner }, expiry });

    const NOW = { postgres: 'clock_timestamp()', mysql: 'UTC_TIMESTAMP(6)' };
    const now = () => NOW[store.kind];
    const later = () => `${now()} + INTERVAL '1' MINUTE`;
    const earlier = (seconds: number) => `${now()} - INTERVAL '${seconds}' SECOND`;

    /** Moves the lease's end into the past, as the time would. */
    const letTheLeaseEnd = (key = 'pay-1', secondsAgo = 1) =>
      store.query(`UPDATE lease SET expires_at = ${earlier(secondsAgo)} WHERE claim_key = ?`, key);
    const owners = async () =>
      (await store.query('SELECT owner FROM lease ORDER BY claim_key')).rows.map(({ owner }) => owner);
    /** Seconds until the lease ends, by the store. */
    const secondsLeft = async () => {
      const text =
        store.kind === 'postgres'
          ? 'SELECT extract(epoch FROM expires_at - clock_timestamp()) AS s FROM lease'
          : 'SELECT TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), expires_at) / 1000000 AS s FROM lease';
      return Number((await store.query(text)).rows[0]?.s);
    };

    /** The session, which waits for `gate` before each of its UPDATEs: before it takes over, having seen a lease over. */
    const pausedBeforeUpdate = <Session extends SqlSession>(
      session: Session,
      gate: () => Promise<unknown>,
    ): Session => ({
      ...session,
      execute: async (statement) => {
        if (statement.text.startsWith('UPDATE')) await gate();
        return session.execute(statement);
      },
    });

    /** A racer has found the lease of `a` over, and takes it over after `meanwhile`. */
    async function takeOverLate(meanwhile: () => Promise<unknown>, afterwards?: () => Promise<void>) {
      await claimUnique(sql, lease('a'));
      await letTheLeaseEnd();
      const [seen, go] = [barrier(2), barrier(2)];
      const gate = async () => {
        await seen();
        await go();
      };
      const taking = claimUnique(pausedBeforeUpdate(sql, gate), lease('b'));
      await Promise.race([seen(), taking]);
      await meanwhile();
      await go();
      await afterwards?.();
      return taking;
    }

    beforeAll(async () => {
      const moment = store.kind === 'postgres' ? 'timestamptz' : 'datetime(6)';
      await store.query(
        `CREATE TABLE lease (claim_key varchar(50) PRIMARY KEY, order_id varchar(50) UNIQUE,
         owner varchar(20) NOT NULL, expires_at ${moment} NULL)`,
      );
      await store.query('CREATE INDEX lease_end ON lease (expires_at)');
    });
    beforeEach(() => store.query('DELETE FROM lease'));

    test('without an expiry, a claim whose holder died is nobody else’s for ever', async () => {
      const { expiry: _, ...forEver } = lease('dead');
      await claimUnique(sql, forEver);
      expect(await claimUnique(sql, lease('b'))).toMatchObject({
        holder: { owner: 'dead', expires_at: null },
      });
      expect(await owners()).toEqual(['dead']);
    });

    test('with it, the next one takes it over when the lease is over, with all that it says', async () => {
      await claimUnique(sql, lease('dead'));
      expect(await claimUnique(sql, lease('b'))).toMatchObject({ holder: { owner: 'dead' } });
      await letTheLeaseEnd();
      expect(await claimUnique(sql, lease('b'))).toEqual(done(undefined));
      const { rows } = await store.query('SELECT * FROM lease');
      expect(rows).toMatchObject([{ owner: 'b', order_id: 'order of b' }]);
      expect(await secondsLeft()).toBeGreaterThan(0);
    });

    test('the lease is counted by the store', async () => {
      const clock = async () => (await store.query(`SELECT ${now()} AS now`)).rows[0]?.now as Date;
      const before = await clock();
      await claimUnique(sql, lease('a'));
      const after = await clock();
      const end = (await store.query('SELECT expires_at FROM lease')).rows[0]?.expires_at as Date;
      expect(end.getTime()).toBeGreaterThanOrEqual(before.getTime() + LEASE_MS);
      expect(end.getTime()).toBeLessThanOrEqual(after.getTime() + LEASE_MS);
    });

    test('the holder is told as the table has him', async () => {
      await claimUnique(sql, lease('a'));
      const outcome = await claimUnique(sql, lease('b'));
      const { rows } = await run(sql, 'SELECT * FROM lease');
      expect(outcome).toEqual({ ...refused('in-progress'), holder: rows[0] });
    });

    test('without the condition, 50 who have seen the lease over all take it', async () => {
      await claimUnique(sql, lease('dead'));
      await letTheLeaseEnd();
      const everybodyHasLooked = barrier(RACERS);
      const taken = await together(RACERS, async (racer) => {
        const { rows } = await run(sql, `SELECT 1 FROM lease WHERE expires_at <= ${now()}`);
        await everybodyHasLooked();
        if (rows.length === 0) return false;
        await run(sql, `UPDATE lease SET owner = ? WHERE claim_key = 'pay-1'`, String(racer));
        return true;
      });
      expect(taken.filter(Boolean)).toHaveLength(RACERS);
    });

    test('with it, of 50 who have seen it over one takes it, and 49 are told who', async () => {
      await claimUnique(sql, lease('dead'));
      await letTheLeaseEnd();
      const gate = barrier(RACERS);
      const outcomes = await together(RACERS, (racer) =>
        claimUnique(pausedBeforeUpdate(sql, gate), lease(String(racer))),
      );
      expect(count(outcomes, 'done')).toBe(1);
      const winner = String(outcomes.findIndex((one) => one.outcome === 'done'));
      for (const outcome of outcomes.filter((one) => one.outcome === 'refused')) {
        expect(outcome).toMatchObject({ reason: 'in-progress', holder: { owner: winner } });
      }
      expect(await owners()).toEqual([winner]);
    });

    test('released after it was seen over, it is nobody’s: the racer is refused, and may try again', async () => {
      const outcome = await takeOverLate(() => releaseClaim(sql, owned('a')));
      expect(outcome).toEqual({ ...refused('in-progress'), holder: undefined });
      expect(await claimUnique(sql, lease('b'))).toEqual(done(undefined));
    });

    test('released after it refused the insert, it is nobody’s either', async () => {
      await claimUnique(sql, lease('a'));
      const releasedFirst: SqlSession = {
        ...sql,
        execute: async (statement) => {
          if (statement.text.startsWith('SELECT')) await releaseClaim(sql, owned('a'));
          return sql.execute(statement);
        },
      };
      const outcome = await claimUnique(releasedFirst, lease('b'));
      expect(outcome).toEqual({ ...refused('in-progress'), holder: undefined });
    });

    test('renewed after it was seen over, it stays its holder’s', async () => {
      const outcome = await takeOverLate(() => renewClaim(sql, owned('a')));
      expect(outcome).toMatchObject({ reason: 'in-progress', holder: { owner: 'a' } });
      expect(await owners()).toEqual(['a']);
    });

    test.each([
      { end: 'COMMIT', outcome: { reason: 'in-progress', holder: { owner: 'a' } } },
      { end: 'ROLLBACK', outcome: { outcome: 'done' } },
    ])('a takeover that waited for a renewal reads the condition again ($end)', async ({ end, outcome }) => {
      const holder = await store.connect();
      const taking = await takeOverLate(
        async () => {
          await holder.begin('READ COMMITTED');
          await holder.query(`UPDATE lease SET expires_at = ${later()} WHERE claim_key = 'pay-1'`);
        },
        async () => {
          await until(async () => (await store.waitingForLocks()) === 1);
          await holder.query(end);
        },
      );
      expect(taking).toMatchObject(outcome);
    });

    test.each([
      { end: 'COMMIT', outcome: refused('fenced'), owner: 'b' },
      { end: 'ROLLBACK', outcome: done(undefined), owner: 'a' },
    ])(
      'a renewal that waited for a takeover reads its owner again ($end)',
      async ({ end, outcome, owner }) => {
        await claimUnique(sql, lease('a'));
        await letTheLeaseEnd();
        const successor = await store.connect();
        await successor.begin('READ COMMITTED');
        await successor.query(`UPDATE lease SET owner = 'b', expires_at = ${later()}`);
        const renewing = renewClaim(sql, owned('a'));
        await until(async () => (await store.waitingForLocks()) === 1);
        await successor.query(end);
        expect(await renewing).toEqual(outcome);
        expect(await owners()).toEqual([owner]);
      },
    );

    /** Two in transactions have both found the lease over, and both go on to take it. */
    async function twoTakers() {
      await claimUnique(sql, lease('dead'));
      await letTheLeaseEnd();
      const gate = barrier(2);
      return (transaction: SqlTransaction, racer: number) =>
        claimUnique(pausedBeforeUpdate(transaction, gate), lease(String(racer)));
    }

    test('two takers in transactions: one wins, and on MySQL the other meets a deadlock', async () => {
      const take = await twoTakers();
      const results = await Promise.allSettled(
        [0, 1].map((racer) => transact(sql, (transaction) => take(transaction, racer))),
      );
      const told = results.map((one) =>
        one.status === 'rejected' ? one.reason.code : 'reason' in one.value ? one.value.reason : 'done',
      );
      const loser = store.kind === 'mysql' ? 'DEADLOCK' : 'in-progress';
      expect(told.toSorted()).toEqual([loser, 'done'].toSorted());
    });

    test('with the retry around them, one wins and the other is told who', async () => {
      const take = await twoTakers();
      const outcomes = await together(2, (racer) =>
        transactWithRetry(sql, (transaction) => take(transaction, racer), FAST_RETRY),
      );
      expect(count(outcomes, 'done')).toBe(1);
      const winner = String(outcomes.findIndex((one) => one.outcome === 'done'));
      expect(outcomes.filter((one) => one.outcome === 'refused')).toMatchObject([
        { holder: { owner: winner } },
      ]);
      expect(await owners()).toEqual([winner]);
    });

    test('losers of a living claim meet no deadlock, although each holds the row shared on MySQL', async () => {
      await claimUnique(sql, lease('a'));
      const everybodyLost = barrier(5);
      const outcomes = await together(5, (racer) =>
        sql.transaction(async (transaction) => {
          const outcome = await claimUnique(transaction, lease(String(racer)));
          await everybodyLost();
          return outcome;
        }),
      );
      expect(outcomes).toMatchObject(Array(5).fill({ holder: { owner: 'a' } }));
    });

    test('a takeover that rolls back leaves the claim to the next', async () => {
      await claimUnique(sql, lease('dead'));
      await letTheLeaseEnd();
      await sql
        .transaction(async (transaction) => {
          expect(await claimUnique(transaction, lease('b'))).toEqual(done(undefined));
          throw new Error('b dies');
        })
        .catch(() => undefined);
      expect(await claimUnique(sql, lease('c'))).toEqual(done(undefined));
    });

    test('another unique column refuses the takeover, and the transaction goes on', async () => {
      await claimUnique(sql, lease('dead', 'o1'));
      await letTheLeaseEnd();
      await claimUnique(sql, { ...lease('other', 'o2'), key: { claim_key: 'pay-2' } });
      const outcome = await transact(sql, async (transaction) => {
        const lost = await claimUnique(transaction, lease('b', 'o2'));
        expect(lost).toMatchObject({ reason: 'in-progress', holder: { owner: 'dead' } });
        await run(transaction, `UPDATE ticket SET status = 'lost' WHERE id = 1`);
        return done('went on');
      });
      expect(outcome).toEqual(done('went on'));
      expect(await ticketRow()).toMatchObject({ status: 'lost' });
      expect(await owners()).toEqual(['dead', 'other']);
      expect(await claimUnique(sql, lease('b', 'o2'))).toMatchObject(refused('in-progress'));
    });

    test('without the owner, a holder that stalled past its lease releases its successor’s claim', async () => {
      await claimUnique(sql, lease('stalled'));
      await letTheLeaseEnd();
      await claimUnique(sql, lease('successor'));
      await run(sql, `DELETE FROM lease WHERE claim_key = 'pay-1'`);
      expect(await owners()).toEqual([]);
    });

    test('with it, its renewal and its release are fenced, and the successor’s row is untouched', async () => {
      await claimUnique(sql, lease('stalled'));
      await letTheLeaseEnd();
      await claimUnique(sql, lease('successor'));
      const row = () => store.query('SELECT * FROM lease').then(({ rows }) => rows);
      const before = await row();
      expect(await renewClaim(sql, owned('stalled'))).toEqual(refused('fenced'));
      expect(await releaseClaim(sql, owned('stalled'))).toEqual(refused('fenced'));
      expect(await row()).toEqual(before);
    });

    test('a renewal begins the lease anew, also one that is over and nobody’s, but none that is gone', async () => {
      await claimUnique(sql, { ...lease('a'), expiry: { ...expiry, leaseMs: 1_000 } });
      expect(await renewClaim(sql, owned('a'))).toEqual(done(undefined));
      expect(await secondsLeft()).toBeGreaterThan(1);
      await letTheLeaseEnd();
      expect(await renewClaim(sql, owned('a'))).toEqual(done(undefined));
      expect(await claimUnique(sql, lease('b'))).toMatchObject({ holder: { owner: 'a' } });
      await releaseClaim(sql, owned('a'));
      expect(await renewClaim(sql, owned('a'))).toEqual(refused('fenced'));
      await expect(renewClaim(sql, { ...owned('a'), owner: {} })).rejects.toThrow(MisuseError);
    });

    /** A port whose sessions are in the time zone of `hours` from UTC. */
    const inZone = (hours: string) =>
      store.open(
        store.kind === 'postgres'
          ? { settings: { TimeZone: `<${hours}>${hours.startsWith('+') ? '-' : '+'}${hours.slice(1)}` } }
          : { settings: { time_zone: `'${hours}:00'` } },
      );

    test('by the session’s own clock, one in another time zone sees it over at once', async () => {
      await store.query(
        `CREATE TABLE local_lease (ends ${store.kind === 'postgres' ? 'timestamp' : 'datetime(6)'})`,
      );
      await run(inZone('-09'), `INSERT INTO local_lease VALUES (LOCALTIMESTAMP(6) + INTERVAL '1' MINUTE)`);
      const { rows } = await run(
        inZone('+09'),
        'SELECT count(*) AS ended FROM local_lease WHERE ends <= LOCALTIMESTAMP(6)',
      );
      expect(rows).toEqual([{ ended: '1' }]);
    });

    test('sessions in different time zones agree when it ends', async () => {
      const [west, east] = [inZone('-09'), inZone('+09')];
      await claimUnique(west, lease('a'));
      expect(await claimUnique(east, lease('b'))).toMatchObject({ holder: { owner: 'a' } });
      await letTheLeaseEnd();
      expect(await claimUnique(east, lease('b'))).toEqual(done(undefined));
      expect(await claimUnique(west, lease('a'))).toMatchObject({ holder: { owner: 'b' } });
      await letTheLeaseEnd();
      expect(await claimUnique(west, lease('a'))).toEqual(done(undefined));
    });

    test('a lease that is no whole number of milliseconds, or without end, is refused', async () => {
      for (const leaseMs of [0, -1, 1.5, Number.NaN, Infinity, 1e15]) {
        const wrong = { ...expiry, leaseMs };
        await expect(claimUnique(sql, { ...lease('a'), expiry: wrong })).rejects.toThrow(MisuseError);
        await expect(renewClaim(sql, { ...owned('a'), expiry: wrong })).rejects.toThrow(MisuseError);
      }
      expect(await owners()).toEqual([]);
    });

    test('the longest lease has an end that the store can hold', async () => {
      await claimUnique(sql, { ...lease('a'), expiry: { ...expiry, leaseMs: 3_155_760_000_000 } });
      expect(await secondsLeft()).toBeGreaterThan(3_155_759_000);
    });

    test('the end is the store’s to set', async () => {
      const given = { ...lease('a'), values: { owner: 'a', expires_at: new Date() } };
      await expect(claimUnique(sql, given)).rejects.toThrow(MisuseError);
      const asKey = { ...lease('a'), key: { expires_at: new Date() } };
      await expect(claimUnique(sql, asKey)).rejects.toThrow(MisuseError);
    });

    describe('swept', () => {
      const sweep = (limit = 100, session: SqlSession = sql) =>
        sweepClaims(session, { table: 'lease', column: 'expires_at', limit });

      /** Claims `over 1` … `over n` whose leases are over, the later the longer ago, one that lives and one for ever. */
      async function claims(over: number): Promise<void> {
        for (let index = 1; index <= over; index++) {
          await claimUnique(sql, { ...lease(`over ${index}`), key: { claim_key: `over-${index}` } });
          await letTheLeaseEnd(`over-${index}`, index);
        }
        await claimUnique(sql, { ...lease('living'), key: { claim_key: 'x-living' } });
        const { expiry: _, ...forEver } = lease('for ever');
        await claimUnique(sql, { ...forEver, key: { claim_key: 'y-for-ever' } });
      }

      test('those that are over go, oldest first and at most as many as one likes', async () => {
        await claims(5);
        expect(await sweep(2)).toBe(2);
        expect(await owners()).toEqual(['over 1', 'over 2', 'over 3', 'living', 'for ever']);
        expect(await sweep()).toBe(3);
        expect(await sweep()).toBe(0);
        expect(await owners()).toEqual(['living', 'for ever']);
      });

      test('its holder finds itself fenced', async () => {
        await claimUnique(sql, lease('a'));
        await letTheLeaseEnd();
        expect(await sweep()).toBe(1);
        expect(await renewClaim(sql, owned('a'))).toEqual(refused('fenced'));
        expect(await releaseClaim(sql, owned('a'))).toEqual(refused('fenced'));
      });

      test('swept after it was seen over, it is nobody’s', async () => {
        expect(await takeOverLate(() => sweep())).toEqual({ ...refused('in-progress'), holder: undefined });
      });

      test('what several sweep at once is what there was', async () => {
        await claims(5);
        const swept = await together(5, () => retryOnConflict(async () => done(await sweep()), FAST_RETRY));
        const numbers = swept.map((one) => (one.outcome === 'done' ? one.value : Number.NaN));
        expect(numbers.reduce((sum, one) => sum + one)).toBe(5);
        expect(await owners()).toEqual(['living', 'for ever']);
      });

      test.each([
        { change: 'renewed', owner: 'over 2' },
        { change: 'taken over', owner: 'successor' },
      ])(
        'what is being $change is left: passed over on PostgreSQL, waited for on MySQL',
        async ({ owner }) => {
          await claims(3);
          const holder = await store.connect();
          await holder.begin('READ COMMITTED');
          await holder.query(
            `UPDATE lease SET owner = ?, expires_at = ${later()} WHERE claim_key = 'over-2'`,
            owner,
          );
          const sweeping = sweep();
          if (store.kind === 'postgres') expect(await sweeping).toBe(2);
          else await until(async () => (await store.waitingForLocks()) === 1);
          await holder.query('COMMIT');
          expect(await sweeping).toBe(2);
          expect(await owners()).toEqual([owner, 'living', 'for ever']);
        },
      );

      test('a limit of no claims is refused', async () => {
        for (const limit of [0, -1, 1.5, Number.NaN]) await expect(sweep(limit)).rejects.toThrow(MisuseError);
      });

      if (name === 'postgres') {
        test('in a partitioned table, a living claim of the same place stays', async () => {
          await store.query(
            `CREATE TABLE parted (claim_key varchar(50), owner varchar(20), expires_at timestamptz)
             PARTITION BY LIST (claim_key)`,
          );
          for (const key of ['a', 'b']) {
            await store.query(`CREATE TABLE parted_${key} PARTITION OF parted FOR VALUES IN ('${key}')`);
          }
          await store.query(
            `INSERT INTO parted VALUES ('a', 'dead', ${earlier(1)}), ('b', 'living', ${later()})`,
          );
          const places = await store.query('SELECT ctid FROM parted');
          expect(new Set(places.rows.map(({ ctid }) => ctid)).size).toBe(1);
          expect(await sweepClaims(sql, { table: 'parted', column: 'expires_at', limit: 1 })).toBe(1);
          expect((await store.query('SELECT owner FROM parted')).rows).toEqual([{ owner: 'living' }]);
        });
      }
    });
  });
});
