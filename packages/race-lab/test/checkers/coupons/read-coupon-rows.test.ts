import { describe, expect, test } from 'vitest';
import { barrier, until } from '../../../../../test/barrier.ts';
import { newDatabase, type SqlStore, sqlStores } from '../../../../../test/stores.ts';
import { watchStock } from '../../../src/checkers/coupon-stock-watch.ts';
import { readCouponRows, readStockSnapshot } from '../../../src/checkers/read-coupon-rows.ts';
import { type Query, withDatabase } from '../../../src/cluster/database-session.ts';

const LIMIT_MS = 10_000;
const A = '0f8fad5b-d9cb-469f-a165-70867728950e';
const B = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
const OTHER = '11111111-2222-3333-4444-555555555555';

/** The columns that are read, with the types that each store has for them, and two coupons, of which one was issued. */
function couponTables(store: SqlStore): string[] {
  const key = store === 'postgres' ? 'varchar(64) COLLATE "C"' : 'varbinary(64)';
  const moment = store === 'postgres' ? 'timestamptz' : 'datetime(6)';
  const at = (moment: string) => (store === 'postgres' ? `'${moment}+00'` : `'${moment}'`);
  const row = (id: number, coupon: string, member: string, serial: number, request: string, moment: string) =>
    `(${id}, '${coupon}', ${member}, ${serial}, 'pessimistic', 'back-2', '${request}', ${at(moment)})`;
  return [
    `CREATE TABLE coupon (id ${key} PRIMARY KEY, sequence bigint, number_of_coupons int, remaining int, daily_quota int,
       quota_day date, quota_used int)`,
    `CREATE TABLE issued_coupon (id bigint, coupon_id ${key}, member_id bigint, serial int, strategy varchar(64),
       instance varchar(64), request_id ${key}, issued_at ${moment})`,
    `INSERT INTO coupon VALUES ('${B}', 2, 10, 10, NULL, NULL, 0), ('${A}', 1, 100, 98, 5, '2026-03-01', 2),
       ('${OTHER}', 3, 1, 0, NULL, NULL, 0)`,
    `INSERT INTO issued_coupon VALUES
       ${row(12, A, '9007199254740991', 2, 'request-ä ', '2026-03-01 03:04:05.678901')},
       ${row(11, A, '7', 1, 'Request', '1999-12-31 23:59:59.999999')},
       ${row(13, OTHER, '7', 1, 'x', '2026-03-01 03:04:05')}`,
  ];
}

async function shop(store: SqlStore): Promise<string> {
  const url = await newDatabase(store);
  await withDatabase(url, LIMIT_MS, async (query) => {
    for (const statement of couponTables(store)) await query(statement);
  });
  return url;
}

const issue = (id: number) =>
  `INSERT INTO issued_coupon VALUES (${id}, '${A}', 8, 3, 's', 'i', 'r', '2026-03-01 03:04:06')`;
const takeOne = `UPDATE coupon SET remaining = remaining - 1 WHERE id = '${A}'`;

test.for(sqlStores)(
  'the same rows come from every store, of the coupons that are asked for: %s',
  async (store) => {
    const kept = { strategy: 'pessimistic', instance: 'back-2' };
    expect(await readCouponRows(await shop(store), [B, A])).toEqual({
      coupons: [
        {
          couponId: A,
          numberOfCoupons: 100,
          remaining: 98,
          dailyQuota: 5,
          quotaDay: '2026-03-01',
          quotaUsed: 2,
        },
        { couponId: B, numberOfCoupons: 10, remaining: 10, dailyQuota: null, quotaDay: null, quotaUsed: 0 },
      ],
      issued: [
        {
          ...kept,
          id: '11',
          couponId: A,
          memberId: 7,
          serial: 1,
          requestId: 'Request',
          issuedAtMs: Date.parse('1999-12-31T23:59:59.999Z') + 0.999,
        },
        {
          ...kept,
          id: '12',
          couponId: A,
          memberId: Number.MAX_SAFE_INTEGER,
          serial: 2,
          requestId: 'request-ä ',
          issuedAtMs: Date.parse('2026-03-01T03:04:05.678Z') + 0.901,
        },
      ],
    });
  },
);

test.for(sqlStores)('a coupon that is not there has no rows: %s', async (store) => {
  const nobodys = '99999999-9999-9999-9999-999999999999';
  expect(await readCouponRows(await shop(store), [nobodys])).toEqual({ coupons: [], issued: [] });
});

/** Keeps others from the issues; how to see that somebody waits for them; and how to let them go. */
const locking = {
  postgres: {
    lock: ['BEGIN', 'LOCK TABLE issued_coupon IN ACCESS EXCLUSIVE MODE'],
    waiting: 'SELECT 1 FROM pg_locks WHERE NOT granted AND database IS NOT NULL',
    unlock: 'COMMIT',
  },
  mysql: {
    lock: ['LOCK TABLES issued_coupon WRITE'],
    waiting: `SELECT 1 FROM information_schema.processlist
               WHERE db = DATABASE() AND state LIKE 'Waiting for table%lock'`,
    unlock: 'UNLOCK TABLES',
  },
};

