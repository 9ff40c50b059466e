import { randomUUID } from 'node:crypto';
import { createPool } from 'mysql2';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../../../test/barrier.ts';
import { mysql2Port } from '../src/adapters/mysql2.ts';
import { pgPort } from '../src/adapters/pg.ts';
import {
  type Decision,
  done,
  groupedClaims,
  groupedIdempotencyStore,
  groupedUpdates,
  migrate,
  refused,
  type SqlPort,
  stock,
} from '../src/index.ts';
import { answer } from './idempotency-stores.ts';
import { limits } from './ports/mysql2.ts';
import { openStore, type Store } from './stores.ts';

/*
 * PostgreSQL plans what is prepared once, and keeps the plan until the table is analyzed again: of a table that was small then, it may
 * choose to read all. What such a table has become when a sale has gone on for a minute must not be read whole by each batch. MariaDB
 * plans each time, by statistics that may be as old.
 */

/** Rows that a table has when all is planned, and which it has later. */
const SMALL = [0, 5, 50, 400];
const LARGE = 30_000;
/** Rows of tables and of indexes that a batch of `MANY` may read, of five tables. */
const MOST_READ = 1_500;
const MANY = 20;
/** Stocks that are not filled, and may be asked for. */
const STOCKS = 10;

/** A guard at work. */
interface Scenario {
  readonly name: string;
  /** Rows with these numbers, which are no work's. */
  fill(from: number, to: number): Promise<void>;
  /** As many at the same time, of which none has been used. */
  work(sql: SqlPort, numbers: readonly number[]): Promise<void>;
}

let store: Store;
let used = 1_000_000;
const numbers = (count: number) => Array.from({ length: count }, () => ++used);
const each = (from: number, to: number) =>
  store.kind === 'postgres'
    ? `generate_series(${from}, ${to}) AS number`
    : `(SELECT seq AS number FROM seq_${from}_to_${to}) AS numbers`;

const TIMES = { leaseMs: 60_000, retentionMs: 600_000 };
const PAID = { ...answer('paid'), headers: {} };
const SCOPE = '["member 1","POST /api/tickets"]';

const coupons = (stocks: number): Scenario => ({
  name: stocks === 1 ? 'a stock' : `${stocks} stocks`,
  async fill(from, to) {
    await store.query(`INSERT INTO coupon SELECT number, 10 FROM ${each(from, to)}`);
    await store.query(`INSERT INTO issued SELECT 1, number FROM ${each(from, to)}`);
    await store.query(`INSERT INTO member SELECT number, 0 FROM ${each(from, to)}`);
  },
  async work(sql, members) {
    const { take } = stock<{ stock: number; claimant: number }, number, 'already-issued'>(
      sql,
      {
        rows: { table: 'coupon', key: 'id', columns: ['remaining'] },
        claims: { table: 'issued', stock: 'coupon_id', claimant: 'member_id', columns: [] },
        claimants: { table: 'member', key: 'id', columns: ['barred'] },
        take: ({ row, claimed }) =>
          claimed
            ? refused('already-issued')
            : done({ set: { remaining: Number(row.remaining) - 1 }, claim: {}, value: 1 }),
        recall: () => refused('already-issued'),
      },
      { name: 'coupons' },
    );
    const asked = members.map((claimant, index) => take({ stock: 1 + (index % stocks), claimant }));
    const told = await Promise.all(asked);
    expect(told.filter(({ outcome }) => outcome === 'done')).toHaveLength(members.length);
  },
});

const updates: Scenario = {
  name: 'conditional updates',
  async fill(from, to) {
    await store.query(`INSERT INTO seat SELECT number, 'free' FROM ${each(from, to)}`);
  },
  async work(sql, seats) {
    await store.query(`INSERT INTO seat VALUES ${seats.map((id) => `(${id}, 'free')`)}`);
    const { update } = groupedUpdates(sql, { name: 'seats' });
    const told = await Promise.all(
      seats.map((id) =>
        update({ table: 'seat', key: { id }, expect: { status: 'free' }, set: { status: 'taken' } }),
      ),
    );
    expect(told.filter(({ outcome }) => outcome === 'done')).toHaveLength(seats.length);
  },
};

