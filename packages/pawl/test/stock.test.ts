import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { until } from '../../../test/barrier.ts';
import { type CommitFate, startProxy } from '../../../test/proxy.ts';
import {
  done,
  type GroupCommitOptions,
  refused,
  type StockDefinition,
  type StockRequest,
  stock,
} from '../src/index.ts';
import { openStore, type PortOptions, type Store } from './stores.ts';

type CouponRequest = StockRequest & { readonly id: string };

const coupons: StockDefinition<
  CouponRequest,
  number,
  'already-issued' | 'sold-out' | 'not-eligible' | 'contended'
> = {
  rows: { table: 'coupon', key: 'id', columns: ['remaining', 'version'] },
  claims: { table: 'issued', stock: 'coupon_id', claimant: 'member_id', columns: ['request_id', 'serial'] },
  claimants: { table: 'member', key: 'id', columns: ['barred'] },
  take({ row, claimed, claimant, now, request }) {
    if (Number(claimant?.barred ?? 0) === 1) return refused('not-eligible');
    if (claimed) return refused('already-issued');
    const remaining = Number(row.remaining);
    if (remaining < 1) return refused('sold-out');
    const serial = 1_000 - remaining + 1;
    return done({
      set: { remaining: remaining - 1, version: Number(row.version) + 1 },
      claim: { serial, request_id: request.id, issued_at: now },
      value: serial,
    });
  },
  recall(claim, request) {
    if (claim === undefined) return refused('contended');
    return claim.request_id === request.id ? done(Number(claim.serial)) : refused('already-issued');
  },
};

const OPTIONS: GroupCommitOptions = { name: 'coupons' };

let store: Store;
let requests = 0;

const ask = (group: ReturnType<typeof open>, coupon: number, member: number | string) =>
  group.take({ stock: coupon, claimant: member, id: `request ${++requests}` });

function open(options: Partial<GroupCommitOptions> = {}, port: PortOptions = {}) {
  return stock(store.open({ over: 'together', connections: 6, ...port }), coupons, {
    ...OPTIONS,
    ...options,
  });
}

const put = (coupon: number, remaining: number) =>
  store.query('INSERT INTO coupon VALUES (?, ?, 0)', coupon, remaining);
const issuedOf = async (coupon: number) =>
  (
    await store.query('SELECT member_id, serial FROM issued WHERE coupon_id = ? ORDER BY serial', coupon)
  ).rows.map(({ member_id, serial }) => ({ member: Number(member_id), serial: Number(serial) }));
const leftOf = async (coupon: number) =>
  Number((await store.query('SELECT remaining FROM coupon WHERE id = ?', coupon)).rows[0]?.remaining);

function count(outcomes: readonly { readonly outcome: string; readonly reason?: string }[]) {
  const counts: Record<string, number> = {};
  for (const { outcome, reason } of outcomes)
    counts[reason ?? outcome] = (counts[reason ?? outcome] ?? 0) + 1;
  return counts;
}

async function proxyTo(fate: CommitFate): Promise<number> {
  const proxy = await startProxy(store.url, () => fate);
  onTestFinished(() => proxy.close());
  return proxy.port;
}

