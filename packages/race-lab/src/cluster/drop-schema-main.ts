/** Run by the guardian at the end: drops SCHEMA on DATABASE_URL. Exit code 1 when that did not work. */
import { withDatabase } from './database-session.ts';
import { databaseKind } from './store.ts';
import { dropThrowAwaySchema } from './throw-away-schema.ts';

const STATEMENT_LIMIT_MS = 4_000;

const { DATABASE_URL: databaseUrl = '', SCHEMA: schema = '' } = process.env;
if (!/^race_lab_[0-9a-f]+$/.test(schema))
  throw new Error(`not a schema of the lab: ${JSON.stringify(schema)}`);
try {
  await withDatabase(databaseUrl, STATEMENT_LIMIT_MS, (query) =>
    dropThrowAwaySchema(query, databaseKind(databaseUrl), schema),
  );
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
