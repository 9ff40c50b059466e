import { sql } from 'kysely';
import { Migrator } from 'kysely/migration';
import type { ShopDatabase } from './database.ts';
import { lotto } from './migrations/0001-lotto.ts';

/** Brings the tables up to date. Safe on several instances at once: one migrates, the others wait for it. */
export async function migrate(db: ShopDatabase): Promise<void> {
  // Left to itself the migrator looks for its table in every schema, and takes another's for its own.
  const { rows } = await sql<{ schema: string }>`select current_schema() as schema`.execute(db);
  const [first] = rows;
  const migrator = new Migrator({
    db,
    ...(first === undefined ? {} : { migrationTableSchema: first.schema }),
    provider: { getMigrations: async () => ({ '0001-lotto': lotto }) },
  });
  const { error } = await migrator.migrateToLatest();
  if (error !== undefined) throw error;
}

/** Demo mode has no operator who opens rounds, so round 1 sells for ten years. */
export async function openDemoRound(db: ShopDatabase): Promise<void> {
  await db
    .insertInto('lotto_round_info')
    .values({
      id: 1,
      sales_open_at: sql<Date>`now()`,
      sales_close_at: sql<Date>`now() + interval '10 years'`,
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}
