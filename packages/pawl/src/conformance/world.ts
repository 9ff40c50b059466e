import type { IdempotencyStore } from '../idempotency-store.ts';
import { sqlIdempotencyStore } from '../idempotency-store.ts';
import type { SqlPort } from '../ports.ts';
import { redisIdempotencyStore } from '../redis/idempotency-key.ts';
import { type BusinessTables, rowsOf } from './business-tables.ts';
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
    };

/** What racers race on, opened. */
export interface World {
  readonly store: IdempotencyStore;
  readonly runs: RunLedger;
  /** Absent without a database. */
  readonly database: { readonly sql: SqlPort; readonly tables: BusinessTables } | undefined;
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
        store: sqlIdempotencyStore(sql, { table: tables.idempotencyKey }),
        runs: sqlRuns(sql, tables.run),
        database: { sql, tables },
        close,
      };
    }
    case 'redis': {
      const { redis, close } = await openRedis(spec.module, spec.server);
      const { prefix } = spec;
      return {
        store: redisIdempotencyStore(redis, { prefix }),
        runs: redisRuns(redis, prefix),
        database: undefined,
        close,
      };
    }
    case 'store': {
      const { store, close } = await openStore(spec.module, spec.which);
      return { store, runs: fileRuns(spec.ledgerFile), database: undefined, close };
    }
  }
}

/** @throws TypeError  There is none, so that this job is not for this world. */
export function databaseOf({ database }: World): NonNullable<World['database']> {
  if (database === undefined) throw new TypeError('there is no database');
  return database;
}
