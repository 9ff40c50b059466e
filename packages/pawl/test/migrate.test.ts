import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { together, until } from '../../../test/barrier.ts';
import { startProxy } from '../../../test/proxy.ts';
import {
  claimUnique,
  MigrateError,
  MisuseError,
  migrate,
  migrationStatements,
  pawlTables,
  type SqlDialect,
  type SqlPort,
} from '../src/index.ts';
import { mysql } from '../src/mysql/index.ts';
import { postgres } from '../src/postgres/index.ts';
import { CANARY, expectOneLine, run, start } from './pawl-command.ts';
import { openStore, type Session, type Store } from './stores.ts';

const FIRST = '0001-idempotency-key-and-claim';
const SECOND = '0002-durable-call';
const ALL = [FIRST, SECOND];
/** As the table of migrations has them when all are applied. */
const RECORDED = ALL.map((name) => ({ name }));
const LONGEST_PREFIX = 'p'.repeat(37);

let store: Store;
let sql: SqlPort;
let dialect: SqlDialect;

const rows = async (text: string, ...values: string[]) => (await store.query(text, ...values)).rows;

/** The tables of a schema, by name. Absent: that of the connection. */
async function tableNames(schema?: string): Promise<string[]> {
  const found = await rows(
    `SELECT table_name AS name FROM information_schema.tables WHERE table_schema = ${schemaText(schema)}`,
  );
  return found.map(({ name }) => String(name)).sort();
}

function schemaText(schema: string | undefined): string {
  if (schema !== undefined) return `'${schema}'`;
  return store.kind === 'postgres' ? 'current_schema()' : 'database()';
}

const COLUMNS = {
  postgres: `concat_ws(' ', data_type, CASE is_nullable WHEN 'NO' THEN 'not null' END, collation_name, column_default)`,
  mysql: `concat_ws(' ', column_type, CASE is_nullable WHEN 'NO' THEN 'not null' END, collation_name, nullif(column_default, 'NULL'))`,
};

/** Every column of a table with all that is said about it, and every index. */
async function shapeOf(table: string, schema?: string): Promise<{ columns: object; indexes: string[] }> {
  const columns = await rows(
    `SELECT column_name AS name, ${COLUMNS[store.kind]} AS definition FROM information_schema.columns
     WHERE table_schema = ${schemaText(schema)} AND table_name = ? ORDER BY ordinal_position`,
    table,
  );
  const indexes = await rows(
    store.kind === 'postgres'
      ? `SELECT CASE WHEN indexdef LIKE 'CREATE UNIQUE %' THEN 'UNIQUE INDEX' ELSE 'INDEX' END || substring(indexdef FROM '\\(.*$') AS definition
         FROM pg_indexes WHERE schemaname = ${schemaText(schema)} AND tablename = ?`
      : `SELECT concat(index_name, ' (', group_concat(column_name ORDER BY seq_in_index SEPARATOR ', '), ')') AS definition
         FROM information_schema.statistics WHERE table_schema = ${schemaText(schema)} AND table_name = ?
         GROUP BY index_name`,
    table,
  );
  return {
    columns: Object.fromEntries(columns.map(({ name, definition }) => [String(name), String(definition)])),
    indexes: indexes.map(({ definition }) => String(definition)).sort(),
  };
}

async function shapes(prefix = 'pawl_', schema?: string) {
  return {
    idempotencyKey: await shapeOf(`${prefix}idempotency_key`, schema),
    claim: await shapeOf(`${prefix}claim`, schema),
    durableCall: await shapeOf(`${prefix}durable_call`, schema),
    migration: await shapeOf(`${prefix}migration`, schema),
  };
}

