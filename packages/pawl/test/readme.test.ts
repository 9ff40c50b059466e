import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import { newDatabase } from '../../../test/stores.ts';
import { serverFinder } from '../../race-lab/src/cluster/find-server.ts';
import { type Guardian, startGuardian } from '../../race-lab/src/cluster/guardian.ts';
import { installedMariadb, mariadbPackage, startMariadb } from '../../race-lab/src/cluster/mariadb.ts';
import { embeddedPostgresFolder, startPostgres } from '../../race-lab/src/cluster/postgres.ts';
import { openNodeRedis } from '../examples/open-node-redis.ts';
import {
  claimUnique,
  defaultIdempotencyTimes,
  defaultLockTimes,
  done,
  idempotencyKeys,
  migrate,
  pawlTables,
  releaseClaim,
  type SqlPort,
  sqlIdempotencyStore,
  transactionalIdempotencyKeys,
} from '../src/index.ts';
import { type Cost, type Costs, otherCosts, sqlCosts } from './guard-costs.ts';
import { answer, newRequest } from './idempotency-stores.ts';
import { openStore } from './stores.ts';

/* README.md says nothing that is not so: its examples are the files, they run, and its figures are counted. */

const inPackage = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const readme = readFileSync(inPackage('README.md'), 'utf8');

interface Example {
  readonly file: string;
  readonly code: string;
  /** What it prints, where the README says so. */
  readonly prints: string | undefined;
}

/** A link to a file, the file, and perhaps what it prints. */
const EXAMPLE = /\[examples\/([\w-]+\.ts)\][^\n]*\n\n```ts\n(.*?)```\n(?:\n```text\n(.*?)```\n)?/gs;

const examples: Example[] = [...readme.matchAll(EXAMPLE)].map(([, file = '', code = '', prints]) => ({
  file,
  code,
  prints,
}));

/** Shared by the examples, and no example itself. */
const STAGE = 'stage.ts';

