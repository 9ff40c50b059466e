import { sql } from 'kysely';
import { Migrator } from 'kysely/migration';
import { claimUnique, migrate as migratePawl } from 'pawl';
import { type OpenDatabase, openForMigration, type ShopDatabase, type ShopSql } from './database.ts';
import { lotto } from './migrations/0001-lotto.ts';
import { coupons } from './migrations/0002-coupons.ts';
import { fences } from './migrations/0003-fences.ts';
import { durable } from './migrations/0004-durable.ts';
import { columnTypes } from './migrations/column-types.ts';

const DEMO_ROUND = 1;
const TEN_YEARS_MS = 10 * 365 * 24 * 60 * 60 * 1_000;

/** Brings the tables up to date. Safe on several instances at once: one migrates, the others wait for it. */
export async function migrate(url: string, applicationName: string): Promise<void> {
  const database = openForMigration(url, applicationName);
  try {
    await migrateToLatest(database);
    await migratePawl(database.sql);
  } finally {
    await database.db.destroy();
  }
}

/**
 * MySQL commits every CREATE and ALTER TABLE by itself, so a migration that is killed leaves some tables and no word of it. Hence
 * each makes only what is not there yet, and the next start completes it.
 */
async function migrateToLatest({ db, sql: store }: OpenDatabase): Promise<void> {
  const { name } = store.dialect;
  const types = columnTypes[name];
  const migrator = new Migrator({
    db,
    ...(name === 'postgres' ? { migrationTableSchema: await currentSchema(db) } : {}),
    provider: {
      getMigrations: async () => ({
        '0001-lotto': lotto(types),
        '0002-coupons': coupons(types),
        '0003-fences': fences(types),
        '0004-durable': durable(types),
      }),
    },
  });
  const { error } = await migrator.migrateToLatest();
  if (error !== undefined) throw error;
}

/** Left to itself the migrator looks for its table in every schema, and takes another's for its own. */
async function currentSchema(db: ShopDatabase): Promise<string> {
  const { rows } = await sql<{
    schema: string | null;
  }>`select current_schema() as ${sql.ref('schema')}`.execute(db);
  const schema = rows[0]?.schema;
  if (typeof schema !== 'string') throw new Error('the search path of the database URL names no schema');
  return schema;
}

/** Demo mode has no operator who opens rounds, so round 1 sells for ten years. */
export async function openDemoRound({ db, sql: store }: { db: ShopDatabase; sql: ShopSql }): Promise<void> {
  const { rows } = await sql<{ now: Date }>`select current_timestamp(3) as ${sql.ref('now')}`.execute(db);
  const [first] = rows;
  if (first === undefined) throw new Error('the database does not tell the time');
  await claimUnique(store, {
    table: 'lotto_round_info',
    key: { id: DEMO_ROUND },
    values: {
      sales_open_at: first.now,
      sales_close_at: new Date(first.now.getTime() + TEN_YEARS_MS),
    },
  });
}