const EXPECTED = {
  postgres: {
    idempotencyKey: {
      columns: {
        scope: 'text not null C',
        idempotency_key: 'text not null C',
        mode: 'text not null',
        fingerprint: 'bytea not null',
        owner: 'uuid not null',
        attempt: 'integer not null',
        lease_until: 'timestamp with time zone not null',
        expires_at: 'timestamp with time zone not null',
        created_at: 'timestamp with time zone not null clock_timestamp()',
        status: 'integer',
        headers: 'text',
        body: 'bytea',
      },
      indexes: ['INDEX(expires_at)', 'UNIQUE INDEX(scope, idempotency_key)'],
    },
    claim: {
      columns: {
        claim_key: 'text not null C',
        owner: 'text not null C',
        created_at: 'timestamp with time zone not null clock_timestamp()',
        expires_at: 'timestamp with time zone',
      },
      indexes: ['INDEX(expires_at)', 'UNIQUE INDEX(claim_key)'],
    },
    durableCall: {
      columns: {
        scope: 'text not null C',
        idempotency_key: 'text not null C',
        fingerprint: 'bytea not null',
        name: 'text not null C',
        subject: 'text not null C',
        attempt: 'integer not null',
        state: 'text not null',
        fence: 'integer not null',
        lease_until: 'timestamp with time zone',
        final_after: 'timestamp with time zone',
        request: 'text not null',
        value: 'text',
        compensation_try: 'integer not null',
        code: 'text',
        verdict: 'text',
        status: 'integer',
        headers: 'text',
        body: 'bytea',
        created_at: 'timestamp with time zone not null',
        changed_at: 'timestamp with time zone not null',
        expires_at: 'timestamp with time zone',
      },
      indexes: [
        'INDEX(expires_at) WHERE (expires_at IS NOT NULL)',
        'INDEX(name, lease_until) WHERE (expires_at IS NULL)',
        'UNIQUE INDEX(name, subject, attempt)',
        'UNIQUE INDEX(scope, idempotency_key)',
      ],
    },
    migration: {
      columns: { name: 'text not null C', applied_at: 'timestamp with time zone not null clock_timestamp()' },
      indexes: ['UNIQUE INDEX(name)'],
    },
  },
  mysql: {
    idempotencyKey: {
      columns: {
        scope: 'varbinary(1020) not null',
        idempotency_key: 'varbinary(1020) not null',
        mode: 'varchar(16) not null ascii_bin',
        fingerprint: 'binary(32) not null',
        owner: 'char(36) not null ascii_bin',
        attempt: 'int(11) not null',
        lease_until: 'datetime(6) not null',
        expires_at: 'datetime(6) not null',
        created_at: 'datetime(6) not null',
        status: 'smallint(6)',
        headers: 'mediumtext utf8mb4_bin',
        body: 'longblob',
      },
      indexes: ['PRIMARY (scope, idempotency_key)', 'expires_at (expires_at)'],
    },
    claim: {
      columns: {
        claim_key: 'varbinary(1020) not null',
        owner: 'varbinary(1020) not null',
        created_at: 'datetime(6) not null utc_timestamp(6)',
        expires_at: 'datetime(6)',
      },
      indexes: ['PRIMARY (claim_key)', 'expires_at (expires_at)'],
    },
    durableCall: {
      columns: {
        scope: 'varbinary(1020) not null',
        idempotency_key: 'varbinary(1020) not null',
        fingerprint: 'binary(32) not null',
        name: 'varbinary(256) not null',
        subject: 'varbinary(1020) not null',
        attempt: 'int(11) not null',
        state: 'varchar(16) not null ascii_bin',
        fence: 'int(11) not null',
        lease_until: 'datetime(6)',
        final_after: 'datetime(6)',
        request: 'longtext not null ascii_bin',
        value: 'longtext ascii_bin',
        compensation_try: 'int(11) not null',
        code: 'mediumtext ascii_bin',
        verdict: 'varchar(16) ascii_bin',
        status: 'smallint(6)',
        headers: 'mediumtext ascii_bin',
        body: 'longblob',
        created_at: 'datetime(6) not null',
        changed_at: 'datetime(6) not null',
        expires_at: 'datetime(6)',
      },
      indexes: [
        'PRIMARY (scope, idempotency_key)',
        'expires_at (expires_at, name, lease_until)',
        'name (name, subject, attempt)',
      ],
    },
    migration: {
      columns: {
        name: 'varchar(100) not null ascii_bin',
        applied_at: 'datetime(6) not null utc_timestamp(6)',
      },
      indexes: ['PRIMARY (name)'],
    },
  },
};

/** Holds up every migration of the store, in the middle where there is one, until it is released. */
async function holdUp(): Promise<{ waiting(): Promise<number>; release(): Promise<void> }> {
  const holder = await store.connect();
  if (store.kind === 'postgres') {
    const lock = dialect.migrations.lock?.text.replace('_xact', '') ?? '';
    await holder.query(lock);
    return {
      waiting: () => store.waitingForLocks(),
      release: async () => void (await holder.query(lock.replace('lock', 'unlock'))),
    };
  }
  const waiting = await holdClaimTable(holder);
  return { waiting, release: async () => void (await holder.query('UNLOCK TABLES')) };
}

/** Makes the table of claims and locks it: a migration has then made the other, and waits. */
async function holdClaimTable(holder: Session): Promise<() => Promise<number>> {
  const [, , claim] = migrationStatements(dialect);
  await holder.query(claim ?? '');
  if (store.kind === 'postgres') {
    await holder.begin('READ COMMITTED');
    await holder.query('LOCK TABLE pawl_claim IN ACCESS EXCLUSIVE MODE');
    return () => store.waitingForLocks();
  }
  await holder.query('LOCK TABLES pawl_claim WRITE');
  return async () => (await rows(METADATA_WAITS)).length;
}

const METADATA_WAITS = `SELECT id FROM information_schema.processlist
  WHERE db = database() AND state = 'Waiting for table metadata lock'`;

/** A user of the server with no rights but those that `grants` give in this database. */
async function newUser(...grants: string[]): Promise<{ name: string; password: string }> {
  const user = { name: `user_${randomBytes(5).toString('hex')}`, password: CANARY };
  const database = new URL(store.url).pathname.slice(1);
  if (store.kind === 'postgres') {
    await store.query(`CREATE ROLE ${user.name} LOGIN PASSWORD '${CANARY}'`);
    // The ports of the tests set it.
    await store.query(`GRANT SET ON PARAMETER deadlock_timeout TO ${user.name}`);
  } else await store.query(`CREATE USER ${user.name} IDENTIFIED BY '${CANARY}'`);
  for (const grant of grants) {
    await store.query(grant.replace('$user', user.name).replace('$database', database));
  }
  return user;
}

const READ_ONLY = {
  postgres: 'GRANT SELECT ON ALL TABLES IN SCHEMA public TO $user',
  mysql: 'GRANT SELECT ON $database.* TO $user',
};

/** Arguments of Node that run `code` before the command. */
const withHook = (code: string) => ['--import', `data:text/javascript,${encodeURIComponent(code)}`];

function storeUrl(
  change: Partial<Pick<URL, 'port' | 'username' | 'password' | 'pathname' | 'protocol'>>,
): string {
  return Object.assign(new URL(store.url), change).href;
}

