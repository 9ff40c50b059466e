import { nameParts } from '../columns.ts';
import type { SqlMigrations } from '../ports.ts';
import { quote, SqlText } from './sql.ts';

/** The letters `pawl-mig` as a number: the lock is known by it, and by the database, alone. */
const LOCK = 0x7061_776c_2d6d_6967n;

/**
 * `IF NOT EXISTS` looks first and creates afterwards:
 *
 *     A: CREATE TABLE IF NOT EXISTS t   finds none, creates it, has not committed
 *     B: CREATE TABLE IF NOT EXISTS t   finds none either, waits for A's row in the catalogue
 *     A: COMMIT                         B fails with 23505, a duplicate in pg_type
 *
 * One lock for all schemas and prefixes of the database: they may meet in the creation of a schema, and a schema that is
 * given may be the one that another process finds by its search path.
 */
const lock: SqlMigrations['lock'] = { text: `SELECT pg_advisory_xact_lock(${LOCK})`, values: [] };

const schemaExists: SqlMigrations['schemaExists'] = (schema) => {
  const sql = new SqlText();
  return sql.statement(`SELECT 1 FROM pg_namespace WHERE nspname = ${sql.value(schema)}`);
};

const createSchema: SqlMigrations['createSchema'] = (schema) =>
  `CREATE SCHEMA IF NOT EXISTS ${quote(schema)}`;

/** Not along the search path: a table of another schema of it is not the one that would be created. */
const tableExists: SqlMigrations['tableExists'] = (table) => {
  const sql = new SqlText();
  const { schema, name } = parts(table);
  return sql.statement(
    'SELECT 1 FROM pg_tables ' +
      `WHERE schemaname = coalesce(${sql.value(schema)}, current_schema()) AND tablename = ${sql.value(name)}`,
  );
};

const createMigrationTable: SqlMigrations['createMigrationTable'] = (table) =>
  `CREATE TABLE IF NOT EXISTS ${quote(table)} (
  name text COLLATE "C" PRIMARY KEY,
  applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)`;

const readApplied: SqlMigrations['readApplied'] = (table) =>
  new SqlText().statement(`SELECT name FROM ${quote(table)}`);

const record: SqlMigrations['record'] = (table, name) =>
  `INSERT INTO ${quote(table)} (name) VALUES ('${name}') ON CONFLICT DO NOTHING`;

const readNothing: SqlMigrations['readNothing'] = (table, columns) =>
  new SqlText().statement(`SELECT ${columns.map(quote).join(', ')} FROM ${quote(table)} WHERE false`);

const keys: SqlMigrations['keys'] = {
  idempotencyKey: ['idempotency_key text COLLATE "C", scope text COLLATE "C"'],
  claim: ['claim_key text COLLATE "C"'],
  durableCall: [
    'idempotency_key text COLLATE "C", scope text COLLATE "C"',
    'attempt integer, name text COLLATE "C", subject text COLLATE "C"',
  ],
  migration: ['name text COLLATE "C"'],
};

/**
 * Where the table would be created, as `tableExists`. Not among them: partial indexes, those of expressions, those that
 * failed while they were built, and those that are asked at COMMIT, which `ON CONFLICT` refuses. An index may have another
 * collation than its column.
 */
const readKeys: SqlMigrations['readKeys'] = (table) => {
  const sql = new SqlText();
  const { schema, name } = parts(table);
  return sql.statement(
    `SELECT string_agg(
  concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), 'COLLATE ' || quote_ident(c.collname)),
  ', ' ORDER BY a.attname
) AS key
FROM pg_namespace AS n
JOIN pg_class AS t ON t.relnamespace = n.oid
JOIN pg_index AS i ON i.indrelid = t.oid
CROSS JOIN unnest(i.indkey::int2[], i.indcollation::oid[]) WITH ORDINALITY AS k (attnum, collated, place)
JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.attnum
LEFT JOIN pg_collation AS c ON c.oid = k.collated
WHERE n.nspname = coalesce(${sql.value(schema)}, current_schema()) AND t.relname = ${sql.value(name)}
  AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
  AND k.place <= i.indnkeyatts
GROUP BY i.indexrelid
HAVING bool_and(a.attcollation = k.collated)`,
  );
};

/**
 * Keys are compared byte by byte: under other collations keys that differ may be equal. Nothing checks the words that the library alone
 * writes: a CHECK is read and compiled anew by each statement, which costs a single row as much as two of its indexes. Records of idempotency
 * keys have room beside them for their answers, so that these change no index.
 */
const list: SqlMigrations['list'] = ({ idempotencyKey, claim, durableCall }) => [
  {
    name: '0001-idempotency-key-and-claim',
    creates: [idempotencyKey, claim],
    statements: [
      `CREATE TABLE IF NOT EXISTS ${quote(idempotencyKey)} (
  scope text COLLATE "C" NOT NULL,
  idempotency_key text COLLATE "C" NOT NULL,
  mode text NOT NULL,
  fingerprint bytea NOT NULL,
  owner uuid NOT NULL,
  attempt integer NOT NULL,
  lease_until timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  status integer,
  headers text,
  body bytea,
  PRIMARY KEY (scope, idempotency_key)
) WITH (fillfactor = 30)`,
      `CREATE TABLE IF NOT EXISTS ${quote(claim)} (
  claim_key text COLLATE "C" PRIMARY KEY,
  owner text COLLATE "C" NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz
)`,
    ],
    indexes: [indexOf(idempotencyKey, 'expires_at'), indexOf(claim, 'expires_at')],
  },
  {
    name: '0002-durable-call',
    creates: [durableCall],
    statements: [
      `CREATE TABLE IF NOT EXISTS ${quote(durableCall)} (
  scope text COLLATE "C" NOT NULL,
  idempotency_key text COLLATE "C" NOT NULL,
  fingerprint bytea NOT NULL,
  name text COLLATE "C" NOT NULL,
  subject text COLLATE "C" NOT NULL,
  attempt integer NOT NULL,
  state text NOT NULL,
  fence integer NOT NULL,
  lease_until timestamptz,
  final_after timestamptz,
  request text NOT NULL,
  value text,
  compensation_try integer NOT NULL,
  code text,
  verdict text,
  status integer,
  headers text,
  body bytea,
  created_at timestamptz NOT NULL,
  changed_at timestamptz NOT NULL,
  expires_at timestamptz,
  PRIMARY KEY (scope, idempotency_key),
  UNIQUE (name, subject, attempt)
)`,
    ],
    indexes: [takeoverIndexOf(durableCall), expiryIndexOf(durableCall)],
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

/** An index has its table's schema, and none of its own may be named. */
function indexOf(table: string, column: string): string {
  const index = `${parts(table).name}_${column}`;
  return `CREATE INDEX IF NOT EXISTS ${quote(index)} ON ${quote(table)} (${quote(column)})`;
}

/** Of those alone that are not settled: the others cost no entry. */
function takeoverIndexOf(table: string): string {
  return partialIndexOf(table, 'lease_until', '(name, lease_until) WHERE expires_at IS NULL');
}

/** Of those alone that are. */
function expiryIndexOf(table: string): string {
  return partialIndexOf(table, 'expires_at', '(expires_at) WHERE expires_at IS NOT NULL');
}

function partialIndexOf(table: string, name: string, rows: string): string {
  const index = `${parts(table).name}_${name}`;
  return `CREATE INDEX IF NOT EXISTS ${quote(index)} ON ${quote(table)} ${rows}`;
}

function parts(table: string): { schema: string | null; name: string } {
  const [name = table, schema = null] = nameParts(table).toReversed();
  return { schema, name };
}
