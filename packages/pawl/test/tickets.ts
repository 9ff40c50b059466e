import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import type { SqlStore } from '../../../test/stores.ts';
import type { SqlPort, SqlSession, SqlValue } from '../src/index.ts';
import { openStore, type Store } from './stores.ts';

/** How many race for one thing. */
export const RACERS = 50;
export const TICKET = { table: 'ticket', key: { id: 1 } };
export const FAST_RETRY = { attempts: 20, backoffMs: 1, maxBackoffMs: 20, jitter: 1 };

const TABLES = [
  'CREATE TABLE ticket (id int PRIMARY KEY, status varchar(20) NOT NULL, version int NOT NULL, buyer varchar(20))',
  'CREATE TABLE claim (claim_key varchar(50) PRIMARY KEY, order_id varchar(50) UNIQUE, owner varchar(20) NOT NULL)',
  'CREATE TABLE plain_claim (claim_key varchar(50), owner varchar(20))',
  'CREATE TABLE job (id int PRIMARY KEY, status varchar(20) NOT NULL)',
];

/** The database of the suite that runs, and a port over it with a connection for every racer. */
export let store: Store;
export let sql: SqlPort;

/** Gives the suite a database of its own, with two free tickets before each test. */
export function onTickets(name: SqlStore): void {
  beforeAll(async () => {
    store = await openStore(name);
    sql = store.open({ connections: RACERS });
    for (const table of TABLES) await store.query(table);
  });

  afterAll(() => store.close());

  beforeEach(async () => {
    for (const table of ['ticket', 'claim', 'plain_claim', 'job']) await store.query(`DELETE FROM ${table}`);
    await store.query(`INSERT INTO ticket VALUES (1, 'free', 0, NULL), (2, 'free', 0, NULL)`);
  });

  afterEach(() => store.endSessions());
}

export const count = (outcomes: { outcome: string }[], outcome: string) =>
  outcomes.filter((one) => one.outcome === outcome).length;

export const run = (session: SqlSession, text: string, ...values: SqlValue[]) =>
  session.execute(store.statement(text, ...values));

export const ticketRow = async (id = 1) =>
  (await store.query('SELECT status, version, buyer FROM ticket WHERE id = ?', id)).rows[0];