describe.each(['postgres', 'mariadb'] as const)('%s', (name) => {
  beforeEach(async () => {
    store = await openStore(name);
    sql = store.open({ connections: 8 });
    dialect = sql.dialect;
  });

  afterEach(() => store.close());

  describe('the tables', () => {
    test.each(['driver', 'kysely'] as const)(
      'are made once, as they are said to be (over %s)',
      async (over) => {
        const port = store.open({ over });
        const tables = {
          idempotencyKey: 'pawl_idempotency_key',
          claim: 'pawl_claim',
          durableCall: 'pawl_durable_call',
          migration: 'pawl_migration',
        };
        expect(await migrate(port)).toEqual({ tables, applied: ALL });
        expect(await shapes()).toEqual(EXPECTED[store.kind]);
        expect(await migrate(port)).toEqual({ tables, applied: [] });
        expect(await rows('SELECT name FROM pawl_migration ORDER BY name')).toEqual(RECORDED);
      },
    );

    test('take keys for different that differ in case, accent, trailing blank, or composition alone', async () => {
      await migrate(sql);
      const keys = ['abc', 'Abc', 'äbc', 'Äbc', 'abc ', ' abc', 'abc\t', '\u00e9', 'e\u0301', '1', '01'];
      for (const key of keys) {
        await insertClaim(key);
        await insertRecord(key, 'key');
        await insertRecord('scope', key);
      }
      expect((await rows('SELECT claim_key FROM pawl_claim')).length).toBe(keys.length);
      expect((await rows('SELECT scope FROM pawl_idempotency_key')).length).toBe(2 * keys.length);
      for (const key of keys)
        expect(await rows('SELECT owner FROM pawl_claim WHERE claim_key = ?', key)).toHaveLength(1);
      await expect(insertClaim('abc')).rejects.toThrow();
      await expect(insertRecord('abc', 'key')).rejects.toThrow();
    });

    test('take the subjects of durable calls for different as well', async () => {
      await migrate(sql);
      for (const text of ['abc', 'Abc', 'äbc', 'abc ', '\u00e9', 'e\u0301']) {
        await insertCall(text, 'key', 'subject');
        await insertCall('scope', text, 'subject');
        await insertCall('scope', `of ${text}`, text);
      }
      await expect(insertCall('abc', 'key', 'other')).rejects.toThrow();
    });

    test('have room for keys of 255 characters of four bytes', async () => {
      await migrate(sql);
      // Incompressible as a key must be measured: PostgreSQL compresses a repeated character.
      const long = String.fromCodePoint(...Array.from({ length: 255 }, (_, index) => 0x1_f300 + index * 7));
      await insertClaim(long);
      await insertRecord(long, long);
      await insertCall(long, long, long);
      expect(await rows('SELECT owner FROM pawl_claim WHERE claim_key = ?', long)).toHaveLength(1);
    });

    test('note the moment by the clock of the store, in UTC', async () => {
      await migrate(sql);
      const session = await store.connect();
      const zone = store.kind === 'postgres' ? `SET TIME ZONE 'Asia/Seoul'` : `SET time_zone = '+09:00'`;
      await session.query(zone);
      await session.query(`INSERT INTO pawl_claim (claim_key, owner) VALUES ('a', 'b')`);
      const ageS =
        store.kind === 'postgres'
          ? 'EXTRACT(EPOCH FROM clock_timestamp() - created_at)'
          : 'TIMESTAMPDIFF(SECOND, created_at, UTC_TIMESTAMP(6))';
      const [age] = await rows(`SELECT ${ageS} AS age FROM pawl_claim`);
      expect(Math.abs(Number(age?.age))).toBeLessThan(3_600);
    });
  });

  describe('at once', () => {
    test('eight in one process all end well, and one of them has applied', async () => {
      const hold = await holdUp();
      const all = together(8, () => migrate(sql));
      await until(async () => (await hold.waiting()) === 8);
      await hold.release();
      const applied = (await all).flatMap((one) => one.applied);
      // On MySQL one may be told of the first migration, and another of the second.
      expect(applied.sort()).toEqual(ALL);
      expect(await shapes()).toEqual(EXPECTED[store.kind]);
    });

    test('so do two processes', async () => {
      const hold = await holdUp();
      const commands = [run('migrate', store.url), run('migrate', store.url)];
      await until(async () => (await hold.waiting()) === 2, 30_000);
      await hold.release();
      const ended = await Promise.all(commands);
      expect(ended.map(({ code, err }) => ({ code, err }))).toEqual(Array(2).fill({ code: 0, err: '' }));
      for (const { out } of ended) expect(out).toMatch(/^(Applied|Nothing to do)/);
      expect(ended.flatMap(({ out }) => out.match(/000\d-[a-z-]+/g) ?? []).sort()).toEqual(ALL);
      expect(await shapes()).toEqual(EXPECTED[store.kind]);
    });
  });

  describe('killed in the middle', () => {
    test('after any of its statements, the next run completes it', async () => {
      const count = migrationStatements(dialect).length;
      for (let ran = 0; ran <= count; ran++) {
        const prefix = `after_${ran}_`;
        const before = migrationStatements(dialect, { prefix }).slice(0, ran);
        for (const text of before) await store.query(text);
        const { applied } = await migrate(sql, { prefix });
        expect(applied).toEqual(ALL.filter((one) => !before.join().includes(`'${one}'`)));
        expect(await shapes(prefix)).toEqual(EXPECTED[store.kind]);
        expect((await migrate(sql, { prefix })).applied).toEqual([]);
      }
    });

    test('by SIGKILL, it leaves what a transaction leaves there, and the next run completes it', async () => {
      const holder = await store.connect();
      const waiting = await holdClaimTable(holder);
      const { command, ended } = start(['migrate', store.url]);
      await until(async () => (await waiting()) === 1, 30_000);
      command.kill('SIGKILL');
      await ended;
      await store.endSessions();
      await until(async () => (await waiting()) === 0);
      // PostgreSQL rolls back with the connection, MySQL has committed each table by itself.
      const left = {
        postgres: ['pawl_claim'],
        mysql: ['pawl_claim', 'pawl_idempotency_key', 'pawl_migration'],
      };
      await until(async () => (await tableNames()).join() === left[store.kind].join());
      expect((await migrate(sql)).applied).toEqual(ALL);
      expect(await shapes()).toEqual(EXPECTED[store.kind]);
    });
  });

  describe('schema and prefix', () => {
    const schema = () => `other_${randomBytes(5).toString('hex')}`;

    test('a schema that is missing is made, and the tables are in it', async () => {
      const other = schema();
      const { tables, applied } = await migrate(sql, { schema: other, prefix: '' });
      expect(tables).toEqual({
        idempotencyKey: `${other}.idempotency_key`,
        claim: `${other}.claim`,
        durableCall: `${other}.durable_call`,
        migration: `${other}.migration`,
      });
      expect(applied).toEqual(ALL);
      expect(await shapes('', other)).toEqual(EXPECTED[store.kind]);
      expect(await tableNames()).toEqual([]);
      expect((await migrate(sql, { schema: other, prefix: '' })).applied).toEqual([]);
      if (store.kind === 'mysql') await store.query(`DROP DATABASE ${other}`);
    });

    test('two prefixes stand beside each other', async () => {
      expect((await migrate(sql, { prefix: 'a_' })).applied).toEqual(ALL);
      expect((await migrate(sql, { prefix: 'b_' })).applied).toEqual(ALL);
      expect(await shapes('a_')).toEqual(EXPECTED[store.kind]);
      expect(await shapes('b_')).toEqual(EXPECTED[store.kind]);
    });

    test('the longest prefix makes names that nobody cuts', async () => {
      const twins = [LONGEST_PREFIX, `${LONGEST_PREFIX.slice(1)}q`];
      for (const prefix of twins) {
        expect((await migrate(sql, { prefix })).applied).toEqual(ALL);
        expect(await shapes(prefix)).toEqual(EXPECTED[store.kind]);
      }
    });

    test('a database whose name is not plain is used where it is that of the connection', async () => {
      const odd = `odd-${randomBytes(5).toString('hex')}`;
      const quoted = store.kind === 'postgres' ? `"${odd}"` : `\`${odd}\``;
      await store.query(`CREATE DATABASE ${quoted}`);
      const { code, out } = await run('migrate', storeUrl({ pathname: `/${odd}` }));
      expect({ code, applied: out.startsWith('Applied') }).toEqual({ code: 0, applied: true });
      await store.query(`DROP DATABASE ${quoted}`);
    });
  });

  describe('rights', () => {
    test('where nothing is missing, reading is enough', async () => {
      await migrate(sql);
      const user = await newUser(READ_ONLY[store.kind]);
      expect((await migrate(store.open({ user }))).applied).toEqual([]);
    });

    test('without the right to make tables, the refusal is the server’s, and nothing is left', async () => {
      const user = await newUser(READ_ONLY[store.kind]);
      await expect(migrate(store.open({ user }))).rejects.toMatchObject({ code: 'REJECTED', effect: 'none' });
      expect(await tableNames()).toEqual([]);
    });
  });

  describe('somebody else’s tables', () => {
    const FOREIGN = 'CREATE TABLE pawl_claim (id int PRIMARY KEY, expires_at timestamp NULL)';

    test('without the check, IF NOT EXISTS takes one for ours, and records it', async () => {
      await store.query(FOREIGN);
      for (const text of migrationStatements(dialect)) await store.query(text);
      expect(await rows('SELECT name FROM pawl_migration ORDER BY name')).toEqual(RECORDED);
    });

    test('one under the name of ours is an error, and nothing is recorded', async () => {
      await store.query(FOREIGN);
      await expect(migrate(sql)).rejects.toMatchObject({ name: 'MigrateError', code: 'UNFIT_TABLE' });
      await expect(migrate(sql)).rejects.toThrow(/^pawl_claim is not a table that pawl can use: .*claim_key/);
      if (store.kind === 'postgres') expect(await tableNames()).toEqual(['pawl_claim']);
      await store.query('DROP TABLE pawl_claim');
      expect((await migrate(sql)).applied).toEqual(ALL);
    });

    test('one without the column of an index is told by its own name too', async () => {
      await store.query('CREATE TABLE pawl_idempotency_key (id int)');
      await expect(migrate(sql)).rejects.toThrow(/^pawl_idempotency_key is not a table that pawl can use/);
    });

    test('so is one under the name of the migrations', async () => {
      await store.query('CREATE TABLE pawl_migration (version int)');
      await expect(migrate(sql)).rejects.toThrow(/^pawl_migration is not a table that pawl can use/);
      expect(await tableNames()).toEqual(['pawl_migration']);
    });
  });

  describe('tables that guard nothing', () => {
    const RACERS = 50;
    const { claim, ...others } = pawlTables();

    /** As a copy, or a restore without constraints, leaves it: every column, and no key. */
    async function makeWithoutKey(table: string): Promise<void> {
      await migrate(sql, { prefix: 'good_' });
      await store.query(
        `CREATE TABLE ${table} AS SELECT * FROM ${table.replace('pawl_', 'good_')} WHERE false`,
      );
    }

    const claimAtOnce = () =>
      together(RACERS, (racer) =>
        claimUnique(sql, { table: claim, key: { claim_key: 'seat-1' }, values: { owner: String(racer) } }),
      );

    /** What `migrate` says of the table. It must not have recorded anything. */
    async function refusal(table: string): Promise<string> {
      const error = await migrate(sql).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ name: 'MigrateError', code: 'UNFIT_TABLE' });
      const recorded = (await tableNames()).includes('pawl_migration');
      if (recorded) expect(await rows('SELECT name FROM pawl_migration ORDER BY name')).toEqual([]);
      const { message } = error as MigrateError;
      expect(message).toMatch(
        new RegExp(`^${table} is not a table that pawl can use: it needs the unique key`),
      );
      return message;
    }

    test('without the check, one without its key is recorded, and all of 50 claims win', async () => {
      await makeWithoutKey(claim);
      for (const text of migrationStatements(dialect)) await store.query(text);
      expect(await rows('SELECT name FROM pawl_migration ORDER BY name')).toEqual(RECORDED);
      const outcomes = await claimAtOnce();
      expect(outcomes.filter(({ outcome }) => outcome === 'done')).toHaveLength(RACERS);
      expect(await rows('SELECT owner FROM pawl_claim')).toHaveLength(RACERS);
    });

    test('with the check, one without its key is an error', async () => {
      await makeWithoutKey(claim);
      expect(await refusal(claim)).toMatch(/\(claim_key [^()]*(\(1020\))?\), and its unique keys are: none$/);
      await store.query(`DROP TABLE ${claim}`);
      expect((await migrate(sql)).applied).toEqual(ALL);
      const outcomes = await claimAtOnce();
      expect(outcomes.filter(({ outcome }) => outcome === 'done')).toHaveLength(1);
    });

    test.each(Object.values(others))('%s too', async (table) => {
      await makeWithoutKey(table);
      expect(await refusal(table)).toMatch(/its unique keys are: none$/);
    });

    test('also when its migration was recorded long ago', async () => {
      await migrate(sql);
      await store.query(`DROP TABLE ${claim}`);
      await store.query(`CREATE TABLE ${claim} AS SELECT claim_key, owner, created_at, expires_at FROM
        (SELECT 'a' AS claim_key, 'b' AS owner, CURRENT_TIMESTAMP AS created_at, CURRENT_TIMESTAMP AS expires_at) AS one`);
      await expect(migrate(sql)).rejects.toMatchObject({ code: 'UNFIT_TABLE' });
    });

    test('one that needs two is an error without the second', async () => {
      const table = others.durableCall;
      await makeWithoutKey(table);
      await store.query(`ALTER TABLE ${table} ADD PRIMARY KEY (scope, idempotency_key)`);
      expect(await refusal(table)).toMatch(/needs the unique key \(attempt \w+, name [^()]+.*, subject /);
      await store.query(`CREATE UNIQUE INDEX one_attempt ON ${table} (name, subject, attempt)`);
      expect((await migrate(sql)).applied).toEqual(ALL);
    });

    test('a unique key that is not the one', async () => {
      const table = others.idempotencyKey;
      await makeWithoutKey(table);
      const prefixOfKey = 'UNIQUE INDEX part ON pawl_idempotency_key (scope, idempotency_key(100))';
      const partial = `UNIQUE INDEX part ON pawl_idempotency_key (scope, idempotency_key) WHERE mode = 'leased'`;
      for (const index of [
        'INDEX plain ON pawl_idempotency_key (scope, idempotency_key)',
        'UNIQUE INDEX narrow ON pawl_idempotency_key (scope)',
        'UNIQUE INDEX wide ON pawl_idempotency_key (scope, idempotency_key, attempt)',
        store.kind === 'mysql' ? prefixOfKey : partial,
      ]) {
        await store.query(`CREATE ${index}`);
        await refusal(table);
      }
      // Any name and order will do.
      await store.query('CREATE UNIQUE INDEX fit ON pawl_idempotency_key (idempotency_key, scope)');
      expect((await migrate(sql)).applied).toEqual(ALL);
    });

    /** A key that disregards trailing blanks, as both databases do in some of their types. */
    async function makeWithLooseKey(): Promise<void> {
      await makeWithoutKey(claim);
      const change = {
        postgres: 'ALTER claim_key TYPE char(255)',
        mysql: 'MODIFY claim_key varchar(255) CHARACTER SET utf8mb4',
      };
      await store.query(`ALTER TABLE ${claim} ${change[store.kind]}`);
      await store.query(`ALTER TABLE ${claim} ADD PRIMARY KEY (claim_key)`);
    }

    test('without the check, a key of another type takes two keys for the same', async () => {
      await makeWithLooseKey();
      for (const text of migrationStatements(dialect)) await store.query(text);
      await insertClaim('abc');
      await expect(insertClaim('abc ')).rejects.toThrow();
    });

    test('with the check, a key of another type is an error, which names both', async () => {
      await makeWithLooseKey();
      const both = {
        postgres: /\(claim_key text COLLATE "C"\).*\(claim_key character\(255\) COLLATE "\w+"\)$/,
        mysql: /\(claim_key varbinary\(1020\)\).*\(claim_key varchar\(255\) COLLATE utf8mb4_\w+\)$/,
      };
      expect(await refusal(claim)).toMatch(both[store.kind]);
    });

    test('a good one of the same name elsewhere does not help', async () => {
      const other = `other_${randomBytes(5).toString('hex')}`;
      await migrate(sql, { schema: other });
      await makeWithoutKey(claim);
      await refusal(claim);
      if (store.kind === 'mysql') await store.query(`DROP DATABASE ${other}`);
    });
  });

  describe('tables of the first migration', () => {
    /** As an older library has left them, with what they held. */
    async function makeFirst(): Promise<void> {
      const statements = migrationStatements(dialect);
      const end = statements.findIndex((text) => text.includes(`'${FIRST}'`));
      for (const text of statements.slice(0, end + 1)) await store.query(text);
      await insertClaim('kept');
      await insertRecord('scope', 'kept');
    }

    test('are brought up to the second, which alone is told, and keep what they hold', async () => {
      await makeFirst();
      expect((await migrate(sql)).applied).toEqual([SECOND]);
      expect(await shapes()).toEqual(EXPECTED[store.kind]);
      expect(await rows('SELECT name FROM pawl_migration ORDER BY name')).toEqual(RECORDED);
      expect(await rows('SELECT owner FROM pawl_claim')).toHaveLength(1);
      expect(await rows('SELECT mode FROM pawl_idempotency_key')).toHaveLength(1);
      expect((await migrate(sql)).applied).toEqual([]);
    });

    test('by many at once', async () => {
      await makeFirst();
      const applied = await together(8, () => migrate(sql));
      expect(applied.flatMap((one) => one.applied)).toEqual([SECOND]);
      expect(await shapes()).toEqual(EXPECTED[store.kind]);
    });
  });

  test('one of ours that is gone although it was applied is made again, and told', async () => {
    await migrate(sql);
    await insertRecord('scope', 'kept');
    await store.query('DROP TABLE pawl_claim');
    expect((await migrate(sql)).applied).toEqual(ALL);
    expect(await shapes()).toEqual(EXPECTED[store.kind]);
    expect(await rows('SELECT name FROM pawl_migration ORDER BY name')).toEqual(RECORDED);
    expect(await rows('SELECT mode FROM pawl_idempotency_key')).toHaveLength(1);
    expect((await migrate(sql)).applied).toEqual([]);
  });

  test('tables that are newer than the library are left alone', async () => {
    const [migrationTable = ''] = migrationStatements(dialect);
    await store.query(migrationTable);
    await store.query(`INSERT INTO pawl_migration (name) VALUES ('9999-later')`);
    const refused = migrate(sql);
    await expect(refused).rejects.toBeInstanceOf(MigrateError);
    await expect(refused).rejects.toMatchObject({ code: 'NEWER_TABLES', message: /9999-later.*0002/ });
    expect(await tableNames()).toEqual(['pawl_migration']);
    const { code, ...output } = await run('migrate', store.url);
    expect(code).toBe(255);
    expectOneLine(output, 'newer than this library');
  });

  describe('pawl migrate', () => {
    test('applies, says so, and then finds nothing to do', async () => {
      const shown = `${new URL(store.url).protocol}//${new URL(store.url).host}${new URL(store.url).pathname}`;
      expect(await run('migrate', store.url)).toEqual({
        code: 0,
        out: `Applied to ${shown}: ${FIRST}, ${SECOND}\n`,
        err: '',
      });
      expect(await start(['migrate'], { DATABASE_URL: store.url }).ended).toEqual({
        code: 0,
        out: `Nothing to do: pawl_idempotency_key, pawl_claim, pawl_durable_call, pawl_migration are up to date in ${shown}\n`,
        err: '',
      });
      expect(await shapes()).toEqual(EXPECTED[store.kind]);
    });

    test('by the other name of its scheme, with a schema and a prefix', async () => {
      const protocol = store.kind === 'postgres' ? 'postgresql:' : 'mariadb:';
      const other = `other_${randomBytes(5).toString('hex')}`;
      const { code, err } = await run('migrate', storeUrl({ protocol }), '--schema', other, '--prefix', 'x_');
      expect({ code, err }).toEqual({ code: 0, err: '' });
      expect(await shapes('x_', other)).toEqual(EXPECTED[store.kind]);
      if (store.kind === 'mysql') await store.query(`DROP DATABASE ${other}`);
    });

    test('--print gives SQL that makes the same tables, and migrate finds nothing to do after it', async () => {
      const { code, out, err } = await run('migrate', '--print', '--dialect', store.kind, '--prefix', 'x_');
      expect({ code, err }).toEqual({ code: 0, err: '' });
      expect(
        await start(['migrate', '--print', '--prefix', 'x_'], { DATABASE_URL: store.url }).ended,
      ).toEqual({
        code: 0,
        out,
        err: '',
      });
      for (let times = 0; times < 2; times++) {
        for (const text of out.split(/;\n+/).filter(Boolean)) await store.query(text);
      }
      expect(await shapes('x_')).toEqual(EXPECTED[store.kind]);
      expect((await migrate(sql, { prefix: 'x_' })).applied).toEqual([]);
    });

    test('nobody listens: one line, 255', async () => {
      const { code, ...output } = await run(
        'migrate',
        storeUrl({ port: await freePort(), password: CANARY }),
      );
      expect(code).toBe(255);
      expectOneLine(output, 'cannot connect to', 'ECONNREFUSED');
    });

    test('nobody listens at any of a host’s addresses: its error has no message of its own', async () => {
      const hook = `import dns from 'node:dns';
        const addresses = ['127.0.0.1', '127.0.0.2'].map((address) => ({ address, family: 4 }));
        dns.lookup = (host, options, answer) => answer(null, addresses);`;
      const url = new URL(storeUrl({ port: await freePort() }));
      url.hostname = 'several.test';
      const { code, ...output } = await start(['migrate', url.href], {}, withHook(hook)).ended;
      expect(code).toBe(255);
      expectOneLine(output, 'cannot connect to', 'several.test', 'ECONNREFUSED');
    });

    test('no place to make tables in: one line, 255, and --schema gives one', async () => {
      const url = new URL(storeUrl(store.kind === 'mysql' ? { pathname: '' } : {}));
      if (store.kind === 'postgres') url.search = '?options=-c%20search_path%3Dnowhere';
      const { code, ...output } = await run('migrate', url.href);
      expect(code).toBe(255);
      expectOneLine(output, 'refused by', 'selected');
      const schema = `other_${randomBytes(5).toString('hex')}`;
      expect((await run('migrate', url.href, '--schema', schema)).code).toBe(0);
      expect(await shapes('pawl_', schema)).toEqual(EXPECTED[store.kind]);
      if (store.kind === 'mysql') await store.query(`DROP DATABASE ${schema}`);
    });

    test('a wrong password: one line, 255', async () => {
      const { code, ...output } = await run('migrate', storeUrl({ password: CANARY }));
      expect(code).toBe(255);
      expectOneLine(output, 'cannot connect to');
    });

    test('a database that is missing: one line, 255', async () => {
      const { code, ...output } = await run('migrate', storeUrl({ pathname: '/nowhere' }));
      expect(code).toBe(255);
      expectOneLine(output, 'cannot connect to', 'nowhere');
    });

    test('no right to make tables: one line, 255, and nothing is left', async () => {
      const { name: username, password } = await newUser(READ_ONLY[store.kind]);
      const { code, ...output } = await run('migrate', storeUrl({ username, password }));
      expect(code).toBe(255);
      expectOneLine(output, 'refused by', 'denied');
      expect(await tableNames()).toEqual([]);
    });

    test('somebody else’s table: one line, 255', async () => {
      await store.query('CREATE TABLE pawl_claim (id int)');
      const { code, ...output } = await run('migrate', store.url);
      expect(code).toBe(255);
      expectOneLine(output, 'pawl_claim is not a table that pawl can use');
    });

    test('the driver is not installed: the command that installs it, 255', async () => {
      const driver = store.kind === 'postgres' ? 'pg' : 'mysql2';
      const hook = `import { registerHooks } from 'node:module';
        registerHooks({ resolve(specifier, context, next) {
          if (specifier !== '${driver}') return next(specifier, context);
          throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' });
        } });`;
      const { code, ...output } = await start(['migrate', store.url], {}, withHook(hook)).ended;
      expect(code).toBe(255);
      expectOneLine(output, `npm install ${driver}`);
    });

    test('the connection is ended in the middle: 2 where something may be done, and the next run completes it', async () => {
      const holder = await store.connect();
      const waiting = await holdClaimTable(holder);
      const { ended } = start(['migrate', store.url]);
      await until(async () => (await waiting()) === 1, 30_000);
      const [victim] = await rows(
        store.kind === 'postgres'
          ? `SELECT pid AS id FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`
          : METADATA_WAITS,
      );
      await store.kill(Number(victim?.id));
      const { code, ...output } = await ended;
      // PostgreSQL has rolled back; on MySQL the statement may have been done.
      expect(code).toBe(store.kind === 'postgres' ? 255 : 2);
      expectOneLine(output, 'lost the connection to');
      await store.endSessions();
      expect((await run('migrate', store.url)).code).toBe(0);
      expect(await shapes()).toEqual(EXPECTED[store.kind]);
    });
  });
});

