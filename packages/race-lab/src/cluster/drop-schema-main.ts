/** Run by the guardian at the end: drops SCHEMA on DATABASE_URL. Exit code 1 when that did not work. */
import pg from 'pg';

const STATEMENT_LIMIT_MS = 4_000;

const { DATABASE_URL: connectionString = '', SCHEMA: schema = '' } = process.env;
if (!/^race_lab_[0-9a-f]+$/.test(schema))
  throw new Error(`not a schema of the lab: ${JSON.stringify(schema)}`);
const client = new pg.Client({
  connectionString,
  connectionTimeoutMillis: STATEMENT_LIMIT_MS,
  statement_timeout: STATEMENT_LIMIT_MS,
});
try {
  await client.connect();
  await client.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
} finally {
  await client.end();
}
