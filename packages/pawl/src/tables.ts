import { nameParts } from './columns.ts';
import { MisuseError } from './errors.ts';
import type { PawlTables } from './ports.ts';

/** Where the library keeps what it remembers. */
export interface TablesOptions {
  /**
   * The schema of the tables; on MySQL and MariaDB, where a schema is a database, the database. Absent: the one in which
   * the connection makes its tables.
   */
  readonly schema?: string | undefined;
  /** What each table's name begins with, so that several sets of tables fit into one schema. Default: `pawl_`. */
  readonly prefix?: string | undefined;
}

/** The columns that the library uses, of each table when every migration has been applied. */
export const pawlColumns: Readonly<Record<keyof PawlTables, readonly string[]>> = {
  idempotencyKey: [
    ...['scope', 'idempotency_key', 'mode', 'fingerprint', 'owner', 'attempt', 'lease_until', 'expires_at'],
    ...['created_at', 'status', 'headers', 'body'],
  ],
  claim: ['claim_key', 'owner', 'created_at', 'expires_at'],
  durableCall: [
    ...['scope', 'idempotency_key', 'fingerprint', 'name', 'subject', 'attempt', 'state', 'fence'],
    ...['lease_until', 'final_after', 'request', 'value', 'compensation_try', 'code', 'verdict'],
    ...['status', 'headers', 'body', 'created_at', 'changed_at', 'expires_at'],
  ],
  migration: ['name', 'applied_at'],
};

/** PostgreSQL silently cuts what is longer, so that two names become one; MySQL refuses more than 64. */
const LONGEST_NAME = 63;
/** Of all that is given the prefix: tables, and on PostgreSQL indexes too. */
const LONGEST_SUFFIX = 'idempotency_key_expires_at';

/**
 * The names of the library's tables.
 *
 * @throws MisuseError  The schema or the prefix is not a plain name, or makes names that are too long.
 */
export function pawlTables({ schema, prefix = 'pawl_' }: TablesOptions = {}): PawlTables {
  if (schema !== undefined) requirePlain('schema', schema, schema);
  requirePlain('prefix', prefix, `${prefix}${LONGEST_SUFFIX}`);
  const table = (name: string) => `${schema === undefined ? '' : `${schema}.`}${prefix}${name}`;
  return {
    idempotencyKey: table('idempotency_key'),
    claim: table('claim'),
    durableCall: table('durable_call'),
    migration: table('migration'),
  };
}

function requirePlain(what: string, given: string, name: string): void {
  // A dot would put the tables into another schema than the one that is looked at.
  if (nameParts(name).length > 1) throw new MisuseError(`the ${what} must not contain a dot: ${given}`);
  const spare = LONGEST_NAME - name.length;
  if (spare >= 0) return;
  throw new MisuseError(`the ${what} is ${-spare} characters too long: ${given}`);
}