describe('on PostgreSQL alone', () => {
  beforeEach(async () => {
    store = await openStore('postgres');
    sql = store.open();
    dialect = sql.dialect;
  });

  afterEach(() => store.close());

  test('without the lock, IF NOT EXISTS fails', async () => {
    const [first, second] = [await store.connect(), await store.connect()];
    const [migrationTable = ''] = migrationStatements(dialect);
    await first.begin('READ COMMITTED');
    await first.query(migrationTable);
    const late = expect(second.query(migrationTable)).rejects.toMatchObject({ code: '23505' });
    await until(async () => (await store.waitingForLocks()) === 1);
    await first.query('COMMIT');
    await late;
  });

  test('two prefixes in one new schema do not meet in its creation', async () => {
    const hold = await holdUp();
    const both = together(2, (index) => migrate(sql, { schema: 'fresh', prefix: `p${index}_` }));
    await until(async () => (await hold.waiting()) === 2);
    await hold.release();
    expect((await both).map(({ applied }) => applied)).toEqual([ALL, ALL]);
  });

  test('a longer name would be cut, and be the same as another', async () => {
    const cut = 'p'.repeat(63);
    await store.query(`CREATE TABLE ${cut}a (id int)`);
    await expect(store.query(`CREATE TABLE ${cut}b (id int)`)).rejects.toMatchObject({ code: '42P07' });
  });

  test('a key that was never built, or is asked at COMMIT, or has another collation, is none', async () => {
    await migrate(sql, { prefix: 'good_' });
    await store.query('CREATE TABLE pawl_claim AS SELECT * FROM good_claim');
    await store.query(`INSERT INTO pawl_claim (claim_key) VALUES ('twice'), ('twice')`);
    const index = 'CREATE UNIQUE INDEX CONCURRENTLY invalid ON pawl_claim (claim_key)';
    await expect(store.query(index)).rejects.toMatchObject({ code: '23505' });
    await store.query('DELETE FROM pawl_claim');
    await store.query('ALTER TABLE pawl_claim ADD UNIQUE (claim_key) DEFERRABLE');
    await store.query('CREATE UNIQUE INDEX ON pawl_claim (claim_key COLLATE "POSIX")');
    await expect(migrate(sql)).rejects.toThrow(/its unique keys are: none$/);
    await store.query('CREATE UNIQUE INDEX ON pawl_claim (claim_key) INCLUDE (owner)');
    expect((await migrate(sql)).applied).toEqual(ALL);
  });

  test("another schema's tables along the search path are not ours", async () => {
    await migrate(sql, { schema: 'public' });
    await store.query('CREATE SCHEMA tenant');
    const tenant = store.open({ settings: { search_path: 'tenant,public' } });
    expect((await migrate(tenant)).applied).toEqual(ALL);
    expect(await shapes('pawl_', 'tenant')).toEqual(EXPECTED.postgres);
  });

  test('a schema that is there needs no right to make one', async () => {
    const user = await newUser('CREATE SCHEMA own AUTHORIZATION $user');
    const port = store.open({ user });
    const text = dialect.migrations.createSchema('own');
    await expect(port.execute({ text, values: [] })).rejects.toMatchObject({ cause: { code: '42501' } });
    expect((await migrate(port, { schema: 'own' })).applied).toEqual(ALL);
  });

  test('the answer to its COMMIT is lost: 2, and the next run finds out', async () => {
    const proxy = await startProxy(store.url, () => 'answer-lost');
    onTestFinished(() => proxy.close());
    const { code, ...output } = await run('migrate', storeUrl({ port: String(proxy.port) }));
    expect(code).toBe(2);
    expectOneLine(output, 'What was done is not known');
    const next = await run('migrate', store.url);
    expect({ code: next.code, start: next.out.slice(0, 13) }).toEqual({ code: 0, start: 'Nothing to do' });
  });
});

