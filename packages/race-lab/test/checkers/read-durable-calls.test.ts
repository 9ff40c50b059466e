import { expect, test } from 'vitest';
import { newDatabase, type SqlStore, sqlStores } from '../../../../test/stores.ts';
import { readDurableCalls } from '../../src/checkers/read-durable-calls.ts';
import { withDatabase } from '../../src/cluster/database-session.ts';

const LIMIT_MS = 10_000;

/** The columns that are read, with the types that each store has for them, and two calls: the one of them without an end. */
function tables(store: SqlStore): string[] {
  const key = store === 'postgres' ? 'text COLLATE "C"' : 'varbinary(1020)';
  const moment = store === 'postgres' ? 'timestamptz' : 'datetime(6)';
  // As each store writes a moment in UTC.
  const at = (time: string) => `'2026-01-01 00:00:${time}${store === 'postgres' ? '+00' : ''}'`;
  return [
    `CREATE TABLE pawl_durable_call (subject ${key}, attempt int, state varchar(16), fence int, request text,
       created_at ${moment}, changed_at ${moment}, final_after ${moment})`,
    `INSERT INTO pawl_durable_call VALUES
       ('stray:key-ä', 1, 'compensating', 2, '{"orderId":"order-2"}', ${at('03.25')}, ${at('04')}, NULL),
       ('Order-ä ', 2, 'done', 1, '{"orderId":"Order-ä ","amount":1000}', ${at('01.5')}, ${at('02.123456')}, ${at('09')})`,
  ];
}

const START_MS = Date.UTC(2026, 0, 1);

test.for(sqlStores)(
  'the same calls come from every store, in the order of their claims, moments in milliseconds since 1970: %s',
  async (store) => {
    const url = await newDatabase(store);
    await withDatabase(url, LIMIT_MS, async (query) => {
      for (const statement of tables(store)) await query(statement);
    });
    const calls = await readDurableCalls(url);
    expect(calls).toEqual([
      {
        ...{ subject: 'Order-ä ', orderId: 'Order-ä ', attempt: 2, state: 'done', fence: 1 },
        ...{ createdAtMs: START_MS + 1500, finalAfterMs: START_MS + 9000 },
        changedAtMs: expect.closeTo(START_MS + 2123.456, 2),
      },
      {
        ...{ subject: 'stray:key-ä', orderId: 'order-2', attempt: 1, state: 'compensating', fence: 2 },
        ...{ createdAtMs: START_MS + 3250, changedAtMs: START_MS + 4000, finalAfterMs: null },
      },
    ]);
  },
);
