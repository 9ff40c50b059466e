import { StoreError } from './errors.ts';
import type { Migration, PawlTables, SqlDialect, SqlPort, SqlSession, SqlStatement } from './ports.ts';
import { pawlColumns, pawlTables, type TablesOptions } from './tables.ts';

export type MigrateErrorCode =
  /** A migration was applied that this library does not know: a newer one was here. Nothing was changed. */
  | 'NEWER_TABLES'
  /**
   * A table with the name of one of the library's is missing columns, or a unique key that its guard hangs on, in the
   * types that the library gives it; or it may not be read. On PostgreSQL nothing was changed; on MySQL other tables may
   * have been created. Nothing was recorded as applied.
   */
  | 'UNFIT_TABLE';

/** The tables of the library cannot be brought up to date, and somebody must look at what is there. */
export class MigrateError extends Error {
  override readonly name = 'MigrateError';
  readonly code: MigrateErrorCode;

  constructor(code: MigrateErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export interface Migrated {
  readonly tables: PawlTables;
  /**
   * The migrations that this call has applied, in order: none where the tables were up to date. Also those that it has
   * applied again, because a table of theirs was gone.
   */
  readonly applied: readonly string[];
}

/**
 * Brings the library's tables up to date, and creates their schema where it is missing.
 *
 * Any number of processes may do so at once. On PostgreSQL one migrates, in a transaction, and the others wait for it. On
 * MySQL and MariaDB every statement commits by itself: all run the same ones, of which each makes only what is missing,
 * and of each migration one process is told that it has applied it. A call that was killed, or failed, is completed by the next.
 *
 * A table that is gone although its migration was applied is made again, empty, by all migrations: what it held was lost
 * before. On MySQL and MariaDB several processes may then be told that they have applied them.
 *
 * Where nothing is missing, reading the tables is all that it needs the right to do.
 *
 * @throws MisuseError   As `pawlTables`.
 * @throws MigrateError  `NEWER_TABLES`, `UNFIT_TABLE`.
 * @throws StoreError    On PostgreSQL as `SqlPort.transaction`; on MySQL statements before the one that failed have
 *   taken effect. `REJECTED` where the user may not create tables or the schema.
 */
export async function migrate(sql: SqlPort, options: TablesOptions = {}): Promise<Migrated> {
  const tables = pawlTables(options);
  const { lock } = sql.dialect.migrations;
  if (lock === undefined) return { tables, applied: await bringUpToDate(sql, tables, options) };
  const applied = await sql.transaction(async (transaction) => {
    await transaction.execute(lock);
    return bringUpToDate(transaction, tables, options);
  });
  return { tables, applied };
}

/**
 * The statements of `migrate`, for a tool of one's own, in order and without semicolons. Each makes only what is missing,
 * so they may be repeated, and `migrate` finds nothing to do after them.
 *
 * They neither look for tables that are somebody else's nor keep others away: on PostgreSQL run them in one transaction,
 * by one process at a time.
 *
 * @throws MisuseError  As `pawlTables`.
 */
export function migrationStatements(dialect: SqlDialect, options: TablesOptions = {}): readonly string[] {
  const tables = pawlTables(options);
  const { createSchema, createMigrationTable, record, list } = dialect.migrations;
  return [
    ...(options.schema === undefined ? [] : [createSchema(options.schema)]),
    createMigrationTable(tables.migration),
    ...list(tables).flatMap(({ name, statements, indexes }) => [
      ...statements,
      ...indexes,
      record(tables.migration, name),
    ]),
  ];
}

async function bringUpToDate(
  session: SqlSession,
  tables: PawlTables,
  { schema }: TablesOptions,
): Promise<string[]> {
  const { migrations } = session.dialect;
  const run = (text: string) => session.execute({ text, values: [] });
  const finds = async (statement: SqlStatement) => (await session.execute(statement)).rows.length > 0;

  // Looked for first, because creating what is there already takes the right to create.
  if (schema !== undefined && !(await finds(migrations.schemaExists(schema)))) {
    await run(migrations.createSchema(schema));
  }
  if (!(await finds(migrations.tableExists(tables.migration)))) {
    await run(migrations.createMigrationTable(tables.migration));
  }
  await requireFit(session, tables, 'migration');

  const known = migrations.list(tables);
  const missing = await whatIsMissing(session, tables, known);
  // Only now: a table that is not there when its migration was already recorded is not one that another process is making.
  const made = known.filter((migration) => !missing.includes(migration)).flatMap(({ creates }) => creates);
  let gone = false;
  for (const table of made) gone ||= !(await finds(migrations.tableExists(table)));
  const pending = gone ? known : missing;
  for (const { statements } of pending) for (const text of statements) await run(text);
  // Before the indexes, which would fail in somebody else's table without naming it, and before the record, which would
  // hide for ever that ours is missing.
  await requireFit(session, tables, 'idempotencyKey');
  await requireFit(session, tables, 'claim');
  await requireFit(session, tables, 'durableCall');
  const applied: string[] = [];
  for (const migration of pending) {
    for (const text of migration.indexes) await run(text);
    const { affectedRows } = await run(migrations.record(tables.migration, migration.name));
    if (affectedRows === 1 || !missing.includes(migration)) applied.push(migration.name);
  }
  return applied;
}

async function whatIsMissing(
  session: SqlSession,
  { migration }: PawlTables,
  known: readonly Migration[],
): Promise<readonly Migration[]> {
  const { rows } = await session.execute(session.dialect.migrations.readApplied(migration));
  const applied = new Set(rows.map(({ name }) => String(name)));
  const missing = known.filter(({ name }) => !applied.delete(name));
  if (applied.size === 0) return missing;
  throw new MigrateError(
    'NEWER_TABLES',
    `the tables are newer than this library: ${migration} has ${[...applied].sort().join(', ')}, ` +
      `and the last that is known here is ${known.at(-1)?.name}`,
  );
}

/**
 * A table of that name may be somebody else's, or ours restored or copied without its key, which `IF NOT EXISTS` does not
 * notice. Without the key every claim succeeds, and with another type keys that differ may be the same.
 */
async function requireFit(session: SqlSession, tables: PawlTables, which: keyof PawlTables): Promise<void> {
  const { migrations } = session.dialect;
  const table = tables[which];
  const unfit = (reason: string, options?: ErrorOptions) =>
    new MigrateError('UNFIT_TABLE', `${table} is not a table that pawl can use: ${reason}`, options);
  try {
    await session.execute(migrations.readNothing(table, pawlColumns[which]));
  } catch (error) {
    if (!(error instanceof StoreError && error.code === 'REJECTED')) throw error;
    throw unfit(error.message, { cause: error });
  }
  const { rows } = await session.execute(migrations.readKeys(table));
  const keys = rows.map(({ key }) => String(key));
  const requireKey = (needed: string) => {
    if (keys.includes(needed)) return;
    const found = keys.length === 0 ? 'none' : keys.map((key) => `(${key})`).join(', ');
    throw unfit(`it needs the unique key (${needed}), and its unique keys are: ${found}`);
  };
  for (const needed of migrations.keys[which]) requireKey(needed);
}
