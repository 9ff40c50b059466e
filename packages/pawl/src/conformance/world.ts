import type { IdempotencyStore } from '../idempotency-store.ts';
import { sqlIdempotencyStore } from '../idempotency-store.ts';
import type { SqlPort } from '../ports.ts';
import { redisIdempotencyStore } from '../redis/idempotency-key.ts';
import { type BusinessTables, rowsOf } from './business-tables.ts';
import { type LocksSpec, openLocks, type WorldLocks } from './locks-world.ts';
import {
  openRedis,
  openSql,
  openStore,
  type ServerAddress,
  type SqlConnection,
  type StoreNamespace,
} from './open.ts';
import { fileRuns, type RunLedger, redisRuns, sqlRuns } from './run-ledger.ts';
import { together } from './waiting.ts';

/** What racers are given to race on, as it is told to another process. */
export type WorldSpec =
  | {
      readonly kind: 'sql';
      readonly module: string;
      readonly connection: SqlConnection;
      readonly tables: BusinessTables;
    }
  | {
      readonly kind: 'redis';
      readonly module: string;
      readonly server: ServerAddress;
      readonly prefix: string;
    }
  | {
      readonly kind: 'store';
      readonly module: string;
      readonly which: StoreNamespace;
      readonly ledgerFile: string;
    }
  | { readonly kind: 'locks'; readonly on: LocksSpec };

/** What racers race on, opened. */
export interface World {
  /** Absent where locks are raced for. */
  readonly records: { readonly store: IdempotencyStore; readonly runs: RunLedger } | undefined;
  /** Absent without a database. */
  readonly database: { readonly sql: SqlPort; readonly tables: BusinessTables } | undefined;
  /** Absent where anything else is raced for. */
  readonly locks: WorldLocks | undefined;
  close(): Promise<void>;
}

/** Opens it by the author's module. Every connection is there when this resolves. */
export async function openWorld(spec: WorldSpec): Promise<World> {
  switch (spec.kind) {
    case 'sql': {
      const { sql, close } = await openSql(spec.module, spec.connection);
      const { tables } = spec;
      await together(spec.connection.connections, () => rowsOf(sql, 'SELECT 1'));
      return {
        records: {
          store: sqlIdempotencyStore(sql, { table: tables.idempotencyKey }),
          runs: sqlRuns(sql, tables.run),
        },
        database: { sql, tables },
        locks: undefined,
        close,
      };
    }
    case 'redis': {
      const { redis, close } = await openRedis(spec.module, spec.server);
      const { prefix } = spec;
      return {
        records: { store: redisIdempotencyStore(redis, { prefix }), runs: redisRuns(redis, prefix) },
        database: undefined,
        locks: undefined,
        close,
      };
    }
    case 'store': {
      const { store, close } = await openStore(spec.module, spec.which);
      const records = { store, runs: fileRuns(spec.ledgerFile) };
      return { records, database: undefined, locks: undefined, close };
    }
    case 'locks': {
      const locks = await openLocks(spec.on);
      return { records: undefined, database: undefined, locks, close: locks.close };
    }
  }
}

/** @throws TypeError  There is none, so that this job is not for this world. */
export function databaseOf({ database }: World): NonNullable<World['database']> {
  if (database === undefined) throw new TypeError('there is no database');
  return database;
}

/** As `databaseOf`. */
export function recordsOf({ records }: World): NonNullable<World['records']> {
  if (records === undefined) throw new TypeError('there are no records');
  return records;
}

/** As `databaseOf`. */
export function locksOf({ locks }: World): WorldLocks {
  if (locks === undefined) throw new TypeError('there are no locks');
  return locks;
}
