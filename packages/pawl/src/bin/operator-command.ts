import { StoreError } from '../errors.ts';
import type { PawlTables, SqlPort } from '../ports.ts';
import { pawlTables, type TablesOptions } from '../tables.ts';
import { CommandError } from './command-error.ts';
import { databaseUrl, parseDatabase, withDatabase } from './database.ts';

/** What every command takes that works on the library's tables, as `parseArgs` wants it. */
export const operatorOptions = {
  schema: { type: 'string' },
  prefix: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** The same as its user reads it. */
export const OPERATOR_HELP = `  <url>             postgres://user:password@host:port/database, or mysql:// or mariadb://. Absent: the variable
                    DATABASE_URL, which other users of the machine cannot read as they can arguments.
  --schema <name>   where the tables are, as it was given to pawl migrate
  --prefix <name>   what their names begin with (default: pawl_)
  --json            prints JSON
  --help            this
`;

/** Arguments behind those that a command has of its own: the database, and where the tables are. */
export interface OperatorArguments extends TablesOptions {
  readonly urls: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Runs `work` with the library's tables in the database that was named.
 *
 * @throws CommandError  `BAD_ARGUMENTS`: no database was named, or several. `FAILED`, `UNKNOWN`: as `withDatabase`; and where the
 *   tables are missing, with the command that makes them.
 * @throws MisuseError   The schema or the prefix is not a name that can be used.
 */
export async function withTables<T>(
  { urls, env, ...options }: OperatorArguments,
  work: (sql: SqlPort, tables: PawlTables) => Promise<T>,
): Promise<T> {
  const [given, ...others] = urls;
  if (others.length > 0) throw new CommandError('BAD_ARGUMENTS', 'give one database at a time');
  const url = databaseUrl(given, env);
  if (url === undefined) {
    throw new CommandError('BAD_ARGUMENTS', 'name the database by its URL, or set DATABASE_URL');
  }
  const tables = pawlTables(options);
  const database = parseDatabase(url);
  return withDatabase(database, async (sql) => {
    try {
      return await work(sql, tables);
    } catch (error) {
      const missing = await missingTables(sql, tables, error);
      if (missing.length === 0) throw error;
      throw new CommandError(
        'FAILED',
        `${database.name} does not have ${missing.join(', ')}: run pawl migrate, with the same --schema and --prefix`,
        { cause: error },
      );
    }
  });
}

/** Asked only when a statement was refused: a table may be found along the search path that is not where it would be made. */
async function missingTables(sql: SqlPort, tables: PawlTables, error: unknown): Promise<string[]> {
  if (!(error instanceof StoreError && error.code === 'REJECTED')) return [];
  const missing: string[] = [];
  for (const table of Object.values(tables)) {
    const { rows } = await sql.execute(sql.dialect.migrations.tableExists(table));
    if (rows.length === 0) missing.push(table);
  }
  return missing;
}

/** @throws CommandError  `BAD_ARGUMENTS`. */
export function wholeNumber(option: string, text: string, least: number): number {
  const number = /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN;
  if (number >= least) return number;
  throw new CommandError('BAD_ARGUMENTS', `${option} must be a whole number ≥ ${least}, got ${plain(text)}`);
}

/** Text of somebody else's, in one line and without what a terminal would obey. */
export function plain(text: string): string {
  return text.replace(/\p{Cc}/gu, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

export function printed(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

const UNITS = [
  { ms: 86_400_000, name: 'd' },
  { ms: 3_600_000, name: 'h' },
  { ms: 60_000, name: 'min' },
  { ms: 1_000, name: 's' },
];

/** A time in milliseconds, as people say it. */
export function duration(ms: number): string {
  const unit = UNITS.find((one) => ms >= one.ms);
  return unit === undefined ? `${Math.round(ms)} ms` : `${(ms / unit.ms).toFixed(1)} ${unit.name}`;
}
