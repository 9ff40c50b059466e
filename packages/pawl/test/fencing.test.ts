import fc from 'fast-check';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { barrier, together, until } from '../../../test/barrier.ts';
import {
  done,
  fencedUpdate,
  MisuseError,
  refused,
  registerFence,
  type Settled,
  type SqlPort,
  type SqlSession,
  StoreError,
  transact,
  verifyFence,
} from '../src/index.ts';
import { atIsolation, sqlStores } from './stores.ts';
import { count, onTickets, RACERS, run, sql, store } from './tickets.ts';

/** As a store gives them out: microseconds since 1970. */
const FIRST_TOKEN = 1_763_800_000_000_000;

const fenceOf = (token: number, id = 1) => ({
  table: 'account',
  key: { id },
  fence: { column: 'fence', token },
});
const register = (session: SqlSession, token: number) => registerFence(session, fenceOf(token));
const write = (session: SqlSession, token: number, n: number) =>
  fencedUpdate(session, { ...fenceOf(token), set: { n } });
const read = async (session: SqlSession): Promise<number> =>
  Number((await run(session, 'SELECT n FROM account WHERE id = 1')).rows[0]?.n);
const account = async () => {
  const { rows } = await store.query('SELECT status, n, version, fence FROM account WHERE id = 1');
  const [row] = rows;
  return row && { ...row, fence: row.fence === null ? null : Number(row.fence) };
};

const NEW = { status: 'open', n: 10, version: 0, fence: 0 };

function onAccount(name: (typeof sqlStores)[number]): void {
  onTickets(name);
  beforeAll(async () => {
    await store.query(
      `CREATE TABLE account (id int PRIMARY KEY, status varchar(20) NOT NULL, n int NOT NULL, version int NOT NULL,
                             fence bigint DEFAULT 0)`,
    );
    await store.query('CREATE TABLE entry (token bigint PRIMARY KEY)');
  });
  beforeEach(async () => {
    await store.query('DELETE FROM entry');
    await store.query('DELETE FROM account');
    await store.query(`INSERT INTO account VALUES (1, 'open', 10, 0, 0), (2, 'open', 10, 0, 0)`);
  });
}