describe('on MariaDB alone', () => {
  beforeEach(async () => {
    store = await openStore('mariadb');
  });

  afterEach(() => store.close());

  test('a column of text takes some keys for the same that the tables keep apart', async () => {
    const text = 'text VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY';
    await store.query(`CREATE TABLE plain (${text})`);
    await store.query(`INSERT INTO plain VALUES ('abc')`);
    await expect(store.query(`INSERT INTO plain VALUES ('abc ')`)).rejects.toMatchObject({ errno: 1062 });
  });
});

describe('names', () => {
  const nobody = {
    get dialect(): never {
      throw new Error('the store was asked');
    },
  } as unknown as SqlPort;

  test.each([
    { schema: '' },
    { schema: 'a.b' },
    { schema: 'a"b' },
    { schema: 'a`b' },
    { schema: 's'.repeat(64) },
    { prefix: 'a.b' },
    { prefix: '1_' },
    { prefix: 'a-' },
    { prefix: 'ä_' },
    { prefix: `${LONGEST_PREFIX}p` },
  ])('%o is refused before anything is sent', async (options) => {
    expect(() => pawlTables(options)).toThrow(MisuseError);
    await expect(migrate(nobody, options)).rejects.toThrow(MisuseError);
    for (const one of [postgres, mysql]) expect(() => migrationStatements(one, options)).toThrow(MisuseError);
  });

  test('none of a migration is longer than 63 with the longest prefix', () => {
    const schema = 's'.repeat(63);
    for (const one of [postgres, mysql]) {
      const text = migrationStatements(one, { schema, prefix: LONGEST_PREFIX }).join('\n');
      const names = text.match(/[a-z0-9_]+/g) ?? [];
      expect(Math.max(...names.map((found) => found.length))).toBe(63);
    }
  });
});

