import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { together, until } from '../../../test/barrier.ts';
import { startProxy } from '../../../test/proxy.ts';
import {
  type Claim,
  type ClaimHeld,
  type ConditionalUpdate,
  claimUnique,
  conditionalUpdate,
  type Done,
  type GroupCommitOptions,
  groupedClaims,
  groupedUpdates,
  MisuseError,
  type ObservedBatch,
  observe,
  type Refused,
  refused,
} from '../src/index.ts';
import { openStore, type PortOptions, type Store } from './stores.ts';

let store: Store;

const open = (port: PortOptions = {}) => store.open({ over: 'together', connections: 8, ...port });
const updates = (options: Partial<GroupCommitOptions> = {}, port: PortOptions = {}) =>
  groupedUpdates(open(port), { name: 'seats', ...options });
const claims = (options: Partial<GroupCommitOptions> = {}, port: PortOptions = {}) =>
  groupedClaims(open(port), { name: 'payments', ...options });

let last = 0;
async function newSeat(status = 'free'): Promise<number> {
  await store.query('INSERT INTO seat VALUES (?, ?, 0, ?)', ++last, status, `code ${last}`);
  return last;
}

const take = (id: number, to = 'taken', from = 'free'): ConditionalUpdate => ({
  table: 'seat',
  key: { id },
  expect: { status: from },
  set: { status: to },
  increment: 'version',
});

async function seat(id: number): Promise<{ status: string; version: number }> {
  const { rows } = await store.query('SELECT status, version FROM seat WHERE id = ?', id);
  return { status: String(rows[0]?.status), version: Number(rows[0]?.version) };
}

const claimOf = (key: string, owner: string, more: Partial<Claim> = {}): Claim => ({
  table: 'payment',
  key: { payment_key: key },
  values: { owner },
  ...more,
});

const newKey = () => `payment ${++last}`;
const ownerOf = async (key: string) =>
  (await store.query('SELECT owner FROM payment WHERE payment_key = ?', key)).rows[0]?.owner;

function batches(): ObservedBatch[] {
  const seen: ObservedBatch[] = [];
  onTestFinished(observe({ began: () => undefined, batched: (batch) => seen.push(batch) }));
  return seen;
}

async function proxyTo(isIt: (data: Buffer) => boolean): Promise<number> {
  const proxy = await startProxy(store.url, () => 'answer-lost', isIt);
  onTestFinished(() => proxy.close());
  return proxy.port;
}

const DONE = { outcome: 'done' };
const HOUR_AGO = {
  postgres: `clock_timestamp() - interval '1 hour'`,
  mysql: 'UTC_TIMESTAMP(6) - INTERVAL 1 HOUR',
};

