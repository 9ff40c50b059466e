import { type Query, withDatabase } from '../cluster/database-session.ts';
import { databaseKind } from '../cluster/store.ts';

/** What a database says of itself that changes what a race on it shows: its durability and its isolation. */
export interface DatabaseSettings {
  product: 'PostgreSQL' | 'MariaDB' | 'MySQL';
  /** Its number alone: `18.4`, `10.11.19`. */
  version: string;
  /** By the server's own names and in its own words; what the version does not have is absent. */
  settings: Readonly<Record<string, string>>;
}

const STATEMENT_LIMIT_MS = 10_000;

const postgresNames = [
  'fsync',
  'synchronous_commit',
  'full_page_writes',
  'default_transaction_isolation',
] as const;

const mysqlNames = [
  'innodb_flush_log_at_trx_commit',
  'sync_binlog',
  'log_bin',
  'innodb_doublewrite',
  'transaction_isolation',
  'innodb_snapshot_isolation',
] as const;

/** The only name of `transaction_isolation` on MariaDB before 11.1. */
const OLD_ISOLATION_NAME = 'tx_isolation';

/**
 * Asks a database for its settings, as a new session has them that does not set them itself.
 *
 * @throws the driver's error.
 */
export function readDatabaseSettings(databaseUrl: string): Promise<DatabaseSettings> {
  const read = databaseKind(databaseUrl) === 'postgres' ? readPostgres : readMysql;
  return withDatabase(databaseUrl, STATEMENT_LIMIT_MS, read);
}

async function readPostgres(query: Query): Promise<DatabaseSettings> {
  const rows = await query(
    `SELECT name, setting FROM pg_settings WHERE name IN (${quoted(['server_version', ...postgresNames])})`,
  );
  const values = new Map(rows.map(({ name, setting }) => [String(name), String(setting)]));
  return {
    product: 'PostgreSQL',
    version: numberOf(values.get('server_version')),
    settings: present(postgresNames, (name) => values.get(name)),
  };
}

async function readMysql(query: Query): Promise<DatabaseSettings> {
  const names = quoted(['version', OLD_ISOLATION_NAME, ...mysqlNames]);
  const rows = await query(`SHOW GLOBAL VARIABLES WHERE Variable_name IN (${names})`);
  const values = new Map(rows.map(({ Variable_name, Value }) => [String(Variable_name), String(Value)]));
  const version = values.get('version') ?? '';
  return {
    product: version.includes('MariaDB') ? 'MariaDB' : 'MySQL',
    version: numberOf(version),
    settings: present(mysqlNames, (name) =>
      name === 'transaction_isolation'
        ? (values.get(name) ?? values.get(OLD_ISOLATION_NAME))
        : values.get(name),
    ),
  };
}

/** Only of names that this file knows. */
function quoted(names: readonly string[]): string {
  return names.map((name) => `'${name}'`).join(', ');
}

/** Without the packager's additions: `15.8 (Debian 15.8-0+deb12u1)`, `10.11.19-MariaDB-0+deb12u1`. */
function numberOf(version = ''): string {
  return /^[\d.]+/.exec(version)?.[0] ?? version;
}

function present<Name extends string>(
  names: readonly Name[],
  settingOf: (name: Name) => string | undefined,
): Record<string, string> {
  const settings: Record<string, string> = {};
  for (const name of names) {
    const value = settingOf(name);
    if (value !== undefined) settings[name] = value;
  }
  return settings;
}