describe.each(['postgres', 'mariadb'] as const)('a stock on %s', (on) => {
  beforeAll(async () => {
    store = await openStore(on);
    const moment = on === 'postgres' ? 'timestamptz' : 'datetime(6)';
    await store.query(
      'CREATE TABLE coupon (id int PRIMARY KEY, remaining int NOT NULL, version int NOT NULL)',
    );
    await store.query(
      `CREATE TABLE issued (coupon_id int NOT NULL, member_id int NOT NULL, serial int NOT NULL,
         request_id varchar(40) NOT NULL, issued_at ${moment} NOT NULL, PRIMARY KEY (coupon_id, member_id))`,
    );
    await store.query('CREATE TABLE member (id int PRIMARY KEY, barred int NOT NULL)');
    await store.query('INSERT INTO member VALUES (13, 1), (14, 0)');
  });
  beforeEach(async () => {
    await store.query('DELETE FROM issued');
    await store.query('DELETE FROM coupon');
  });
  afterEach(() => store.endSessions());
  afterAll(() => store.close());

  test.each([{ together: true }, { together: false }])(
    'many ask several instances at once, twice each: each has one, and all that is there is handed out ($together)',
    async (how) => {
      await put(1, 1_000 - 980);
      const instances = [open(how), open(how), open(how)];
      const asked = Array.from({ length: 60 }, (_, index) =>
        ask(instances[index % 3] as (typeof instances)[number], 1, 100 + (index % 30)),
      );
      const outcomes = await Promise.all(asked);
      // Who asks again, and has none, is told that it is sold out, and else that he has one.
      const { done: issued, 'already-issued': already = 0, 'sold-out': soldOut = 0 } = count(outcomes);
      expect(issued).toBe(20);
      expect(already + soldOut).toBe(40);
      const rows = await issuedOf(1);
      expect(rows.map(({ serial }) => serial)).toEqual(Array.from({ length: 20 }, (_, index) => 981 + index));
      expect(new Set(rows.map(({ member }) => member)).size).toBe(20);
      expect(await leftOf(1)).toBe(0);
      const told = outcomes.flatMap((one) => (one.outcome === 'done' ? [one.value] : []));
      expect(told.sort((a, b) => a - b)).toEqual(rows.map(({ serial }) => serial));
    },
  );

  test('those who have one take up no place of the last one that is left', async () => {
    await put(1, 4);
    const first = open();
    await Promise.all([1, 2, 3].map((member) => ask(first, 1, member)));
    // One is left, and three who have theirs come before the one who has none.
    const second = open();
    const outcomes = await Promise.all([1, 2, 3, 4, 5, 4].map((member) => ask(second, 1, member)));
    expect(outcomes.map((one) => ('reason' in one ? one.reason : one.outcome))).toEqual([
      'already-issued',
      'already-issued',
      'already-issued',
      'done',
      'sold-out',
      'already-issued',
    ]);
  });

  test('what somebody else hands out while the stock is waited for is seen when it is had', async () => {
    await put(1, 1_000 - 998);
    const other = await store.connect();
    await other.begin('READ COMMITTED');
    await other.query('SELECT remaining FROM coupon WHERE id = 1 FOR UPDATE');
    const group = open();
    const asked = [7, 8, 9].map((member) => ask(group, 1, member));
    await until(async () => (await store.waitingForLocks()) === 1);
    // To member 7, who waits: a reading from before the wait would not know of it.
    await other.query(
      `INSERT INTO issued VALUES (1, 7, 999, 'another', ${on === 'postgres' ? 'now()' : 'now(6)'})`,
    );
    await other.query('UPDATE coupon SET remaining = remaining - 1, version = version + 1 WHERE id = 1');
    await other.query('COMMIT');
    expect(await Promise.all(asked)).toEqual([refused('already-issued'), done(1_000), refused('sold-out')]);
  });

  test('a stock that somebody else has holds up nobody but those who ask for it', async () => {
    await put(1, 1);
    await put(2, 1_000);
    const other = await store.connect();
    await other.begin('READ COMMITTED');
    await other.query('UPDATE coupon SET version = version + 1 WHERE id = 1');
    const group = open();
    const held = [ask(group, 1, 1), ask(group, 1, 2)];
    for (let round = 0; round < 3; round++) {
      const free = await Promise.all([1, 2, 3].map((member) => ask(group, 2, 20 * round + member)));
      expect(count(free)).toEqual({ done: 3 });
    }
    expect(await issuedOf(1)).toEqual([]);
    await other.query('COMMIT');
    expect(count(await Promise.all(held))).toEqual({ done: 1, 'sold-out': 1 });
  });

  test('a stock that stays another’s is a refusal in the end, and nothing of it is left behind', async () => {
    await put(1, 5);
    const other = await store.connect();
    await other.begin('READ COMMITTED');
    await other.query('UPDATE coupon SET version = version + 1 WHERE id = 1');
    const group = open({ lockWaitMs: 1_000 });
    expect(await Promise.all([ask(group, 1, 1), ask(group, 1, 2)])).toEqual(
      [1, 2].map(() => refused('lock-timeout')),
    );
    await other.query('ROLLBACK');
    expect(count(await Promise.all([ask(group, 1, 1), ask(group, 1, 2)]))).toEqual({ done: 2 });
  });

  test('a request that the database refuses spoils nobody else’s', async () => {
    await put(1, 1_000);
    const group = open();
    const members = [1, 2, 'no number', 3, 4, 5];
    const told = await Promise.allSettled(members.map((member) => ask(group, 1, member)));
    expect(told.map(({ status }) => status)).toEqual(
      members.map((member) => (typeof member === 'string' ? 'rejected' : 'fulfilled')),
    );
    expect(told[2]).toMatchObject({ reason: { code: 'REJECTED', effect: 'none' } });
    expect((await issuedOf(1)).map(({ member }) => member).sort()).toEqual([1, 2, 3, 4, 5]);
  });

  test.each([{ together: true }, { together: false }])(
    'text with half of a character is refused, alone: it has no bytes, and would be stored as what it is not ($together)',
    async (how) => {
      await put(1, 1_000);
      const group = open(how);
      const ids = ['whole', 'half \ud800', 'whole \u{1f600}', '\udc00'];
      const told = await Promise.allSettled(
        ids.map((id, member) => group.take({ stock: 1, claimant: member, id })),
      );
      expect(told.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected']);
      expect(told[1]).toMatchObject({ reason: { code: 'REJECTED', effect: 'none' } });
      expect((await store.query('SELECT request_id FROM issued ORDER BY request_id')).rows).toMatchObject([
        { request_id: 'whole' },
        { request_id: 'whole \u{1f600}' },
      ]);
      expect(await leftOf(1)).toBe(998);
    },
  );

  test('keys with half of a character are refused before they join others, however many there are', async () => {
    await put(1, 1_000);
    const group = open();
    const unfit = Array.from({ length: 40 }, (_, index) => {
      const half = `half ${index} \ud800`;
      return group.take({
        stock: 1,
        claimant: 0,
        id: 'unfit',
        ...(index % 2 ? { stock: half } : { claimant: half }),
      });
    });
    const fit = Array.from({ length: 24 }, (_, member) => ask(group, 1, 100 + member));
    const told = await Promise.allSettled(unfit);
    const refusal = { status: 'rejected', reason: { name: 'StoreError', code: 'REJECTED', effect: 'none' } };
    expect(told).toMatchObject(Array(40).fill(refusal));
    expect(count(await Promise.all(fit))).toEqual({ done: 24 });
    expect(await leftOf(1)).toBe(976);
  });

  test('who asks for a stock that is not there, or may not, gets none', async () => {
    await put(1, 1_000);
    const group = open();
    const asked = [ask(group, 99, 1), ask(group, 1, 13), ask(group, 1, 14)];
    expect(await Promise.all(asked)).toEqual([refused('wrong-state'), refused('not-eligible'), done(1)]);
  });

  test.each([
    { fate: 'answer-lost', known: [done(1), done(2), refused('already-issued')] },
    { fate: 'request-lost', known: [1, 2, 3].map(() => refused('contended')) },
  ] as const)('a COMMIT whose $fate is unknown to each, until it is read', async ({ fate, known }) => {
    await put(1, 1_000);
    const port = await proxyTo(fate);
    const group = open({}, { port });
    const lost = await Promise.all([1, 2, 1].map((member) => ask(group, 1, member)));
    expect(lost.map(({ outcome }) => outcome)).toEqual(['unknown', 'unknown', 'unknown']);
    // Reading it is a transaction without anything to write, which has no COMMIT to lose.
    const resolved = lost.map((one) => (one.outcome === 'unknown' ? one.resolve() : one));
    expect(await Promise.all(resolved)).toEqual(known);
  });
});

describe('the trap: one statement that locks and reads (PostgreSQL)', () => {
  /** As it is often written. What it reads beside the lock is what was there before the wait for it. */
  const IN_ONE = `
    WITH locked AS (SELECT id, remaining FROM coupon WHERE id = 1 FOR UPDATE),
      had AS (SELECT 1 FROM issued WHERE coupon_id = 1 AND member_id = 7)
    SELECT (SELECT remaining FROM locked) AS remaining, EXISTS (SELECT FROM had) AS had`;

  test('does not see what was handed out while it waited', async () => {
    const database = await openStore('postgres');
    onTestFinished(() => database.close());
    await database.query('CREATE TABLE coupon (id int PRIMARY KEY, remaining int NOT NULL)');
    await database.query(
      'CREATE TABLE issued (coupon_id int, member_id int, PRIMARY KEY (coupon_id, member_id))',
    );
    await database.query('INSERT INTO coupon VALUES (1, 2)');
    const other = await database.connect();
    await other.begin('READ COMMITTED');
    await other.query('UPDATE coupon SET remaining = 1 WHERE id = 1');
    await other.query('INSERT INTO issued VALUES (1, 7)');
    const reading = (await database.connect()).query(IN_ONE);
    await until(async () => (await database.waitingForLocks()) === 1);
    await other.query('COMMIT');
    expect((await reading).rows).toEqual([{ remaining: 1, had: false }]);
    expect((await database.query(IN_ONE)).rows).toEqual([{ remaining: 1, had: true }]);
  });
});
