import { parseArgs } from 'node:util';
import { MigrateError, migrate, migrationStatements } from '../../migrate.ts';
import type { SqlDialect } from '../../ports.ts';
import type { TablesOptions } from '../../tables.ts';
import { CommandError } from '../command-error.ts';
import { databaseUrl, dialectNamed, dialectNames, parseDatabase, withDatabase } from '../database.ts';

export const migrateSummary = "creates the library's tables, and brings them up to date";

const HELP = `Usage: pawl migrate [<url>] [--schema <name>] [--prefix <name>]
       pawl migrate --print [<url> | --dialect <name>] [--schema <name>] [--prefix <name>]

Creates the tables of pawl in a database, and brings them up to date. It may be run by any number of processes at once,
and again after it was interrupted: what is there already is left as it is.

  <url>             postgres://user:password@host:port/database, or mysql:// or mariadb://. Absent: the variable
                    DATABASE_URL, which other users of the machine cannot read as they can arguments.
  --schema <name>   where the tables are (on MySQL and MariaDB a database); it is created when it is missing.
                    Absent: where the connection makes its tables.
  --prefix <name>   what the names of the tables begin with (default: pawl_)
  --print           prints the SQL, and connects to nothing
  --dialect <name>  whose SQL --print prints where there is no URL: ${dialectNames.join(', ')}
  --help            this

Exit codes: 0 done, 2 the connection was lost and what was done is not known, 254 bad arguments, 255 failed.
`;

/**
 * `pawl migrate`.
 *
 * @returns what is to be printed
 * @throws CommandError  With a message for the user.
 * @throws MisuseError   The schema or the prefix is not a name that can be used.
 */
export async function migrateCommand(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<string> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: {
      schema: { type: 'string' },
      prefix: { type: 'string' },
      print: { type: 'boolean', default: false },
      dialect: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
    allowPositionals: true,
  });
  if (values.help) return HELP;
  const [given, ...others] = positionals;
  if (others.length > 0) throw new CommandError('BAD_ARGUMENTS', 'give one database at a time');
  const url = databaseUrl(given, env);
  const { schema, prefix, dialect } = values;
  const options: TablesOptions = { schema, prefix };

  if (values.print) return script(chooseDialect(dialect, url), options);
  if (dialect !== undefined) {
    throw new CommandError(
      'BAD_ARGUMENTS',
      '--dialect goes with --print; otherwise the URL says which it is',
    );
  }
  if (url === undefined) {
    throw new CommandError('BAD_ARGUMENTS', 'name the database: pawl migrate <url>, or set DATABASE_URL');
  }
  return apply(url, options);
}

async function apply(url: string, options: TablesOptions): Promise<string> {
  const database = parseDatabase(url);
  try {
    const { applied, tables } = await withDatabase(database, (sql) => migrate(sql, options));
    if (applied.length > 0) return `Applied to ${database.name}: ${applied.join(', ')}\n`;
    return `Nothing to do: ${Object.values(tables).join(', ')} are up to date in ${database.name}\n`;
  } catch (error) {
    if (!(error instanceof MigrateError)) throw error;
    throw new CommandError('FAILED', `cannot migrate ${database.name}: ${error.message}`, { cause: error });
  }
}

/** Named, it must not contradict a URL that is given, be it by the environment: one of the two is a mistake. */
function chooseDialect(name: string | undefined, url: string | undefined): SqlDialect {
  const named = name === undefined ? undefined : dialectNamed(name);
  if (name !== undefined && named === undefined) {
    throw new CommandError('BAD_ARGUMENTS', `--dialect must be one of ${dialectNames.join(', ')}`);
  }
  const ofUrl = url === undefined ? undefined : parseDatabase(url).dialect;
  if (named !== undefined && ofUrl !== undefined && named !== ofUrl) {
    throw new CommandError(
      'BAD_ARGUMENTS',
      `--dialect says ${named.name} and the URL of the database says ${ofUrl.name}`,
    );
  }
  const chosen = named ?? ofUrl;
  if (chosen !== undefined) return chosen;
  throw new CommandError('BAD_ARGUMENTS', '--print needs a URL or --dialect to know which SQL to print');
}

function script(dialect: SqlDialect, options: TablesOptions): string {
  const statements = migrationStatements(dialect, options);
  return `${statements.map((statement) => `${statement};`).join('\n\n')}\n`;
}
