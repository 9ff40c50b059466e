import { withDatabase } from '../../../../packages/race-lab/src/cluster/database-session.ts';
import { COUPON, PLENTY } from '../coupon/coupon.ts';
import type { DatabaseName } from '../operations/contenders/database.ts';
import { type Size, tablesOf } from './contenders.ts';

/** Of each of the coupons that were issued before. */
const ISSUED_EACH = 10_000;

const LIMIT_MS = 900_000;

const dialects = {
  postgres: {
    time: 'timestamptz',
    numbers: (last: number) => `SELECT n FROM generate_series(0, ${last}) AS n`,
    quotient: (n: string) => `${n} / ${ISSUED_EACH}`,
    settle: (tables: readonly string[]) => [
      ...tables.map((table) => `VACUUM ANALYZE ${table}`),
      'CHECKPOINT',
    ],
  },
  mariadb: {
    time: 'datetime(6)',
    numbers: (last: number) => `SELECT CAST(seq AS signed) AS n FROM seq_0_to_${last}`,
    quotient: (n: string) => `${n} DIV ${ISSUED_EACH}`,
    settle: (tables: readonly string[]) => tables.map((table) => `ANALYZE TABLE ${table}`),
  },
};

/**
 * Makes the tables of a size, with so many issued coupons of earlier sales, 10,000 of each, and the one that is on sale now, of which
 * none is issued.
 */
export async function makeHistory(
  database: DatabaseName,
  url: string,
  size: Size,
  issuedRows: number,
): Promise<void> {
  const { coupon, issued } = tablesOf(size);
  const { time, numbers, quotient, settle } = dialects[database];
  await withDatabase(url, LIMIT_MS, async (query) => {
    for (const table of [issued, coupon]) await query(`DROP TABLE IF EXISTS ${table}`);
    await query(`CREATE TABLE ${coupon} (id bigint PRIMARY KEY, remaining int NOT NULL)`);
    await query(
      `CREATE TABLE ${issued} (coupon_id bigint NOT NULL, member_id bigint NOT NULL, serial int NOT NULL,
         issued_at ${time} NOT NULL, PRIMARY KEY (coupon_id, member_id))`,
    );
    const sales = Math.ceil(issuedRows / ISSUED_EACH);
    await query(`INSERT INTO ${coupon} SELECT ${COUPON} + 1 + n, 0 FROM (${numbers(sales - 1)}) AS numbers`);
    await query(`INSERT INTO ${coupon} VALUES (${COUPON}, ${PLENTY})`);
    // On both sides of the sale that is on now, in the order of the key.
    await query(
      `INSERT INTO ${issued}
       SELECT ${quotient('n')} + CASE WHEN n < ${issuedRows / 2} THEN ${COUPON} - ${sales} ELSE ${COUPON} + 1 END, n, 1,
         CURRENT_TIMESTAMP(6)
       FROM (${numbers(issuedRows - 1)}) AS numbers`,
    );
    for (const statement of settle([coupon, issued])) await query(statement);
  });
}

/** @returns how many are issued of the coupon that is on sale, and how many of all. */
export async function readIssued(
  url: string,
  size: Size,
): Promise<{ readonly onSale: number; readonly taken: number }> {
  const { coupon, issued } = tablesOf(size);
  return withDatabase(url, LIMIT_MS, async (query) => {
    const [rows] = await query(`SELECT count(*) AS n FROM ${issued} WHERE coupon_id = ${COUPON}`);
    const [row] = await query(`SELECT remaining FROM ${coupon} WHERE id = ${COUPON}`);
    return { onSale: Number(rows?.n), taken: PLENTY - Number(row?.remaining) };
  });
}

/** None is issued any more of the coupon that is on sale. */
export async function forgetSale(url: string, size: Size): Promise<void> {
  const { coupon, issued } = tablesOf(size);
  await withDatabase(url, LIMIT_MS, async (query) => {
    await query(`DELETE FROM ${issued} WHERE coupon_id = ${COUPON}`);
    await query(`UPDATE ${coupon} SET remaining = ${PLENTY} WHERE id = ${COUPON}`);
  });
}
