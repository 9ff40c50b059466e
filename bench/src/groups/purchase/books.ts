import { withDatabase } from '../../../../packages/race-lab/src/cluster/database-session.ts';
import type { ServerUrls } from '../../servers.ts';
import type { DatabaseName } from '../operations/contenders/database.ts';
import { makePawlTables } from './contenders/pawl-tables.ts';

/** What was bought, as it is stored. */
export interface Bought {
  readonly paid: number;
  readonly bills: number;
}

/** The orders of a database, and their bills. */
export interface Books {
  /** There are so many orders, from the first on, all to be paid; and nothing else. */
  fill(first: number, orders: number): Promise<void>;
  read(): Promise<Bought>;
}

const LIMIT_MS = 120_000;

const dialects = {
  postgres: {
    time: 'timestamptz',
    numbers: (first: number, last: number) =>
      `SELECT id FROM generate_series(${first}::bigint, ${last}) AS id`,
  },
  mariadb: {
    time: 'datetime(6)',
    numbers: (first: number, last: number) => `SELECT seq AS id FROM seq_${first}_to_${last}`,
  },
};

/** The tables, made anew. */
export async function openBooks(database: DatabaseName, urls: ServerUrls): Promise<Books> {
  const url = urls[database];
  const { time, numbers } = dialects[database];
  const durableCall = await makePawlTables(database, urls);
  await withDatabase(url, LIMIT_MS, async (query) => {
    await query('DROP TABLE IF EXISTS bill');
    await query('DROP TABLE IF EXISTS ticket_order');
    await query(
      `CREATE TABLE ticket_order (id bigint PRIMARY KEY, status varchar(16) NOT NULL, attempt int NOT NULL,
         payment_key varchar(64), approval varchar(64), paid_at ${time})`,
    );
    await query(
      `CREATE TABLE bill (order_id bigint PRIMARY KEY, amount int NOT NULL, approval varchar(64) NOT NULL,
         paid_at ${time} NOT NULL)`,
    );
  });
  return {
    fill: (first, orders) =>
      withDatabase(url, LIMIT_MS, async (query) => {
        for (const table of ['bill', 'ticket_order', durableCall]) await query(`TRUNCATE TABLE ${table}`);
        await query(
          `INSERT INTO ticket_order (id, status, attempt)
           SELECT id, 'PENDING', 1 FROM (${numbers(first, first + orders - 1)}) AS numbers`,
        );
      }),
    read: () =>
      withDatabase(url, LIMIT_MS, async (query) => {
        const [orders] = await query("SELECT count(*) AS n FROM ticket_order WHERE status = 'PAID'");
        const [bills] = await query('SELECT count(*) AS n FROM bill');
        return { paid: Number(orders?.n), bills: Number(bills?.n) };
      }),
  };
}