test.for(sqlStores)('what is committed while they are read is in neither table: %s', async (store) => {
  const url = await shop(store);
  const { lock, waiting, unlock } = locking[store === 'postgres' ? 'postgres' : 'mysql'];
  const read = await withDatabase(url, LIMIT_MS, async (writer) => {
    for (const statement of lock) await writer(statement);
    const reading = readCouponRows(url, [A]);
    await withDatabase(url, LIMIT_MS, async (other: Query) => {
      // The coupon has been read by then, and its issues not.
      await until(async () => (await other(waiting)).length > 0);
      await other(takeOne);
    });
    await writer(issue(14));
    await writer(unlock);
    return reading;
  });
  expect(read).toMatchObject({ coupons: [{ remaining: 98 }], issued: { length: 2 } });
  expect(await readCouponRows(url, [A])).toMatchObject({
    coupons: [{ remaining: 97 }],
    issued: { length: 3 },
  });
});

test.for(sqlStores)('the stock is read in one snapshot each time, while it is sold: %s', async (store) => {
  const url = await shop(store);
  const connected = barrier(2);
  let watched = true;
  let sold = 0;
  const selling = withDatabase(url, LIMIT_MS, async (query) => {
    await connected();
    for (; watched; sold++) {
      await query('BEGIN');
      await query(takeOne);
      await query(issue(100 + sold));
      await query('COMMIT');
    }
  });
  await withDatabase(url, LIMIT_MS, async (query) => {
    await connected();
    try {
      for (const states = new Set<number>(); states.size < 10; ) {
        const { remaining, issued } = await readStockSnapshot(query, A);
        expect(remaining + issued).toBe(100);
        states.add(issued);
      }
    } finally {
      watched = false;
    }
    await selling;
    const last = await readStockSnapshot(query, A);
    expect(last).toMatchObject({ couponId: A, remaining: 98 - sold, issued: 2 + sold });
  });
});

test('the stock of a coupon that is not there is an error, not an empty one', async () => {
  const none = '99999999-9999-9999-9999-999999999999';
  const reading = withDatabase(await shop('postgres'), LIMIT_MS, (query) => readStockSnapshot(query, none));
  await expect(reading).rejects.toMatchObject({ code: 'UNKNOWN_COUPON', couponId: none });
});

test.each(['', 'x', `${A}' OR '1' = '1`, A.toUpperCase()])('%j is no id of a coupon', async (id) => {
  // Nobody is asked: there is no such server.
  const nowhere = 'postgres://127.0.0.1:1/none';
  await expect(readCouponRows(nowhere, [A, id])).rejects.toThrow(RangeError);
  await expect(readStockSnapshot(() => Promise.reject(new Error('asked')), id)).rejects.toThrow(RangeError);
});

test('no coupon at all is an error', async () => {
  await expect(readCouponRows('postgres://127.0.0.1:1/none', [])).rejects.toThrow(RangeError);
});

test.for(sqlStores)(
  'a database without the tables of the shop is the error of the driver: %s',
  async (store) => {
    const url = await newDatabase(store);
    await expect(readCouponRows(url, [A])).rejects.toMatchObject({
      code: store === 'postgres' ? '42P01' : 'ER_NO_SUCH_TABLE',
    });
  },
);

describe('watching a stock', () => {
  test.for(sqlStores)('it is looked at from the beginning to the end: %s', async (store) => {
    const url = await shop(store);
    const watch = await watchStock(url, A);
    await withDatabase(url, LIMIT_MS, async (query) => {
      await query(takeOne);
      await query(issue(14));
    });
    const { snapshots, brokenBecause } = await watch.stop();
    expect(brokenBecause).toBeNull();
    expect(snapshots[0]).toMatchObject({ couponId: A, remaining: 98, issued: 2 });
    expect(snapshots.at(-1)).toMatchObject({ couponId: A, remaining: 97, issued: 3 });
    const times = snapshots.map(({ askedAtUs }) => askedAtUs);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(await watch.stop()).toEqual({ snapshots, brokenBecause });
  });

  const sessions = `SELECT pid, query_start FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%COUNT(*) FROM issued_coupon%'`;

  test('it is looked at again and again, and the connection is closed in the end', async () => {
    const url = await shop('postgres');
    const watch = await watchStock(url, A);
    await withDatabase(url, LIMIT_MS, async (query) => {
      const lastLook = async () => String((await query(sessions))[0]?.query_start);
      for (let times = 0; times < 3; times++) {
        const last = await lastLook();
        await until(async () => (await lastLook()) !== last);
      }
      await watch.stop();
      await until(async () => (await query(sessions)).length === 0);
    });
  });

  test('a connection that is lost is told, with what was seen until then', async () => {
    const url = await shop('postgres');
    const watch = await watchStock(url, A);
    await withDatabase(url, LIMIT_MS, (query) =>
      query(`SELECT pg_terminate_backend(pid) FROM (${sessions}) AS watching`),
    );
    const { snapshots, brokenBecause } = await watch.stop();
    expect(brokenBecause).toEqual(expect.any(String));
    expect(snapshots[0]).toMatchObject({ remaining: 98, issued: 2 });
  });

  test.each([
    ['no server', async () => 'postgres://127.0.0.1:1/none', A, /ECONNREFUSED/],
    ['no tables', () => newDatabase('mariadb'), A, /coupon/],
    [
      'no such coupon',
      () => shop('mariadb'),
      '99999999-9999-9999-9999-999999999999',
      /the database has no coupon 99999999-/,
    ],
    ['no id', () => shop('postgres'), 'x', /must be a UUID, got "x"/],
  ])('%s is told, and fails nobody', async (_name, url, couponId, because) => {
    const watch = await watchStock(await url(), couponId);
    expect(await watch.stop()).toEqual({ snapshots: [], brokenBecause: expect.stringMatching(because) });
  });
});
