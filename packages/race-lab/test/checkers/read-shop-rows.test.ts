import { expect, test } from 'vitest';
import { until } from '../../../../test/barrier.ts';
import { newDatabase, type SqlStore, sqlStores } from '../../../../test/stores.ts';
import { readShopRows } from '../../src/checkers/read-shop-rows.ts';
import { type Query, withDatabase } from '../../src/cluster/database-session.ts';

const LIMIT_MS = 10_000;

/** The columns that are read, with the types that each store has for them, and two orders, one of them paid. */
function shopTables(store: SqlStore): string[] {
  const key = store === 'postgres' ? 'varchar(200) COLLATE "C"' : 'varbinary(200)';
  return [
    `CREATE TABLE orders (order_id ${key}, member_id bigint, amount int, currency char(3))`,
    `CREATE TABLE lotto_publish (order_id ${key}, status varchar(16))`,
    `CREATE TABLE purchase (id bigint, order_id ${key}, payment_key ${key}, total_amount int,
       status varchar(16))`,
    'CREATE TABLE bill (id bigint, member_id bigint, purchase_id bigint)',
    `CREATE TABLE order_status_audit (id bigint, order_id ${key}, from_status varchar(16),
       to_status varchar(16), request_id ${key}, strategy varchar(64), instance varchar(64))`,
    `INSERT INTO orders VALUES ('Order-ä ', 9007199254740993, 3000, 'KRW'), ('order-2', 2, 1000, 'KRW')`,
    `INSERT INTO lotto_publish VALUES ('Order-ä ', 'COMPLETE'), ('order-2', 'WAITING')`,
    `INSERT INTO purchase VALUES (31, 'Order-ä ', 'pay-ä', 3000, 'SUCCESS'), (32, 'order-2', 'pay-2', 1000, 'REFUNDED')`,
    'INSERT INTO bill VALUES (41, 9007199254740993, 31), (40, 2, 32)',
    `INSERT INTO order_status_audit VALUES (10, 'Order-ä ', 'PENDING', 'COMPLETE', NULL, 'durable', 'back-2'),
       (9, 'Order-ä ', 'WAITING', 'PENDING', 'request-ä', 'durable', 'back-1')`,
  ];
}

const rows = {
  orders: [
    { orderId: 'Order-ä ', memberId: '9007199254740993', amount: 3000, currency: 'KRW', status: 'COMPLETE' },
    { orderId: 'order-2', memberId: '2', amount: 1000, currency: 'KRW', status: 'WAITING' },
  ],
  bills: [
    { billId: '41', orderId: 'Order-ä ', memberId: '9007199254740993', paymentKey: 'pay-ä', amount: 3000 },
  ],
  audit: [
    {
      id: '9',
      orderId: 'Order-ä ',
      from: 'WAITING',
      to: 'PENDING',
      requestId: 'request-ä',
      strategy: 'durable',
      instance: 'back-1',
    },
    {
      id: '10',
      orderId: 'Order-ä ',
      from: 'PENDING',
      to: 'COMPLETE',
      requestId: null,
      strategy: 'durable',
      instance: 'back-2',
    },
  ],
};

async function shop(store: SqlStore): Promise<string> {
  const url = await newDatabase(store);
  await withDatabase(url, LIMIT_MS, async (query) => {
    for (const statement of shopTables(store)) await query(statement);
  });
  return url;
}

test.for(sqlStores)(
  'the same rows come from every store, keys byte by byte, ids as text: %s',
  async (store) => {
    const read = await readShopRows(await shop(store));
    const byId = (a: { orderId: string }, b: { orderId: string }) => (a.orderId < b.orderId ? -1 : 1);
    expect({ ...read, orders: read.orders.toSorted(byId) }).toEqual(rows);
  },
);

/** Keeps others from the later tables; how to see that somebody waits for them; and how to let them go. */
const locking = {
  postgres: {
    lock: ['BEGIN', 'LOCK TABLE bill, order_status_audit IN ACCESS EXCLUSIVE MODE'],
    waiting: 'SELECT 1 FROM pg_locks WHERE NOT granted AND database IS NOT NULL',
    unlock: 'COMMIT',
  },
  mysql: {
    lock: ['LOCK TABLES bill WRITE, order_status_audit WRITE'],
    waiting: `SELECT 1 FROM information_schema.processlist
               WHERE db = DATABASE() AND state LIKE 'Waiting for table%lock'`,
    unlock: 'UNLOCK TABLES',
  },
};

test.for(sqlStores)('what is committed while they are read is in none of the tables: %s', async (store) => {
  const url = await shop(store);
  const { lock, waiting, unlock } = locking[store === 'postgres' ? 'postgres' : 'mysql'];
  const read = await withDatabase(url, LIMIT_MS, async (writer) => {
    for (const statement of lock) await writer(statement);
    const reading = readShopRows(url);
    // The orders have been read by then, and the bills not.
    await withDatabase(url, LIMIT_MS, (watch: Query) => until(async () => (await watch(waiting)).length > 0));
    await writer('INSERT INTO bill VALUES (42, 2, 31)');
    await writer(
      `INSERT INTO order_status_audit VALUES (11, 'order-2', 'WAITING', 'PENDING', 'r', 's', 'i')`,
    );
    await writer(unlock);
    return reading;
  });
  expect(read.bills).toEqual(rows.bills);
  expect(read.audit).toEqual(rows.audit);
  expect(await readShopRows(url)).toMatchObject({ bills: { length: 2 }, audit: { length: 3 } });
});

test.for(sqlStores)(
  'a database without the tables of the shop is the error of the driver: %s',
  async (store) => {
    const url = await newDatabase(store);
    await expect(readShopRows(url)).rejects.toMatchObject({
      code: store === 'postgres' ? '42P01' : 'ER_NO_SUCH_TABLE',
    });
  },
);