describe('bad arguments end with 254, and nothing of a URL is repeated', () => {
  const url = `postgres://user:${CANARY}@127.0.0.1:1/db`;

  test.each([
    { args: [], says: 'the first argument must be a command (migrate, list, inspect, resolve, sweep)' },
    { args: [url], says: 'the first argument must be a command' },
    { args: ['constructor'], says: 'the first argument must be a command' },
    { args: ['migrate'], says: 'DATABASE_URL' },
    { args: ['migrate', url, url], says: 'one database' },
    { args: ['migrate', url, `--url=${url}`], says: '--url' },
    { args: ['migrate', `--${url}`], says: 'Unknown option' },
    { args: ['migrate', url, '--schema'], says: '--schema' },
    { args: ['migrate', url, '--schema', 'a.b'], says: 'a.b' },
    { args: ['migrate', url, '--prefix', 'p'.repeat(50)], says: 'too long' },
    { args: ['migrate', url, '--dialect', 'mysql'], says: '--print' },
    { args: ['migrate', '--print'], says: '--dialect' },
    { args: ['migrate', '--print', '--dialect', 'oracle'], says: 'postgres, postgresql, mysql, mariadb' },
    { args: ['migrate', '--print', '--dialect', 'constructor'], says: 'must be one of' },
    { args: ['migrate', '--print', url, '--dialect', 'mysql'], says: 'postgres' },
    { args: ['migrate', `sqlite://user:${CANARY}@host/db`], says: 'postgres://' },
    { args: ['migrate', CANARY], says: 'postgres://' },
    { args: ['migrate', `postgres://user:1/${CANARY}@host/db`], says: 'percent-encoded' },
    { args: ['migrate', `postgres://user:1?${CANARY}@host/db`], says: 'percent-encoded' },
    { args: ['migrate', `postgres://user:1#${CANARY}@host/db`], says: 'percent-encoded' },
  ])('$args.length: $says', async ({ args, says }) => {
    const { code, ...output } = await run(...args);
    expect(code).toBe(254);
    expectOneLine(output, says);
  });

  test('an empty DATABASE_URL is none', async () => {
    const { code, ...output } = await start(['migrate'], { DATABASE_URL: '' }).ended;
    expect(code).toBe(254);
    expectOneLine(output, 'name the database');
  });
});

