import { type ColumnDefinitionBuilder, type CreateTableBuilder, type RawBuilder, sql } from 'kysely';

/** What the same column is called on each database. */
export interface ColumnTypes {
  /** Compared byte by byte: `Abc`, `abc` and `Abc ` are three keys. */
  key(length: number): RawBuilder<unknown>;
  /** A point in time, to the microsecond. On MySQL it has no zone, and every session of the shop is in UTC. */
  readonly moment: RawBuilder<unknown>;
  readonly now: RawBuilder<unknown>;
  /** A number that the database gives, in the order of insertion. */
  generatedId(column: ColumnDefinitionBuilder): ColumnDefinitionBuilder;
  /** The same where it is not the primary key; MySQL wants it to be unique. */
  generatedNumber(column: ColumnDefinitionBuilder): ColumnDefinitionBuilder;
  /** Where the tables are made. */
  readonly schema: RawBuilder<unknown>;
  /** Whether the database makes an index for every foreign key by itself. */
  readonly indexesForeignKeys: boolean;
  /** What else a table needs to be said. */
  finish<Name extends string, Column extends string>(
    table: CreateTableBuilder<Name, Column>,
  ): CreateTableBuilder<Name, Column>;
}

export const columnTypes: Readonly<Record<'postgres' | 'mysql', ColumnTypes>> = {
  postgres: {
    key: (length) => sql`varchar(${sql.lit(length)}) collate "C"`,
    moment: sql`timestamptz`,
    now: sql`now()`,
    generatedId: (column) => column.primaryKey().generatedAlwaysAsIdentity(),
    generatedNumber: (column) => column.notNull().generatedAlwaysAsIdentity(),
    schema: sql`current_schema()`,
    indexesForeignKeys: false,
    finish: (table) => table,
  },
  mysql: {
    key: (length) => sql`varbinary(${sql.lit(length)})`,
    moment: sql`datetime(6)`,
    now: sql`current_timestamp(6)`,
    generatedId: (column) => column.primaryKey().autoIncrement(),
    generatedNumber: (column) => column.notNull().autoIncrement(),
    schema: sql`database()`,
    indexesForeignKeys: true,
    // Said, because another engine would ignore transactions and foreign keys without a word.
    finish: (table) =>
      table.modifyEnd(sql`engine = innodb default character set utf8mb4 collate utf8mb4_bin`),
  },
};