const claims: Scenario = {
  name: 'unique claims',
  async fill(from, to) {
    await store.query(
      `INSERT INTO payment SELECT concat('payment ', number), 'somebody' FROM ${each(from, to)}`,
    );
  },
  async work(sql, payments) {
    const { claim } = groupedClaims(sql, { name: 'payments' });
    const all = () =>
      Promise.all(
        payments.map((number) =>
          claim({ table: 'payment', key: { payment_key: `payment ${number}` }, values: { owner: 'me' } }),
        ),
      );
    expect((await all()).filter(({ outcome }) => outcome === 'done')).toHaveLength(payments.length);
    // They are there, so they are looked for.
    expect((await all()).filter(({ outcome }) => outcome === 'done')).toHaveLength(0);
  },
};

const keys: Scenario = {
  name: 'idempotency keys',
  async fill(from, to) {
    await store.query(
      `INSERT INTO pawl_idempotency_key (scope, idempotency_key, mode, fingerprint, owner, attempt, lease_until, expires_at, created_at)
       SELECT '${SCOPE}', concat('key ', number), 'leased', '', '${randomUUID()}', 1, '2100-01-01', '2100-01-01', '2000-01-01' FROM ${each(from, to)}`,
    );
  },
  async work(sql, those) {
    const records = groupedIdempotencyStore(sql);
    const owner = randomUUID();
    const ids = those.map((number) => ({ scope: SCOPE, key: `key ${number}` }));
    const fingerprint = 'a'.repeat(64);
    const all = <T>(one: (id: (typeof ids)[number]) => Promise<T>) => Promise.all(ids.map(one));
    const claim = () => all((id) => records.claim({ ...id, mode: 'leased', fingerprint, owner, ...TIMES }));
    expect((await claim()).every(({ claimed }) => claimed)).toBe(true);
    expect(await all((id) => records.renew(id, owner, TIMES))).not.toContain(false);
    expect((await claim()).some(({ claimed }) => claimed)).toBe(false);
    expect(await all((id) => records.complete(id, owner, PAID, 600_000))).not.toContain(false);
    expect(await all((id) => records.read(id))).not.toContain(undefined);
    expect(await all((id) => records.release(id, owner))).not.toContain(true);
  },
};

const calls: Scenario = {
  name: 'durable calls',
  async fill(from, to) {
    await store.query(
      `INSERT INTO pawl_durable_call (scope, idempotency_key, fingerprint, name, subject, attempt, state, fence, request, compensation_try, created_at, changed_at)
       SELECT '${SCOPE}', concat('call ', number), '', 'pay', concat('order ', number), 1, 'calling', 1, '{}', 0, now(), now() FROM ${each(from, to)}`,
    );
  },
  async work(sql, those) {
    const { lock, find, attempts, insert, complete, completeFenced } = sql.dialect.durableCallBatch;
    const table = 'pawl_durable_call';
    const ids = those.map((number) => ({ scope: SCOPE, key: `call ${number}` }));
    const orders = those.map((number) => `order ${number}`);
    const call = { name: 'pay', attempt: 1, fingerprint: 'aa', state: 'calling', request: {} } as const;
    const made = ids.map((id, index) => ({ ...call, id, subject: String(orders[index]) }));
    await write(sql, [insert(table, made)]);
    const reads = [lock(table, ids, false), find(table, ids), attempts(table, 'pay', orders)];
    await sql.readThenWrite?.(reads, (read) => {
      expect(read.map(({ rows }) => rows.length)).toEqual(reads.map(() => ids.length));
      return { writes: [], result: () => undefined };
    });
    const ended = ids.map((id) => ({ id, answer: PAID, retentionMs: 600_000, fence: 1 }));
    const half = Math.ceil(ids.length / 2);
    await write(sql, completeFenced(table, ended.slice(0, half)));
    if (ids.length > 1) await write(sql, complete(table, ended.slice(half)));
    // What this session reads counts too.
    const these = ids.map(({ key }) => `'${key}'`);
    const { rows } = await store.query(
      `SELECT count(*) AS n FROM ${table} WHERE scope = '${SCOPE}' AND idempotency_key IN (${these}) AND state = 'done'`,
    );
    expect(Number(rows[0]?.n)).toBe(ids.length);
  },
};

async function write(sql: SqlPort, writes: Decision<undefined>['writes']): Promise<void> {
  await sql.readThenWrite?.([], () => ({ writes, result: () => undefined }));
}

const TABLES = ['coupon', 'issued', 'member', 'seat', 'payment', 'pawl_idempotency_key', 'pawl_durable_call'];