describe.each(sqlStores)('%s', (name) => {
  onAccount(name);

  describe('a holder that outlasts its lease', () => {
    /** The check at the write alone: what is written carries a token that is not lower than any that was written before. */
    const writeIfNotLower = (token: number, n: number) =>
      run(sql, 'UPDATE account SET n = ?, fence = ? WHERE id = 1 AND fence <= ?', n, token, token);

    test('with a check at the write alone, overwrites what it never saw', async () => {
      const early = await read(sql);
      const late = await read(sql);
      expect(await writeIfNotLower(5, early - 1)).toMatchObject({ affectedRows: 1 });
      expect(await writeIfNotLower(6, late - 1)).toMatchObject({ affectedRows: 1 });
      expect(await account()).toMatchObject({ n: 9 });
    });

    test('with the registration before the read, is refused and told why', async () => {
      expect(await register(sql, 5)).toEqual(done(undefined));
      const early = await read(sql);
      expect(await register(sql, 6)).toEqual(done(undefined));
      const late = await read(sql);
      expect(await write(sql, 5, early - 1)).toEqual(refused('fenced'));
      expect(await write(sql, 6, late - 1)).toEqual(done(undefined));
      expect(await account()).toMatchObject({ n: 9, fence: 6 });
    });

    test('with the registration after the read, overwrites it all the same', async () => {
      const early = await read(sql);
      await register(sql, 5);
      await write(sql, 5, (await read(sql)) - 1);
      await register(sql, 6);
      expect(await write(sql, 6, early - 1)).toEqual(done(undefined));
      expect(await account()).toMatchObject({ n: 9 });
    });

    test('stays refused in the second transaction of its section', async () => {
      await register(sql, 5);
      expect(await write(sql, 5, 9)).toEqual(done(undefined));
      await register(sql, 6);
      expect(await write(sql, 5, 8)).toEqual(refused('fenced'));
      expect(await account()).toMatchObject({ n: 9, fence: 6 });
    });

    test('that writes first, is refused by nobody, and its successor reads what it wrote', async () => {
      await register(sql, 5);
      await write(sql, 5, 9);
      await write(sql, 5, 8);
      await register(sql, 6);
      expect(await write(sql, 6, (await read(sql)) - 1)).toEqual(done(undefined));
      expect(await account()).toMatchObject({ n: 7, fence: 6 });
    });

    test('is let through by a writer that does not check', async () => {
      await register(sql, 5);
      const early = await read(sql);
      await run(sql, 'UPDATE account SET n = n - 5 WHERE id = 1');
      expect(await write(sql, 5, early - 1)).toEqual(done(undefined));
      expect(await account()).toMatchObject({ n: 9 });
    });
  });

  describe.each(['driver', 'kysely'] as const)('over the port of the %s', (over) => {
    let port: SqlPort;
    beforeAll(() => {
      port = store.open({ over, connections: RACERS });
    });

    test('a token that is equal or lower is refused as fenced, and nothing changes', async () => {
      expect(await register(port, FIRST_TOKEN + 1)).toEqual(done(undefined));
      for (const token of [FIRST_TOKEN + 1, FIRST_TOKEN, 1]) {
        expect(await register(port, token)).toEqual(refused('fenced'));
      }
      expect(await account()).toEqual({ ...NEW, fence: FIRST_TOKEN + 1 });
    });

    test('tokens next to each other are told apart up to the greatest', async () => {
      const greatest = Number.MAX_SAFE_INTEGER;
      expect(await register(port, greatest - 1)).toEqual(done(undefined));
      expect(await write(port, greatest, 1)).toEqual(refused('wrong-state'));
      expect(await register(port, greatest)).toEqual(done(undefined));
      expect(await write(port, greatest - 1, 1)).toEqual(refused('fenced'));
      expect(await transact(port, (transaction) => verifyFence(transaction, fenceOf(greatest - 1)))).toEqual(
        refused('fenced'),
      );
      expect(await write(port, greatest, 1)).toEqual(done(undefined));
      expect(await account()).toMatchObject({ n: 1, fence: greatest });
    });

    test('of 50 that register the same token at once, one does', async () => {
      const outcomes = await together(RACERS, () => register(port, FIRST_TOKEN));
      expect(count(outcomes, 'done')).toBe(1);
      expect(outcomes.filter((one) => one.outcome === 'refused')).toEqual(
        Array(RACERS - 1).fill(refused('fenced')),
      );
    });

    test('of 50 that register tokens of their own at once, those who may write are the last', async () => {
      const outcomes = await together(RACERS, (index) => register(port, FIRST_TOKEN + index));
      expect(outcomes[RACERS - 1]).toEqual(done(undefined));
      const written = await together(RACERS, (index) => write(port, FIRST_TOKEN + index, index));
      expect(written).toEqual([...Array(RACERS - 1).fill(refused('fenced')), done(undefined)]);
      expect(await account()).toMatchObject({ n: RACERS - 1, fence: FIRST_TOKEN + RACERS - 1 });
    });

    test('registered in the transaction that reads and writes, it holds the row until that has ended', async () => {
      const [registered, commit] = [barrier(2), barrier(2)];
      const early = transact(port, async (transaction) => {
        expect(await register(transaction, 5)).toEqual(done(undefined));
        await registered();
        await commit();
        return write(transaction, 5, (await read(transaction)) - 1);
      });
      await registered();
      const late = register(port, 6);
      await until(async () => (await store.waitingForLocks()) === 1);
      await commit();
      expect(await early).toEqual(done(undefined));
      expect(await late).toEqual(done(undefined));
      expect(await account()).toMatchObject({ n: 9, fence: 6 });
    });

    test('a registration that is rolled back has let nobody in', async () => {
      await transact(port, async (transaction) => {
        expect(await register(transaction, 5)).toEqual(done(undefined));
        return refused('sold-out');
      });
      expect(await write(port, 5, 9)).toEqual(refused('wrong-state'));
      expect(await register(port, 5)).toEqual(done(undefined));
    });
  });

  describe('a refusal', () => {
    test('is wrong-state where there is no such row', async () => {
      const nowhere = fenceOf(5, 3);
      expect(await registerFence(sql, nowhere)).toEqual(refused('wrong-state'));
      expect(await fencedUpdate(sql, { ...nowhere, set: { n: 1 } })).toEqual(refused('wrong-state'));
      expect(await transact(sql, (transaction) => verifyFence(transaction, nowhere))).toEqual(
        refused('wrong-state'),
      );
    });

    test('is wrong-state where the column holds NULL, and nobody is let in', async () => {
      await store.query('UPDATE account SET fence = NULL WHERE id = 1');
      expect(await register(sql, 5)).toEqual(refused('wrong-state'));
      expect(await write(sql, 5, 1)).toEqual(refused('wrong-state'));
      expect(await transact(sql, (transaction) => verifyFence(transaction, fenceOf(5)))).toEqual(
        refused('wrong-state'),
      );
      expect(await account()).toEqual({ ...NEW, fence: null });
    });

    test('is wrong-state where the token was never registered', async () => {
      await register(sql, 4);
      expect(await write(sql, 5, 1)).toEqual(refused('wrong-state'));
      expect(await transact(sql, (transaction) => verifyFence(transaction, fenceOf(5)))).toEqual(
        refused('wrong-state'),
      );
      expect(await account()).toEqual({ ...NEW, fence: 4 });
    });

    test('is wrong-state where the row does not hold what is expected, and nothing changes', async () => {
      const closed = { expect: { status: 'closed' } };
      expect(await registerFence(sql, { ...fenceOf(5), ...closed })).toEqual(refused('wrong-state'));
      expect(await account()).toEqual(NEW);
      await register(sql, 5);
      expect(await fencedUpdate(sql, { ...fenceOf(5), ...closed, set: { n: 1 } })).toEqual(
        refused('wrong-state'),
      );
      expect(await account()).toEqual({ ...NEW, fence: 5 });
    });

    test('in a transaction that goes on to change the row, is no deadlock with who waits to register', async () => {
      await register(sql, 5);
      const [refusedOnce, goOn] = [barrier(2), barrier(2)];
      const early = transact(sql, async (transaction) => {
        const closed = { ...fenceOf(5), expect: { status: 'closed' } };
        expect(await fencedUpdate(transaction, { ...closed, set: { n: 1 } })).toEqual(refused('wrong-state'));
        await refusedOnce();
        await goOn();
        return write(transaction, 5, 9);
      });
      await refusedOnce();
      const late = register(sql, 6);
      await until(async () => (await store.waitingForLocks()) === 1);
      await goOn();
      expect(await early).toEqual(done(undefined));
      expect(await late).toEqual(done(undefined));
      expect(await account()).toMatchObject({ n: 9, fence: 6 });
    });

    test('is fenced where both are so', async () => {
      await register(sql, 6);
      await fencedUpdate(sql, { ...fenceOf(6), set: { status: 'closed' } });
      const open = { expect: { status: 'open' } };
      expect(await registerFence(sql, { ...fenceOf(5), ...open })).toEqual(refused('fenced'));
      expect(await fencedUpdate(sql, { ...fenceOf(5), ...open, set: { n: 1 } })).toEqual(refused('fenced'));
    });
  });

  describe('a section that leaves the state which all expect', () => {
    const open = { expect: { status: 'open' } };
    const take = (token: number) =>
      fencedUpdate(sql, { ...fenceOf(token), ...open, set: { status: 'taken' }, increment: 'version' });

    test('is not fenced off any more, although later ones come', async () => {
      expect(await registerFence(sql, { ...fenceOf(5), ...open })).toEqual(done(undefined));
      expect(await take(5)).toEqual(done(undefined));
      expect(await registerFence(sql, { ...fenceOf(6), ...open })).toEqual(refused('wrong-state'));
      expect(await fencedUpdate(sql, { ...fenceOf(5), set: { status: 'closed' } })).toEqual(done(undefined));
      expect(await account()).toEqual({ status: 'closed', n: 10, version: 1, fence: 5 });
    });

    test('and is fenced off before: one of the two leaves it', async () => {
      await registerFence(sql, { ...fenceOf(5), ...open });
      await registerFence(sql, { ...fenceOf(6), ...open });
      expect(await take(5)).toEqual(refused('fenced'));
      expect(await take(6)).toEqual(done(undefined));
      expect(await account()).toMatchObject({ status: 'taken', version: 1, fence: 6 });
    });
  });

  describe('writes to other tables', () => {
    const enter = (session: SqlSession, token: number) => run(session, 'INSERT INTO entry VALUES (?)', token);
    const entries = async () => (await store.query('SELECT token FROM entry')).rows.length;
    const verify = (token: number) => (transaction: SqlSession & { inTransaction: true }) =>
      verifyFence(transaction, fenceOf(token));

    test('with a plain look at the token, are committed after a later section was let in', async () => {
      await register(sql, 5);
      await sql.transaction(async (transaction) => {
        const { rows } = await run(transaction, 'SELECT fence FROM account WHERE id = 1');
        expect(Number(rows[0]?.fence)).toBe(5);
        await enter(transaction, 5);
        expect(await register(sql, 6)).toEqual(done(undefined));
      });
      expect(await entries()).toBe(1);
    });

    test('verified, keep later sections out until they are committed', async () => {
      await register(sql, 5);
      const [verified, commit] = [barrier(2), barrier(2)];
      const early = transact(sql, async (transaction) => {
        await enter(transaction, 5);
        const outcome = await verify(5)(transaction);
        await verified();
        await commit();
        return outcome;
      });
      await verified();
      const late = register(sql, 6);
      await until(async () => (await store.waitingForLocks()) === 1);
      expect(await entries()).toBe(0);
      await commit();
      expect(await early).toEqual(done(undefined));
      expect(await late).toEqual(done(undefined));
      expect(await entries()).toBe(1);
    });

    test('are rolled back where a later section has been let in, or is being let in', async () => {
      await register(sql, 5);
      const late = await store.connect();
      await late.begin('READ COMMITTED');
      await late.query('UPDATE account SET fence = 6 WHERE id = 1');
      const early = transact(sql, async (transaction) => {
        await enter(transaction, 5);
        return verify(5)(transaction);
      });
      await until(async () => (await store.waitingForLocks()) === 1);
      await late.query('COMMIT');
      expect(await early).toEqual(refused('fenced'));
      expect(await transact(sql, verify(5))).toEqual(refused('fenced'));
      expect(await entries()).toBe(0);
    });

    test('of one section may be verified side by side', async () => {
      await register(sql, 5);
      const both = barrier(2);
      const outcomes = await together(2, () =>
        transact(sql, async (transaction) => {
          const outcome = await verify(5)(transaction);
          await both();
          return outcome;
        }),
      );
      expect(outcomes).toEqual([done(undefined), done(undefined)]);
    });
  });

  describe('a transaction at REPEATABLE READ', () => {
    const repeatable = () => atIsolation(sql, 'REPEATABLE READ');
    /** Where the database itself notices that the row is not the one of the snapshot. */
    const refusedByDatabase = name !== 'mariadb';
    const outcomeOf = (work: Promise<Settled>) =>
      work.catch((error: unknown) => {
        if (error instanceof StoreError) return error.code;
        throw error;
      });
    const FENCED = refusedByDatabase ? 'SERIALIZATION_FAILURE' : refused('fenced');

    test('that has read before it registers, overwrites what it never saw unless the database notices', async () => {
      const early = transact(repeatable(), async (transaction) => {
        const n = await read(transaction);
        await register(sql, 5);
        await write(sql, 5, 9);
        const registered = await register(transaction, 6);
        return registered.outcome === 'done' ? write(transaction, 6, n - 1) : registered;
      });
      expect(await outcomeOf(early)).toEqual(refusedByDatabase ? 'SERIALIZATION_FAILURE' : done(undefined));
      expect(await account()).toMatchObject({ n: 9, fence: refusedByDatabase ? 5 : 6 });
    });

    test('that registers first, reads what the section before it wrote', async () => {
      await register(sql, 5);
      await write(sql, 5, 9);
      const late = await transact(repeatable(), async (transaction) => {
        expect(await register(transaction, 6)).toEqual(done(undefined));
        return write(transaction, 6, (await read(transaction)) - 1);
      });
      expect(late).toEqual(done(undefined));
      expect(await account()).toMatchObject({ n: 8, fence: 6 });
    });

    test('that is fenced off after its snapshot, is refused at every step', async () => {
      const steps = {
        register: (session: SqlSession) => register(session, 5),
        write: (session: SqlSession) => write(session, 4, 1),
        verify: (session: SqlSession & { inTransaction: true }) => verifyFence(session, fenceOf(4)),
      };
      for (const [step, take] of Object.entries(steps)) {
        await store.query('UPDATE account SET fence = 4 WHERE id = 1');
        const early = transact(repeatable(), async (transaction) => {
          await read(transaction);
          await register(sql, 6);
          return take(transaction);
        });
        expect([step, await outcomeOf(early)]).toEqual([step, FENCED]);
      }
      expect(await account()).toMatchObject({ n: 10, fence: 6 });
    });
  });

  test('a token that is no whole number from 1 to 2^53 − 1 is refused, and nothing is sent', async () => {
    const unused: SqlSession = { dialect: sql.dialect, execute: () => expect.fail('sent') };
    for (const token of [0, -1, 1.5, Number.NaN, Infinity, 2 ** 53]) {
      await expect(register(unused, token)).rejects.toThrow(MisuseError);
      await expect(write(unused, token, 1)).rejects.toThrow(MisuseError);
      const verified = verifyFence({ ...unused, inTransaction: true }, fenceOf(token));
      await expect(verified).rejects.toThrow(MisuseError);
    }
  });

  test('who gives the fence’s column twice, or changes nothing, is refused, and nothing is sent', async () => {
    const unused: SqlSession = { dialect: sql.dialect, execute: () => expect.fail('sent') };
    const fence = fenceOf(5);
    const twice = { fence: 4 };
    await expect(registerFence(unused, { ...fence, expect: twice })).rejects.toThrow(MisuseError);
    await expect(registerFence(unused, { ...fence, key: { id: 1, ...twice } })).rejects.toThrow(MisuseError);
    for (const update of [
      { set: {} },
      { set: twice },
      { set: { n: 1 }, expect: twice },
      { set: {}, increment: 'fence' },
      { set: { version: 1 }, increment: 'version' },
    ]) {
      await expect(fencedUpdate(unused, { ...fence, ...update })).rejects.toThrow(MisuseError);
    }
  });
});

