import { sql } from 'kysely';
import type { ShopSql } from './database.ts';

/**
 * The isolation level of the shop's transactions, as the database itself names it: on MySQL that of its sessions, which they
 * leave it to.
 */
export function readIsolation(store: ShopSql): Promise<string> {
  return store.transaction(async ({ trx, dialect }) => {
    if (dialect.name === 'postgres') {
      const { rows } = await sql<{
        level: string;
      }>`select current_setting('transaction_isolation') as level`.execute(trx);
      return String(rows[0]?.level);
    }
    // The variable has one name on MySQL 8 and another on MariaDB before 11.1.
    const { rows } = await sql<{ Value: string }>`
      show session variables where variable_name in ('tx_isolation', 'transaction_isolation')`.execute(trx);
    return String(rows[0]?.Value);
  });
}
