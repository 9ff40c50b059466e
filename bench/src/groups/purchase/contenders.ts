import type { DatabaseName } from '../operations/contenders/database.ts';
import { generator, type OperationSpec } from '../operations/operation.ts';

/** One row of the group. */
export interface PurchaseSpec extends OperationSpec {
  /** Null: none. */
  readonly database: DatabaseName | null;
  /** What it leaves of a purchase. */
  readonly leaves: 'bill' | 'paid order' | 'both' | 'nothing';
  /** Whether it guards, which is tried, and its duplicates are measured; a limit does not. */
  readonly guards: boolean;
  /** More than it can do in a second. */
  readonly perSecond: number;
  /** Whether a short run measures it too: what a ratio needs. */
  readonly quick: boolean;
}

export const DBOS = 'DBOS';
const twoStatementsRow = (database: DatabaseName) => `${database} 2 statements`;
const threeStatementsRow = (database: DatabaseName) => `${database} 3 statements`;
/** The cheapest by hand that leaves the same: on MariaDB, which does not insert from an update, two statements leave no bill. */
export const byHandRow = (database: DatabaseName) =>
  database === 'postgres' ? twoStatementsRow(database) : threeStatementsRow(database);
export const groupedRow = (database: DatabaseName) => `pawl ${database} grouped`;

const POOL = 'pool of 16, statements prepared';
const byHand = { own: false, guards: true, perSecond: 40_000, leaves: 'both' } as const;

const ofDatabase = (database: DatabaseName): readonly PurchaseSpec[] => [
  {
    ...{ ...byHand, row: `${database} one INSERT`, database, guards: false, leaves: 'bill', quick: false },
    settings: `limit: the bill alone, one commit for each caller; guards nothing; ${POOL}`,
    load: async () => (await import('./contenders/bare-insert.ts')).bareInsert(database),
  },
  {
    ...{
      ...byHand,
      row: twoStatementsRow(database),
      database,
      quick: byHandRow(database) === twoStatementsRow(database),
    },
    leaves: database === 'postgres' ? 'both' : 'paid order',
    settings: `by hand: conditional update; conditional update${
      database === 'postgres' ? ' with the bill in one statement' : ', the order is its own bill'
    }; a commit of each for each caller; no recovery; ${POOL}`,
    load: async () => (await import('./contenders/two-statements.ts')).twoStatements(database),
  },
  {
    ...{
      ...byHand,
      row: threeStatementsRow(database),
      database,
      quick: byHandRow(database) === threeStatementsRow(database),
    },
    settings: `by hand: conditional update; conditional update and bill in a transaction; no recovery; ${POOL}`,
    load: async () => (await import('./contenders/three-statements.ts')).threeStatements(database),
  },
  {
    ...{ ...byHand, row: `${database} lock held`, database, quick: false },
    settings: `by hand: FOR UPDATE, held across the call; ${POOL}`,
    load: async () => (await import('./contenders/lock-held.ts')).lockHeld(database),
  },
  {
    ...{ ...byHand, row: `pawl ${database}`, own: true, database, quick: false },
    settings: 'durable call, with its record, its answer and the bill; each caller alone; pool of 16',
    load: async () => (await import('./contenders/pawl-calls.ts')).pawlCalls(database),
  },
  {
    ...{ ...byHand, row: groupedRow(database), own: true, database, perSecond: 80_000, quick: true },
    settings:
      'durable call, with its record, its answer and the bill; grouped; pool of 5, several statements a message',
    load: async () => (await import('./contenders/pawl-grouped.ts')).pawlGrouped(database),
  },
];

/** All rows, the limits first. */
export const contenders: readonly PurchaseSpec[] = [
  {
    ...generator,
    ...{ database: null, leaves: 'nothing', guards: false, perSecond: 1, quick: false },
  },
  ...ofDatabase('postgres'),
  {
    ...{ ...byHand, row: DBOS, database: 'postgres', perSecond: 5_000, quick: true },
    settings: '@dbos-inc/dbos-sdk 5.3.0: a workflow of three steps, by the order; pools of 16',
    load: async () => (await import('./contenders/dbos.ts')).openDbos,
  },
  ...ofDatabase('mariadb'),
];

/** @throws TypeError  There is no such row. */
export function contenderOf(row: string): PurchaseSpec {
  const found = contenders.find((one) => one.row === row);
  if (found === undefined) throw new TypeError(`there is no row "${row}"`);
  return found;
}
