import { randomBytes } from 'node:crypto';
import { migrate } from '../migrate.ts';
import type { Row, SqlPort, SqlSession, SqlValue } from '../ports.ts';
import { pawlTables } from '../tables.ts';
import { placeholders } from './database.ts';

/** The tables of one case, under names of its own. */
export interface BusinessTables {
  /** Tickets 1 and 2, which are free, of version 0, and have no buyer. */
  readonly ticket: string;
  /** One row for each seat that somebody has, by a unique key. */
  readonly seat: string;
  /** The same without the key. */
  readonly openSeat: string;
  /** What a request has bought: nothing but its guard keeps one request from buying twice. */
  readonly purchase: string;
  /** One row for each time that a handler ran. */
  readonly run: string;
  readonly idempotencyKey: string;
  /** What the names begin with. */
  readonly prefix: string;
}

export function newTables(): BusinessTables {
  const prefix = `pawl_c${randomBytes(5).toString('hex')}_`;
  return {
    prefix,
    ticket: `${prefix}ticket`,
    seat: `${prefix}seat`,
    openSeat: `${prefix}open_seat`,
    purchase: `${prefix}purchase`,
    run: `${prefix}run`,
    idempotencyKey: pawlTables({ prefix }).idempotencyKey,
  };
}

/** Runs one statement, in which `?` marks each value. */
export async function rowsOf(
  session: SqlSession,
  text: string,
  ...values: readonly SqlValue[]
): Promise<readonly Row[]> {
  return (await session.execute({ text: placeholders(session.dialect.name, text), values })).rows;
}

/** The number that the first column named `n` holds. */
export async function numberOf(
  session: SqlSession,
  text: string,
  ...values: readonly SqlValue[]
): Promise<number> {
  return Number((await rowsOf(session, text, ...values))[0]?.n);
}

/** @param records  Also the library's own tables. */
export async function createTables(sql: SqlPort, tables: BusinessTables, records: boolean): Promise<void> {
  const engine = sql.dialect.name === 'mysql' ? ' ENGINE = InnoDB' : '';
  const create = (table: string, columns: string) =>
    rowsOf(sql, `CREATE TABLE ${table} (${columns})${engine}`);
  const text = 'varchar(100)';
  await create(
    tables.ticket,
    `id integer PRIMARY KEY, status ${text} NOT NULL, version integer NOT NULL, buyer ${text}`,
  );
  await rowsOf(sql, `INSERT INTO ${tables.ticket} VALUES (1, 'free', 0, NULL), (2, 'free', 0, NULL)`);
  await create(tables.seat, `seat ${text} PRIMARY KEY, owner ${text} NOT NULL`);
  await create(tables.openSeat, `seat ${text} NOT NULL, owner ${text} NOT NULL`);
  const purchases = `id ${text} PRIMARY KEY, request_key ${text} NOT NULL`;
  await create(tables.purchase, `${purchases}, buyer ${text} NOT NULL`);
  await create(tables.run, purchases);
  if (records) await migrate(sql, { prefix: tables.prefix });
}

export async function dropTables(sql: SqlPort, tables: BusinessTables): Promise<void> {
  const { ticket, seat, openSeat, purchase, run } = tables;
  const ours = Object.values(pawlTables({ prefix: tables.prefix }));
  for (const table of [ticket, seat, openSeat, purchase, run, ...ours]) {
    await rowsOf(sql, `DROP TABLE IF EXISTS ${table}`);
  }
}