test('help and version are answers', async () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  expect(await run('--version')).toEqual({ code: 0, out: `${version}\n`, err: '' });
  for (const args of [['--help'], ['-h'], ['migrate', '--help']]) {
    const { code, out, err } = await run(...args);
    expect({ code, err, usage: out.startsWith('Usage: pawl ') }).toEqual({ code: 0, err: '', usage: true });
  }
});

test('output that cannot be written is 255', async () => {
  const { command, ended } = start(['migrate', '--print', '--dialect', 'mysql']);
  command.stdout?.destroy();
  const { code, err } = await ended;
  expect({ code, err }).toEqual({
    code: 255,
    err: expect.stringMatching(/^pawl: the output could not be written/),
  });
});

async function insertClaim(key: string): Promise<void> {
  await store.query('INSERT INTO pawl_claim (claim_key, owner) VALUES (?, ?)', key, 'owner');
}

async function insertRecord(scope: string, key: string): Promise<void> {
  await store.query(
    `INSERT INTO pawl_idempotency_key
       (scope, idempotency_key, mode, fingerprint, owner, attempt, lease_until, expires_at, created_at)
     VALUES (?, ?, 'leased', ?, '00000000-0000-4000-8000-000000000000', 1,
       CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)`,
    scope,
    key,
    Buffer.alloc(32),
  );
}

async function insertCall(scope: string, key: string, subject: string): Promise<void> {
  await store.query(
    `INSERT INTO pawl_durable_call
       (scope, idempotency_key, fingerprint, name, subject, attempt, state, fence, request, compensation_try,
        created_at, changed_at)
     VALUES (?, ?, ?, ?, ?, 1, 'calling', 1, 'null', 0, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)`,
    scope,
    key,
    Buffer.alloc(32),
    `charge for ${scope} ${key}`.slice(0, 64),
    subject,
  );
}

/** A port on which nobody listens. */
async function freePort(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return String(port);
}