/* Schedules of three holders, whose steps are taken one at a time in any order: whoever is not chosen has stopped. */

const HOLDERS = 3;
const ROUNDS = 2;

/** What a section does towards the row. Answers whether it may go on. */
interface Section {
  register(token: number): Promise<boolean>;
  write(token: number, n: number): Promise<boolean>;
}

const changed = async (text: string, ...values: number[]) =>
  (await run(sql, text, ...values)).affectedRows > 0;

const fenced: Section = {
  register: async (token) => (await register(sql, token)).outcome === 'done',
  write: async (token, n) => (await write(sql, token, n)).outcome === 'done',
};

const mistakes: Readonly<Record<string, Section>> = {
  'a check at the write alone': {
    register: async () => true,
    write: (token, n) =>
      changed('UPDATE account SET n = ?, fence = ? WHERE id = 1 AND fence <= ?', n, token, token),
  },
  'a registration that lets an equal token in': {
    ...fenced,
    register: (token) => changed('UPDATE account SET fence = ? WHERE id = 1 AND fence <= ?', token, token),
  },
  'a write that does not look whether the row carries the token': {
    ...fenced,
    write: (_, n) => changed('UPDATE account SET n = ? WHERE id = 1', n),
  },
};

/** In which order the holders take their steps, and by how much each one's token is greater than that of the one before. */
const schedules = fc.record({
  order: fc
    .constant(Array.from({ length: HOLDERS * (1 + 2 * ROUNDS) }, (_, step) => step % HOLDERS))
    .chain((steps) => fc.shuffledSubarray(steps, { minLength: steps.length })),
  steps: fc.tuple(...Array.from({ length: HOLDERS }, () => fc.nat({ max: 2 }))),
});