describe('the examples', () => {
  test('all of them are in the README, and it shows no other code', () => {
    const files = readdirSync(inPackage('examples')).filter((file) => file !== STAGE);
    expect(examples.map(({ file }) => file).sort()).toEqual(files.sort());
    expect(readme.match(/^```ts$/gm)).toHaveLength(files.length);
  });

  test.each(examples)('$file is what the README shows', ({ file, code }) => {
    expect(code).toBe(readFileSync(inPackage(`examples/${file}`), 'utf8'));
  });

  const runnable = examples.filter(({ prints }) => prints !== undefined);

  const onDatabase = runnable.filter(({ file }) => file !== 'opentelemetry.ts');

  test.each(onDatabase)(
    '$file prints what the README says, on PostgreSQL and on MariaDB',
    async (example) => {
      for (const store of ['postgres', 'mariadb'] as const) {
        expect(await run(example.file, await newDatabase(store)), store).toBe(example.prints);
      }
    },
  );

  test('idempotency-key.ts on Redis, and in memory', async () => {
    const { prints } = examples.find(({ file }) => file === 'idempotency-key.ts') ?? {};
    expect(await run('idempotency-key.ts', inject('redisUrl'))).toBe(prints);
    expect(await run('idempotency-key.ts')).toBe(prints);
  });

  test('opentelemetry.ts prints what the README says', async () => {
    const { prints } = examples.find(({ file }) => file === 'opentelemetry.ts') ?? {};
    expect(await run('opentelemetry.ts')).toBe(prints);
  });

  test('the store of open-node-redis.ts', async () => {
    const { store, close } = await openNodeRedis(inject('redisUrl'));
    const request = newRequest({ key: randomUUID() });
    const work = async () => done(answer('bill'));
    expect(await idempotencyKeys(store).run(request, work)).toMatchObject({ replayed: false });
    expect(await idempotencyKeys(store).run(request, work)).toMatchObject({ replayed: true });
    await close();
  });
});

/** @returns what it printed. @throws when it fails, or complains. */
function run(file: string, ...args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [inPackage(`examples/${file}`), ...args], { timeout: 25_000 });
    let printed = '';
    let complaints = '';
    child.stdout.on('data', (text) => {
      printed += text;
    });
    child.stderr.on('data', (text) => {
      complaints += text;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0 && complaints === '') resolve(printed);
      else reject(new Error(`${file} ended with ${code}: ${complaints}`));
    });
  });
}

test('the defaults that it tells are those of the code', () => {
  const { leaseMs, renewForMs, retentionMs } = defaultIdempotencyTimes;
  for (const told of [
    `up to \`waitMs\` (${defaultLockTimes.waitMs / 1_000} s)`,
    `(\`leaseMs\`, ${defaultLockTimes.leaseMs / 1_000} s) is renewed`,
    `for at most \`renewForMs\` (${defaultLockTimes.renewForMs / 60_000} min)`,
    `\`leaseMs\` (${leaseMs / 1_000} s)`,
    `\`renewForMs\` (${renewForMs / 60_000} min)`,
    `\`retentionMs\` (${retentionMs / 3_600_000} h)`,
  ]) {
    expect(readme).toContain(told);
  }
});

test('the versions that it tells are those of the package', () => {
  const { engines, peerDependencies } = JSON.parse(readFileSync(inPackage('package.json'), 'utf8'));
  expect(readme).toContain(`Node ${engines.node.replace('>=', '')} or newer`);
  for (const [name, range] of Object.entries<string>(peerDependencies)) {
    expect(readme).toContain(`\`${name}\` ${range.replace('>=', '')}`);
  }
});

describe('the rights that it tells', () => {
  const RIGHTS = ['SELECT', 'INSERT', 'UPDATE', 'DELETE'];

  test.each(['postgres', 'mariadb'] as const)('are enough, and needed, on %s', async (name) => {
    expect(readme).toContain('whoever uses the tables, SELECT, INSERT, UPDATE and DELETE');
    const store = await openStore(name);
    onTestFinished(() => store.close());
    await migrate(store.open());
    const user = { name: `user_${randomUUID().slice(0, 8)}`, password: randomUUID() };
    if (name === 'postgres') {
      await store.query(`CREATE ROLE ${user.name} LOGIN PASSWORD '${user.password}'`);
      // The ports of the tests set it.
      await store.query(`GRANT SET ON PARAMETER deadlock_timeout TO ${user.name}`);
    } else await store.query(`CREATE USER ${user.name} IDENTIFIED BY '${user.password}'`);
    const { claim, idempotencyKey } = pawlTables();
    const change = async (how: string) => {
      for (const table of [claim, idempotencyKey]) await store.query(how.replace('$table', table));
    };

    await change(`GRANT ${RIGHTS} ON $table TO ${user.name}`);
    const sql = store.open({ user });
    await useTables(sql);
    for (const right of RIGHTS) {
      await change(`REVOKE ${right} ON $table FROM ${user.name}`);
      await expect(useTables(sql), right).rejects.toMatchObject({ code: 'REJECTED' });
      await change(`GRANT ${right} ON $table TO ${user.name}`);
    }
    await useTables(sql);
  });
});

/** Everything that the library does to its tables. @throws what the store throws. */
async function useTables(sql: SqlPort): Promise<void> {
  const claim = { table: pawlTables().claim, key: { claim_key: randomUUID() } };
  const values = { owner: randomUUID() };
  await claimUnique(sql, { ...claim, values });
  await releaseClaim(sql, { ...claim, owner: values });

  const records = sqlIdempotencyStore(sql);
  const times = { leaseMs: 60_000, retentionMs: 60_000 };
  const id = { scope: '["member 1"]', key: randomUUID() };
  const { owner } = values;
  await records.claim({ ...id, mode: 'leased', fingerprint: 'ab'.repeat(32), owner, ...times });
  await records.renew(id, owner, times);
  await records.read(id);
  await records.release(id, owner);
  await records.sweep(1);

  const request = newRequest({ key: randomUUID() });
  await transactionalIdempotencyKeys(sql).run(request, async () => done(answer('bill')));
}

describe('what a guard costs', () => {
  let guardian: Guardian;
  let counted: { name: string; cost: string }[];

  beforeAll(async () => {
    guardian = await startGuardian();
    const { signal } = new AbortController();
    const program = installedMariadb(await serverFinder(process.env.PATH ?? '')(mariadbPackage));
    const postgres = await startPostgres(guardian, { nativeFolder: embeddedPostgresFolder(), signal });
    const mariadb = await startMariadb(guardian, { program, signal });
    const [onPostgres, onMariadb] = [await sqlCosts(postgres.url), await sqlCosts(mariadb.url)];
    counted = [
      ...cells(onPostgres, (guard, outcome) => onMariadb[guard]?.[outcome]),
      ...cells(await otherCosts(inject('redisUrl')), () => undefined),
    ];
  });

  afterAll(async () => {
    expect(await guardian.end()).toEqual([]);
  });

  test('is what the table says', () => {
    const header = /^\| guard .*\n\| -.*\n((?:\|.*\n)+)/m.exec(readme)?.[1] ?? '';
    const rows = header.trimEnd().split('\n');
    const told = rows.map((row) => {
      const columns = row.split('|').map((cell) => cell.trim());
      return { name: columns[1], cost: columns[5] };
    });
    expect(told).toEqual(counted);
  });
});

/** In the words of the table: `won 4·1 (MySQL 5·1), lost 4·0`. */
function cells(
  costs: Costs,
  onMysql: (guard: string, outcome: string) => Cost | undefined,
): { name: string; cost: string }[] {
  const shown = ({ trips, commits }: Cost) => `${trips}·${commits}`;
  return Object.entries(costs).map(([name, outcomes]) => ({
    name,
    cost: Object.entries(outcomes)
      .map(([outcome, cost]) => {
        const mysql = shown(onMysql(name, outcome) ?? cost);
        const both = mysql === shown(cost) ? '' : ` (MySQL ${mysql})`;
        return `${outcome} ${shown(cost)}${both}`;
      })
      .join(', '),
  }));
}