describe.each(['postgres', 'mariadb'] as const)('on %s', (name) => {
  beforeAll(async () => {
    store = await openStore(name);
    const moment = store.kind === 'postgres' ? 'timestamptz' : 'DATETIME(6)';
    await store.query(
      'CREATE TABLE seat (id integer PRIMARY KEY, status varchar(10) NOT NULL, version integer NOT NULL, code varchar(20) UNIQUE)',
    );
    await store.query(
      `CREATE TABLE payment (payment_key varchar(50) PRIMARY KEY, owner varchar(20) NOT NULL, expires_at ${moment} NULL, invoice varchar(20) UNIQUE)`,
    );
  });
  afterEach(() => store.endSessions());
  afterAll(() => store.close());

  describe('conditional updates in batches', () => {
    test('of 30 that take each of two seats one is done, in one transaction', async () => {
      const seen = batches();
      const group = updates();
      const seats = [await newSeat(), await newSeat()];
      const told = await together(60, (index) =>
        group.update(take(seats[index % 2] as number, `by ${Math.floor(index / 2)}`)),
      );
      expect(told.filter(({ outcome }) => outcome === 'done')).toHaveLength(2);
      expect(told.filter(({ outcome }) => outcome === 'refused')).toEqual(
        Array.from({ length: 58 }, () => refused('wrong-state')),
      );
      expect(seen.map(({ size }) => size)).toEqual([60]);
      for (const id of seats) expect(await seat(id)).toEqual({ status: 'by 0', version: 1 });
    });

    test('a row is changed by several of a batch, one after the other', async () => {
      const group = updates();
      const id = await newSeat('a');
      const steps = [take(id, 'b', 'a'), take(id, 'c', 'b'), take(id, 'd', 'a'), take(id, 'e', 'c')];
      const told = await Promise.all(steps.map((step) => group.update(step)));
      expect(told.map((one) => one.outcome)).toEqual(['done', 'done', 'refused', 'done']);
      expect(await seat(id)).toEqual({ status: 'e', version: 3 });
    });

    test('a row that is not there is in no state, and one that the database refuses spoils nobody else’s', async () => {
      const group = updates();
      const [one, another, third] = [await newSeat(), await newSeat(), await newSeat()];
      const spoilt = { ...take(another), set: { code: `code ${one}` } };
      const told = await Promise.allSettled([
        group.update(take(one)),
        group.update(take(-1)),
        group.update(spoilt),
        group.update(take(third)),
        group.update({
          ...take(third),
          set: { status: 'free' },
          expect: { status: 'free' },
          increment: undefined as never,
        }),
        group.update({ ...take(third), table: 'no table' }),
      ]);
      expect(told).toEqual([
        { status: 'fulfilled', value: expect.objectContaining(DONE) },
        { status: 'fulfilled', value: refused('wrong-state') },
        { status: 'rejected', reason: expect.objectContaining({ code: 'DUPLICATE_KEY' }) },
        { status: 'fulfilled', value: expect.objectContaining(DONE) },
        { status: 'rejected', reason: expect.any(MisuseError) },
        { status: 'rejected', reason: expect.any(MisuseError) },
      ]);
      expect(await seat(another)).toEqual({ status: 'free', version: 0 });
    });

    test('a row that somebody else has is waited for apart, and compared then', async () => {
      const group = updates();
      const [stuck, free] = [await newSeat(), await newSeat()];
      const holder = await store.connect();
      await holder.begin('READ COMMITTED');
      await holder.query(`UPDATE seat SET status = 'held' WHERE id = ?`, stuck);
      const late = [group.update(take(stuck)), group.update(take(stuck, 'mine', 'held'))];
      expect(await group.update(take(free))).toMatchObject(DONE);
      await until(async () => (await store.waitingForLocks()) === 1);
      await holder.query('COMMIT');
      expect(await Promise.all(late)).toMatchObject([refused('wrong-state'), DONE]);
      expect(await seat(stuck)).toEqual({ status: 'mine', version: 1 });
    });

    test('a row that is held for too long is told, and not changed', async () => {
      const group = updates({ lockWaitMs: 1_000 });
      const id = await newSeat();
      const holder = await store.connect();
      await holder.begin('READ COMMITTED');
      await holder.query('SELECT id FROM seat WHERE id = ? FOR UPDATE', id);
      expect(await group.update(take(id))).toEqual(refused('lock-timeout'));
      await holder.query('COMMIT');
      expect(await seat(id)).toEqual({ status: 'free', version: 0 });
    });

    test('the answer to the COMMIT is lost: each is told that its effect is unknown', async () => {
      const group = updates(
        {},
        {
          port: await proxyTo(
            (data) =>
              /\bcommit\b/i.test(data.toString('latin1')) && !/READ COMMITTED/.test(data.toString('latin1')),
          ),
        },
      );
      const ids = [await newSeat(), await newSeat()];
      const told = await Promise.allSettled(ids.map((id) => group.update(take(id))));
      for (const one of told)
        expect(one).toMatchObject({ reason: { code: 'CONNECTION_LOST', effect: 'unknown' } });
      await until(async () => (await seat(ids[0] as number)).status === 'taken');
    });

    test('switched off, each comes alone, to the same', async () => {
      const group = updates({ together: false });
      const id = await newSeat();
      const told = await together(5, () => group.update(take(id)));
      expect(told.filter(({ outcome }) => outcome === 'done')).toHaveLength(1);
      expect(await seat(id)).toEqual({ status: 'taken', version: 1 });
    });

    test('any batch comes to what its updates come to one by one', async () => {
      const sql = open();
      const group = groupedUpdates(sql, { name: 'seats' });
      const states = fc.constantFrom('a', 'b', 'c');
      const change = fc.record({ row: fc.nat({ max: 2 }), from: states, to: states });
      await fc.assert(
        fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 12 }), async (changes) => {
          const [batch, alone] = [[], []] as [number[], number[]];
          for (let row = 0; row < 3; row++) {
            batch.push(await newSeat('a'));
            alone.push(await newSeat('a'));
          }
          const of = (ids: readonly number[]) =>
            changes.map(({ row, from, to }) => take(ids[row] as number, to, from));
          const told = await Promise.all(of(batch).map((update) => group.update(update)));
          const oneByOne: unknown[] = [];
          for (const update of of(alone)) oneByOne.push(await conditionalUpdate(sql, update));
          expect(told).toEqual(oneByOne);
          for (let row = 0; row < 3; row++) {
            expect(await seat(batch[row] as number)).toEqual(await seat(alone[row] as number));
          }
        }),
        { numRuns: 15 },
      );
    });
  });

  describe('unique claims in batches', () => {
    test('of 20 that claim each of three keys one is done, and the others are told who', async () => {
      const seen = batches();
      const group = claims();
      const keys = [newKey(), newKey(), newKey()];
      const told = await together(60, async (index) => {
        const key = keys[index % 3] as string;
        return { key, owner: `${index}`, told: await group.claim(claimOf(key, `${index}`)) };
      });
      const won = told.filter((one) => one.told.outcome === 'done');
      expect(won.map(({ key }) => key).toSorted()).toEqual(keys.toSorted());
      for (const one of told) {
        if (one.told.outcome === 'done') expect(await ownerOf(one.key)).toBe(one.owner);
        else
          expect(one.told).toMatchObject({
            reason: 'in-progress',
            holder: { owner: await ownerOf(one.key) },
          });
      }
      expect(seen.map(({ size }) => size)).toEqual([60, 57]);
    });

    test('two instances that claim the same keys in opposite orders share them out', async () => {
      const keys = Array.from({ length: 20 }, newKey);
      const told = await Promise.all(
        [keys, keys.toReversed()].map((those, index) => {
          const group = claims();
          return Promise.all(those.map((key) => group.claim(claimOf(key, `${index}`))));
        }),
      );
      expect(told.flat().filter(({ outcome }) => outcome === 'done')).toHaveLength(20);
      expect(told.flat().filter((one) => one.outcome === 'refused' && one.reason !== 'in-progress')).toEqual(
        [],
      );
    });

    test('another unique column refuses one claim, and a value that does not fit another, and nobody else’s', async () => {
      const group = claims();
      await claimUnique(open(), claimOf(newKey(), 'first', { values: { owner: 'first', invoice: 'i 1' } }));
      const keys = Array.from({ length: 5 }, newKey);
      const [a, b, c, d, e] = keys as [string, string, string, string, string];
      const told = await Promise.allSettled([
        group.claim(claimOf(a, 'a')),
        group.claim(claimOf(b, 'b', { values: { owner: 'b', invoice: 'i 1' } })),
        group.claim(claimOf(c, 'c', { values: { owner: 'too long for the column that it is for' } })),
        group.claim(claimOf(d, 'd')),
        group.claim(claimOf(e, 'e', { expiry: { column: 'owner', leaseMs: 1 } })),
      ]);
      expect(told).toEqual([
        { status: 'fulfilled', value: expect.objectContaining(DONE) },
        { status: 'fulfilled', value: { ...refused('in-progress'), holder: undefined } },
        { status: 'rejected', reason: expect.objectContaining({ code: 'REJECTED', effect: 'none' }) },
        { status: 'fulfilled', value: expect.objectContaining(DONE) },
        { status: 'rejected', reason: expect.any(MisuseError) },
      ]);
      const owners: unknown[] = [];
      for (const key of keys) owners.push(await ownerOf(key));
      expect(owners).toEqual(['a', undefined, undefined, 'd', undefined]);
    });

    test.each(['COMMIT', 'ROLLBACK'] as const)(
      'a claim that somebody is making holds up its own key, and nobody else’s: %s',
      async (end) => {
        const group = claims();
        const keys = Array.from({ length: 4 }, newKey);
        const rival = await store.connect();
        await rival.begin('READ COMMITTED');
        await rival.query(`INSERT INTO payment (payment_key, owner) VALUES (?, 'rival')`, keys[1] as string);
        const all = keys.map((key) => group.claim(claimOf(key, 'me')));
        const [first, stuck, ...rest] = all;
        expect(await Promise.all([first, ...rest])).toMatchObject([DONE, DONE, DONE]);
        await until(async () => (await store.waitingForLocks()) >= 1);
        await rival.query(end);
        const told = await stuck;
        if (end === 'ROLLBACK') expect(told).toMatchObject(DONE);
        else expect(told).toMatchObject({ reason: 'in-progress', holder: { owner: 'rival' } });
      },
    );

    test('a claim whose lease is over is taken over once, and one whose lease lives is not', async () => {
      const group = claims();
      const expiry = { column: 'expires_at', leaseMs: 60_000 };
      const [over, lives] = [newKey(), newKey()];
      for (const key of [over, lives]) await group.claim(claimOf(key, 'first', { expiry }));
      await store.query(
        `UPDATE payment SET expires_at = ${HOUR_AGO[store.kind]} WHERE payment_key = ?`,
        over,
      );
      const told = await together(5, (index) => group.claim(claimOf(over, `${index}`, { expiry })));
      expect(told.filter(({ outcome }) => outcome === 'done')).toHaveLength(1);
      expect(await group.claim(claimOf(lives, 'late', { expiry }))).toMatchObject({
        holder: { owner: 'first' },
      });
    });

    test('the answer is lost: each is told that its effect is unknown', async () => {
      const group = claims({}, { port: await proxyTo((data) => data.includes('INSERT INTO')) });
      const keys = [newKey(), newKey()];
      const told = await Promise.allSettled(keys.map((key) => group.claim(claimOf(key, 'me'))));
      for (const one of told)
        expect(one).toMatchObject({ reason: { code: 'CONNECTION_LOST', effect: 'unknown' } });
      await until(async () => (await ownerOf(keys[0] as string)) === 'me');
    });

    test('any batch comes to what its claims come to one by one', async () => {
      const sql = open();
      const group = groupedClaims(sql, { name: 'payments' });
      const shown = (told: Done<void> | ClaimHeld | Refused, prefix: string) =>
        told.outcome === 'done'
          ? 'done'
          : `${told.reason} ${String((told as ClaimHeld).holder?.payment_key).replace(prefix, '')}`;
      await fc.assert(
        fc.asyncProperty(fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 8 }), async (keys) => {
          const [batch, alone] = [newKey(), newKey()];
          const told = await Promise.all(
            keys.map((key, index) => group.claim(claimOf(`${batch} ${key}`, `${index}`))),
          );
          const oneByOne: string[] = [];
          for (const [index, key] of keys.entries()) {
            oneByOne.push(shown(await claimUnique(sql, claimOf(`${alone} ${key}`, `${index}`)), alone));
          }
          expect(told.map((one) => shown(one, batch))).toEqual(oneByOne);
          for (const key of new Set(keys)) {
            expect(await ownerOf(`${batch} ${key}`)).toBe(await ownerOf(`${alone} ${key}`));
          }
        }),
        { numRuns: 15 },
      );
    });
  });
});
