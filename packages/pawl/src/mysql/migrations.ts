import { nameParts } from '../columns.ts';
import type { SqlMigrations } from '../ports.ts';
import { quote, SqlText } from './sql.ts';

/** `IF NOT EXISTS` is atomic here: whoever comes second waits for the first, and then finds the table. */
const lock: SqlMigrations['lock'] = undefined;

const schemaExists: SqlMigrations['schemaExists'] = (schema) => {
  const sql = new SqlText();
  return sql.statement(`SELECT 1 FROM information_schema.schemata WHERE schema_name = ${sql.value(schema)}`);
};

const createSchema: SqlMigrations['createSchema'] = (schema) =>
  `CREATE DATABASE IF NOT EXISTS ${quote(schema)}`;

const tableExists: SqlMigrations['tableExists'] = (table) => {
  const sql = new SqlText();
  const { schema, name } = parts(table);
  return sql.statement(
    'SELECT 1 FROM information_schema.tables ' +
      `WHERE table_schema = coalesce(${sql.value(schema)}, database()) AND table_name = ${sql.value(name)}`,
  );
};

/** Only InnoDB has transactions and row locks, and DYNAMIC rows alone have room for keys of 3072 bytes. */
const ENGINE = 'ENGINE = InnoDB ROW_FORMAT = DYNAMIC';

const createMigrationTable: SqlMigrations['createMigrationTable'] = (table) =>
  `CREATE TABLE IF NOT EXISTS ${quote(table)} (
  name VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  applied_at DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  PRIMARY KEY (name)
) ${ENGINE}`;

const readApplied: SqlMigrations['readApplied'] = (table) =>
  new SqlText().statement(`SELECT name FROM ${quote(table)}`);

/** IGNORE would also store a name that does not fit, changed; ours are all short and plain. */
const record: SqlMigrations['record'] = (table, name) =>
  `INSERT IGNORE INTO ${quote(table)} (name) VALUES ('${name}')`;

const readNothing: SqlMigrations['readNothing'] = (table, columns) =>
  new SqlText().statement(`SELECT ${columns.map(quote).join(', ')} FROM ${quote(table)} WHERE false`);

const keys: SqlMigrations['keys'] = {
  idempotencyKey: ['idempotency_key varbinary(1020), scope varbinary(1020)'],
  claim: ['claim_key varbinary(1020)'],
  durableCall: [
    'idempotency_key varbinary(1020), scope varbinary(1020)',
    'attempt int, name varbinary(256), subject varbinary(1020)',
  ],
  migration: ['name varchar(100) COLLATE ascii_bin'],
};

/**
 * Not among them: those of the first bytes of a column, and on MySQL those with expressions, which have no column (here
 * they meet all). Both views are given the table, and joined by nothing else, because MariaDB opens every table of the
 * server where it is to find that out by a join. An int has a width on MariaDB, and none on MySQL.
 */
const readKeys: SqlMigrations['readKeys'] = (table) => {
  const sql = new SqlText();
  const { schema, name } = parts(table);
  const of = (view: string) =>
    `${view}.table_schema = coalesce(${sql.value(schema)}, database()) AND ${view}.table_name = ${sql.value(name)}`;
  return sql.statement(
    `SELECT group_concat(
  concat_ws(' ', c.column_name, if(c.data_type = 'int', 'int', c.column_type), concat('COLLATE ', c.collation_name))
  ORDER BY c.column_name SEPARATOR ', '
) AS \`key\`
FROM information_schema.statistics AS s
JOIN information_schema.columns AS c ON c.column_name = s.column_name OR s.column_name IS NULL
WHERE ${of('s')} AND ${of('c')} AND s.non_unique = 0
GROUP BY s.index_name
HAVING count(s.column_name) = count(*) AND count(s.sub_part) = 0`,
  );
};

const TEXT_OF_255 = 'VARBINARY(1020) NOT NULL';

/**
 * Keys are bytes, because every collation that both servers know takes some different keys for the same: 1020 are 255
 * characters of four. Moments are in UTC. A table is one statement with its indexes, since each commits by itself.
 *
 * Calls that may be taken over, which do not expire, and those that are settled, which do, share an index.
 */
const list: SqlMigrations['list'] = ({ idempotencyKey, claim, durableCall }) => [
  {
    name: '0001-idempotency-key-and-claim',
    creates: [idempotencyKey, claim],
    statements: [
      `CREATE TABLE IF NOT EXISTS ${quote(idempotencyKey)} (
  scope VARBINARY(1020) NOT NULL,
  idempotency_key VARBINARY(1020) NOT NULL,
  mode VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  fingerprint BINARY(32) NOT NULL,
  owner CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  attempt INT NOT NULL,
  lease_until DATETIME(6) NOT NULL,
  expires_at DATETIME(6) NOT NULL,
  created_at DATETIME(6) NOT NULL,
  status SMALLINT NULL,
  headers MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  body LONGBLOB NULL,
  PRIMARY KEY (scope, idempotency_key),
  INDEX (expires_at)
) ${ENGINE}`,
      `CREATE TABLE IF NOT EXISTS ${quote(claim)} (
  claim_key VARBINARY(1020) NOT NULL,
  owner VARBINARY(1020) NOT NULL,
  created_at DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
  expires_at DATETIME(6) NULL,
  PRIMARY KEY (claim_key),
  INDEX (expires_at)
) ${ENGINE}`,
    ],
    indexes: [],
  },
  {
    name: '0002-durable-call',
    creates: [durableCall],
    statements: [
      `CREATE TABLE IF NOT EXISTS ${quote(durableCall)} (
  scope ${TEXT_OF_255},
  idempotency_key ${TEXT_OF_255},
  fingerprint BINARY(32) NOT NULL,
  name VARBINARY(256) NOT NULL,
  subject ${TEXT_OF_255},
  attempt INT NOT NULL,
  state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  fence INT NOT NULL,
  lease_until DATETIME(6) NULL,
  final_after DATETIME(6) NULL,
  request LONGTEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  value LONGTEXT CHARACTER SET ascii COLLATE ascii_bin NULL,
  compensation_try INT NOT NULL,
  code MEDIUMTEXT CHARACTER SET ascii COLLATE ascii_bin NULL,
  verdict VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NULL,
  status SMALLINT NULL,
  headers MEDIUMTEXT CHARACTER SET ascii COLLATE ascii_bin NULL,
  body LONGBLOB NULL,
  created_at DATETIME(6) NOT NULL,
  changed_at DATETIME(6) NOT NULL,
  expires_at DATETIME(6) NULL,
  PRIMARY KEY (scope, idempotency_key),
  UNIQUE (name, subject, attempt),
  INDEX (expires_at, name, lease_until)
) ${ENGINE}`,
    ],
    indexes: [],
  },
];

export const migrations: SqlMigrations = {
  lock,
  schemaExists,
  createSchema,
  tableExists,
  createMigrationTable,
  readApplied,
  record,
  readNothing,
  keys,
  readKeys,
  list,
};

function parts(table: string): { schema: string | null; name: string } {
  const [name = table, schema = null] = nameParts(table).toReversed();
  return { schema, name };
}
