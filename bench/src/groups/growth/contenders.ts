import type { DatabaseName } from '../operations/contenders/database.ts';
import type { OperationSpec } from '../operations/operation.ts';

/** One row of the group. */
export interface GrowthSpec extends OperationSpec {
  readonly database: DatabaseName;
  readonly size: Size;
}

export type Size = 'small' | 'large';

/** The tables of a size, beside each other in one database. */
export const tablesOf = (size: Size) => ({ coupon: `coupon_${size}`, issued: `issued_${size}` });

export const rowOf = (database: DatabaseName, size: Size) => `${database}, ${size} table`;

const databases: readonly DatabaseName[] = ['postgres', 'mariadb'];
const sizes: readonly Size[] = ['small', 'large'];

export const contenders: readonly GrowthSpec[] = databases.flatMap((database) =>
  sizes.map((size) => ({
    ...{ row: rowOf(database, size), own: true, database, size },
    settings: 'pawl stock, defaults; pool of 5',
    load: async () =>
      (await import('../coupon/contenders/pawl-stock.ts')).pawlStock(database, tablesOf(size)),
  })),
);

/** @throws TypeError  There is no such row. */
export function contenderOf(row: string): GrowthSpec {
  const found = contenders.find((one) => one.row === row);
  if (found === undefined) throw new TypeError(`there is no row "${row}"`);
  return found;
}
