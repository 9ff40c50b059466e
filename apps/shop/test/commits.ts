import { onTestFinished } from 'vitest';
import { newMariadbServer } from '../../../test/own-server.ts';
import { newDatabase } from '../../../test/stores.ts';
import { type Holder, openTables } from './database.ts';
import type { Ends } from './harness.ts';

/** A database that nobody else uses, which refuses every COMMIT from `refuse()` to `allow()`. */
export interface Commits {
  databaseUrl: string;
  refuse(): Promise<unknown>;
  allow(): Promise<unknown>;
}

/** @param table  On PostgreSQL, commits are refused that have changed it; on MariaDB, all. */
export const refusableCommits = (
  store: 'postgres' | 'mariadb',
  table: string,
  ends: Ends = onTestFinished,
): Promise<Commits> => commitsOf[store](table, ends);

const commitsOf: Record<'postgres' | 'mariadb', (table: string, ends: Ends) => Promise<Commits>> = {
  postgres: async (table, ends) => {
    const databaseUrl = await newDatabase('postgres');
    const { sql, end } = openTables(databaseUrl);
    ends(end);
    return {
      databaseUrl,
      // Looked at when the transaction commits, and not before.
      refuse: () =>
        sql(`
          CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'refused at the commit'; END $$;
          CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE ON ${table}
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`),
      allow: () => sql(`DROP TRIGGER refuse ON ${table}`),
    };
  },
  mariadb: async (_table, ends) => {
    const { url: databaseUrl } = await newMariadbServer(ends);
    const { hold, end } = openTables(databaseUrl);
    ends(end);
    let backup: Holder | undefined;
    return {
      databaseUrl,
      // What a backup does when it has copied everything else: it holds up the commits.
      async refuse() {
        backup = await hold('BACKUP STAGE START');
        for (const stage of ['FLUSH', 'BLOCK_DDL', 'BLOCK_COMMIT'])
          await backup.query(`BACKUP STAGE ${stage}`);
      },
      async allow() {
        await backup?.query('BACKUP STAGE END');
        backup?.release();
      },
    };
  },
};