/** Each holder registers, and then counts down by one in each of its rounds, until it is refused. */
async function* holder(section: Section, token: number, counted: () => void): AsyncGenerator<void> {
  if (!(await section.register(token))) return;
  yield;
  for (let round = 0; round < ROUNDS; round++) {
    const n = await read(sql);
    yield;
    if (!(await section.write(token, n - 1))) return;
    counted();
    yield;
  }
}

/** @throws when an update is lost, or the row takes a token after a greater one. */
function countsDown(section: Section) {
  return fc.asyncProperty(schedules, async ({ order, steps }) => {
    await store.query('UPDATE account SET n = 0, fence = 0 WHERE id = 1');
    let [token, counted] = [FIRST_TOKEN, 0];
    const holders = steps.map((step) => {
      token += step;
      return holder(section, token, () => counted++);
    });
    let carried = 0;
    for (const chosen of order) {
      await holders[chosen]?.next();
      const now = Number((await account())?.fence);
      if (now < carried) throw new Error(`the row took ${now} after ${carried}`);
      carried = now;
    }
    const n = await read(sql);
    if (n !== -counted) throw new Error(`${counted} updates were made, and ${counted + n} of them lost`);
  });
}

describe.each(['postgres', 'mariadb'] as const)('generated schedules, on %s', (name) => {
  onAccount(name);

  test('lose no update, and the accepted tokens never decrease', () =>
    fc.assert(countsDown(fenced), { numRuns: 200 }));

  test.each(Object.entries(mistakes))('find %s', async (_, mistake) => {
    const { errorInstance } = await fc.check(countsDown(mistake), { numRuns: 500, endOnFailure: true });
    expect(errorInstance).toMatchObject({ message: expect.stringContaining('lost') });
  });
});