async function createTables(): Promise<void> {
  await store.query('CREATE TABLE coupon (id int PRIMARY KEY, remaining int NOT NULL)');
  await store.query(
    'CREATE TABLE issued (coupon_id int NOT NULL, member_id int NOT NULL, PRIMARY KEY (coupon_id, member_id))',
  );
  await store.query('CREATE TABLE member (id int PRIMARY KEY, barred int NOT NULL)');
  await store.query('CREATE TABLE seat (id int PRIMARY KEY, status varchar(10) NOT NULL)');
  await store.query('CREATE TABLE payment (payment_key varchar(50) PRIMARY KEY, owner varchar(20) NOT NULL)');
  await migrate(store.open());
  const without = store.kind === 'postgres' ? 'SET (autovacuum_enabled = false)' : 'STATS_AUTO_RECALC = 0';
  for (const table of TABLES) await store.query(`ALTER TABLE ${table} ${without}`);
}

/** A port with one connection. */
interface OnePort {
  readonly sql: SqlPort;
  /** What is read over it counts from now on. */
  count(): Promise<void>;
  /** Closes it. @returns how many rows of tables and of indexes it has read. */
  close(): Promise<number>;
}

/** Makes PostgreSQL's session tell what it has read as soon as this statement has ended. */
const TELL_READ = 'SELECT pg_stat_force_next_flush()';

function openPostgres(forGroups: boolean): OnePort {
  const name = `flat ${randomUUID()}`;
  const pool = new pg.Pool({ connectionString: store.url, max: 1, application_name: name });
  const sql = pgPort(pool, { forGroups });
  const hasEnded = async () =>
    (await store.query('SELECT 1 FROM pg_stat_activity WHERE application_name = ?', name)).rows.length === 0;
  return {
    sql,
    // A session tells what it has read once a second at most, so that what it read before could be told, and counted, after the reset.
    async count() {
      await sql.execute({ text: TELL_READ, values: [] });
      await store.query(TELL_READ);
      await store.query('SELECT pg_stat_reset()');
    },
    // It tells the rest when it ends.
    async close() {
      await pool.end();
      await until(hasEnded);
      await store.query(TELL_READ);
      const { rows } = await store.query(
        `SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables) + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes) AS n`,
      );
      return Number(rows[0]?.n);
    },
  };
}

function openMariadb(forGroups: boolean): OnePort {
  const pool = createPool({ uri: store.url, connectionLimit: 1, multipleStatements: true });
  const sql = mysql2Port(pool, { ...limits, forGroups });
  const rowsRead = async () => {
    const text = `SELECT sum(variable_value) AS n FROM information_schema.session_status WHERE variable_name LIKE 'Handler_read%'`;
    return Number((await sql.execute({ text, values: [] })).rows[0]?.n);
  };
  let before = 0;
  return {
    sql,
    async count() {
      before = await rowsRead();
    },
    async close() {
      const read = (await rowsRead()) - before;
      await pool.promise().end();
      return read;
    },
  };
}

/** What one batch reads, and one by itself, when the tables have grown since their statements were planned. */
async function readWhenGrown({ fill, work }: Scenario, small: number, forGroups: boolean): Promise<number> {
  for (const table of TABLES) await store.query(`TRUNCATE TABLE ${table}`);
  await store.query(`INSERT INTO coupon SELECT number, 1000000 FROM ${each(1, STOCKS)}`);
  if (small > 0) await fill(STOCKS + 1, STOCKS + small);
  await store.query(store.kind === 'postgres' ? 'VACUUM ANALYZE' : `ANALYZE TABLE ${TABLES}`);
  const { sql, count, close } = store.kind === 'postgres' ? openPostgres(forGroups) : openMariadb(forGroups);
  // The sixth time a plan is made that is kept.
  for (let time = 0; time < 8; time++) await work(sql, numbers(3));
  for (let time = 0; time < 8; time++) await work(sql, numbers(1));
  await fill(STOCKS + small + 1, LARGE);
  await count();
  await work(sql, numbers(MANY));
  await work(sql, numbers(1));
  return close();
}

describe.each(['postgres', 'mariadb'] as const)('on %s', (on) => {
  beforeAll(async () => {
    store = await openStore(on);
    await createTables();
  });
  afterAll(() => store.close());

  describe.each([coupons(1), coupons(3), coupons(7), updates, claims, keys, calls])('$name', (scenario) => {
    test.each(SMALL)('planned for tables of %i rows, a batch reads few of many', async (small) => {
      expect(await readWhenGrown(scenario, small, false)).toBeLessThan(MOST_READ);
      expect(await readWhenGrown(scenario, small, true)).toBeLessThan(MOST_READ);
    });
  });
});
