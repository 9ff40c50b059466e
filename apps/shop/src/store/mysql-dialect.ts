import { type DialectAdapter, type Kysely, MysqlAdapter, MysqlDialect, sql } from 'kysely';

/** How long one migrator waits for another, in seconds; less than its statements may take. */
const LOCK_WAIT_SECONDS = 60;
/** Named locks are the whole server's, and a name has 64 characters at most. */
const LOCK_NAME = sql`concat('shop-migration-', sha1(database()))`;

/**
 * Kysely's dialect with a lock for migrations that holds what it says. The original does not read what GET_LOCK answers:
 * 0 after a time-out, and NULL where the server ends the statement. It then migrates without the lock.
 */
export class ShopMysqlDialect extends MysqlDialect {
  override createAdapter(): DialectAdapter {
    return new LockingAdapter();
  }
}

class LockingAdapter extends MysqlAdapter {
  override async acquireMigrationLock(db: Kysely<unknown>): Promise<void> {
    const { rows } = await sql<{ answer: number | null }>`
      select get_lock(${LOCK_NAME}, ${sql.lit(LOCK_WAIT_SECONDS)}) as answer`.execute(db);
    if (rows[0]?.answer !== 1) throw new Error('another instance is migrating, and did not come to an end');
  }

  override async releaseMigrationLock(db: Kysely<unknown>): Promise<void> {
    await sql`select release_lock(${LOCK_NAME})`.execute(db);
  }
}
