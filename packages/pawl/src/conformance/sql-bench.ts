import type { Row, SqlPort, SqlValue } from '../ports.ts';
import {
  type BusinessTables,
  createTables,
  dropTables,
  newTables,
  numberOf,
  rowsOf,
} from './business-tables.ts';
import { Closers } from './closers.ts';
import { waitingForLocks } from './database.ts';
import { addressOf, openSql, type SqlConnection } from './open.ts';
import { type CuttingProxy, type Fate, startProxy } from './proxy.ts';
import { RACERS, type TwoHosts, twoHosts } from './race.ts';
import type { RacerHost } from './racer-host.ts';
import { startRacerProcess } from './racer-process.ts';
import { startRacersHere } from './racers-here.ts';
import type { RecordsBench } from './records-bench.ts';
import { until } from './waiting.ts';
import { databaseOf, openWorld, recordsOf, type WorldSpec } from './world.ts';

/** The adapter that is tried, and on what. */
export interface SqlSubject {
  readonly module: string;
  readonly url: string;
  readonly execArgv: readonly string[] | undefined;
}

/** The tables of one case, and the author's port over them, here and in other processes. */
export interface SqlBench extends RecordsBench {
  readonly sql: SqlPort;
  readonly tables: BusinessTables;
  rows(text: string, ...values: readonly SqlValue[]): Promise<readonly Row[]>;
  /** The number that the column `n` of the only row holds. */
  number(text: string, ...values: readonly SqlValue[]): Promise<number>;
  /** Another port of the author's in this process; it comes by way of `port` where one is given. */
  open(over?: Partial<SqlConnection>): Promise<SqlPort>;
  /** Two processes, each with a connection for each of its racers. */
  hosts(over?: Partial<SqlConnection>): Promise<TwoHosts>;
  /** Racers in this process. */
  here(over?: Partial<SqlConnection>): Promise<RacerHost>;
  proxy(isIt: (data: Buffer) => boolean, fateOf: (request: number) => Fate): Promise<CuttingProxy>;
  /** Resolves when so many sessions of the database wait for locks. */
  waitFor(sessions: number): Promise<void>;
}

/** Most connections of a port in this process. */
const CONNECTIONS_HERE = 4;

/** Runs a case on tables of its own. */
export async function onSqlBench(
  { module, url, execArgv }: SqlSubject,
  work: (bench: SqlBench) => Promise<void>,
  { records }: { readonly records: boolean } = { records: false },
): Promise<void> {
  const server = addressOf(url);
  const tables = newTables();
  const openPort = (connection: SqlConnection) => openSql(module, connection);
  const world = (over: Partial<SqlConnection>): Extract<WorldSpec, { kind: 'sql' }> => ({
    kind: 'sql',
    module,
    connection: { ...server, connections: CONNECTIONS_HERE, ...over },
    tables,
  });
  const closers = new Closers();
  await closers.around(async () => {
    // By a port of its own: those of a case that failed may have left a transaction, whose end comes with them.
    closers.add(async () => {
      const { sql, close } = await openPort(world({}).connection);
      const own = new Closers();
      own.add(close);
      await own.around(() => dropTables(sql, tables));
    });
    const here = await openWorld(world({}));
    closers.add(here.close);
    const { sql } = databaseOf(here);
    await createTables(sql, tables, records);
    const query = (text: string) => sql.execute({ text, values: [] });
    const rows: SqlBench['rows'] = (text, ...values) => rowsOf(sql, text, ...values);
    await work({
      sql,
      tables,
      ...recordsOf(here),
      rows,
      number: (text, ...values) => numberOf(sql, text, ...values),
      async open(over = {}) {
        const opened = await openPort(world(over).connection);
        closers.add(opened.close);
        return opened.sql;
      },
      hosts: (over = {}) =>
        twoHosts(() => startRacerProcess(world({ connections: RACERS / 2, ...over }), execArgv), closers),
      async here(over = {}) {
        const host = await startRacersHere(world(over));
        closers.add(() => host.end());
        return host;
      },
      async proxy(isIt, fateOf) {
        const proxy = await startProxy(server, isIt, fateOf);
        closers.add(() => proxy.close());
        return proxy;
      },
      waitFor: (sessions) =>
        until(
          async () => (await waitingForLocks(sql.dialect.name, query)) >= sessions,
          `${sessions} sessions that wait for a lock`,
        ),
    });
  });
}
