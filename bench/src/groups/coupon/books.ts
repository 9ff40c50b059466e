import { withDatabase } from '../../../../packages/race-lab/src/cluster/database-session.ts';
import { ALREADY_ISSUED, COUPON, DONE, SOLD_OUT } from './coupon.ts';

/** What was sold, as it is stored. */
export interface Sold {
  readonly remaining: number;
  /** How many members have one. */
  readonly issued: number;
}

/** The store of a row, as others see it. */
export interface Books {
  /** Nothing is issued, and so many are left. */
  reset(stock: number): Promise<void>;
  read(): Promise<Sold>;
  close(): Promise<void>;
}

const LIMIT_MS = 60_000;

/** The tables, made anew. */
export async function openSqlBooks(url: string): Promise<Books> {
  const time = url.startsWith('mysql:') ? 'datetime(6)' : 'timestamptz';
  await withDatabase(url, LIMIT_MS, async (query) => {
    await query('DROP TABLE IF EXISTS issued');
    await query('DROP TABLE IF EXISTS coupon');
    await query('CREATE TABLE coupon (id bigint PRIMARY KEY, remaining int NOT NULL)');
    await query(
      `CREATE TABLE issued (coupon_id bigint NOT NULL, member_id bigint NOT NULL, serial int NOT NULL,
         issued_at ${time} NOT NULL, PRIMARY KEY (coupon_id, member_id))`,
    );
  });
  return {
    reset: (stock) =>
      withDatabase(url, LIMIT_MS, async (query) => {
        await query('TRUNCATE TABLE issued');
        await query('TRUNCATE TABLE coupon');
        await query(`INSERT INTO coupon VALUES (${COUPON}, ${stock})`);
      }),
    read: () =>
      withDatabase(url, LIMIT_MS, async (query) => {
        const [coupon] = await query(`SELECT remaining FROM coupon WHERE id = ${COUPON}`);
        const [issued] = await query(`SELECT count(*) AS n FROM issued WHERE coupon_id = ${COUPON}`);
        return { remaining: Number(coupon?.remaining), issued: Number(issued?.n) };
      }),
    close: async () => undefined,
  };
}

/**
 * Whether what every caller was told is what became of his request.
 *
 * @param asked  Each member, in the order in which they asked, with what he was told. There were more members than coupons.
 * @returns one sentence for each thing that is not as it must be.
 */
export function wrongInSale(
  asked: readonly { readonly member: number; readonly told: string }[],
  stock: number,
  sold: Sold,
): string[] {
  const wrong: string[] = [];
  const done = asked.filter(({ told }) => told === DONE).length;
  if (sold.issued !== stock) wrong.push(`of a stock of ${stock} it issued ${sold.issued}`);
  if (sold.remaining !== 0) wrong.push(`sold out, it has ${sold.remaining} left`);
  if (done !== stock) wrong.push(`of a stock of ${stock} it told ${done} that they have one`);
  for (const [member, all] of Map.groupBy(asked, (one) => one.member)) {
    const words = all.map(({ told }) => told).toSorted();
    const isServed = words.includes(DONE);
    const expected = words.map((_, index) => (isServed ? (index === 0 ? DONE : ALREADY_ISSUED) : SOLD_OUT));
    if (words.toSorted().join() === expected.toSorted().join()) continue;
    wrong.push(`member ${member} was told: ${words.join(', ')}`);
    break;
  }
  return wrong;
}
