import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pack } from '../scripts/pack.ts';

const run = promisify(execFile);
const ROOT = resolve(import.meta.dirname, '..');

/** A project of somebody's, who has installed the library and nothing else. */
let project: string;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'pawl-user-'));
  const file = await pack(project);
  await writeFile(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  await run('npm', ['install', '--offline', '--no-audit', '--no-fund', file], { cwd: project });
}, 120_000);

afterAll(() => rm(project, { recursive: true }));

async function manifest(): Promise<Record<'exports' | 'imports', Record<string, unknown>>> {
  return JSON.parse(await readFile(join(project, 'node_modules/pawl/package.json'), 'utf8'));
}

describe('the library as it is published', () => {
  test('brings nothing else with it, and no sources but the examples', async () => {
    const installed = await readdir(join(project, 'node_modules'));
    expect(installed.filter((name) => !name.startsWith('.'))).toEqual(['pawl']);
    expect((await readdir(join(project, 'node_modules/pawl'))).toSorted()).toEqual([
      'README.md',
      'dist',
      'examples',
      'package.json',
    ]);
  });

  test('has every file that its README links to', async () => {
    const folder = join(project, 'node_modules/pawl');
    const readme = await readFile(join(folder, 'README.md'), 'utf8');
    const links = [...readme.matchAll(/\]\((?!#|https?:)([^)#]+)/g)].map(([, path = '']) => path);
    expect(links).toContain('examples/stage.ts');
    for (const path of links) expect((await stat(join(folder, path))).isFile(), path).toBe(true);
  });

  test('runs without its sources: every entry but those over another package’s code can be imported without a driver', async () => {
    const needsItsPeer = ['./kysely', './nestjs', './opentelemetry'];
    const entries = Object.keys((await manifest()).exports).filter((path) => !needsItsPeer.includes(path));
    expect(entries.length).toBeGreaterThan(5);
    const program = `
      ${entries.map((path) => `await import('${path.replace('.', 'pawl')}');`).join('\n')}
      import { done, idempotencyKeys, memoryIdempotencyStore } from 'pawl';
      const keys = idempotencyKeys(memoryIdempotencyStore());
      const request = { scope: ['member 1', 'POST /pay'], key: 'k', payload: '{}' };
      let runs = 0;
      const pay = () => keys.run(request, async () => {
        runs++;
        return done({ status: 200, body: Buffer.from('paid') });
      });
      await Promise.all([pay(), pay(), pay()]);
      const { outcome, replayed } = await pay();
      console.log(runs, outcome, replayed);`;
    await writeFile(join(project, 'program.js'), program);
    const { stdout } = await run(process.execPath, ['program.js'], { cwd: project });
    expect(stdout.trim()).toBe('1 done true');
  });

  test('has no failpoint that anything can arm', async () => {
    const folder = join(project, 'node_modules/pawl');
    const { exports, imports } = await manifest();
    expect(imports).toEqual({ '#failpoint': './dist/failpoint/none.js' });
    expect(Object.keys(exports)).not.toContain('./failpoints');
    const files = await readdir(join(folder, 'dist'), { recursive: true, withFileTypes: true });
    const scripts = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
    expect(scripts).toContain(join(folder, 'dist/failpoint/none.js'));
    for (const file of scripts) expect(await readFile(file, 'utf8'), file).not.toContain('PAWL_FAILPOINT');

    // Inside the package: it resolves what the library resolves.
    const visitor = join(folder, 'visitor.js');
    const name = 'durable-call.claim.before';
    await writeFile(
      visitor,
      `import { failpoint } from '#failpoint';\nfailpoint('${name}');\nconsole.log('went on');`,
    );
    const log = join(project, 'failpoints.jsonl');
    const env = { PATH: process.env.PATH, PAWL_FAILPOINT: name, PAWL_FAILPOINT_LOG: log };
    const { stdout, stderr } = await run(process.execPath, ['--conditions=failpoints', visitor], { env });
    expect({ stdout, stderr }).toEqual({ stdout: 'went on\n', stderr: '' });
    await expect(stat(log)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('has types that a strict compiler accepts, in its own files too', async () => {
    const source = `
      import { conditionalUpdate, done, idempotencyKeys, sqlIdempotencyStore, transact } from 'pawl';
      import { pgPort, type PgPool } from 'pawl/pg';
      import { mysql2Port } from 'pawl/mysql2';
      import { ioredisPort } from 'pawl/ioredis';
      import { nodeRedisPort } from 'pawl/node-redis';
      import { sqlConformance } from 'pawl/conformance';
      import { guardedRoute, leaseOf } from 'pawl/http';
      declare const pool: PgPool;
      const sql = pgPort(pool);
      const keys = idempotencyKeys(sqlIdempotencyStore(sql));
      const request = { scope: ['member 1', 'POST /pay'], key: 'k', payload: '{}' };
      const outcome = await keys.run(request, (lease) => transact(sql, async (transaction) => {
        const row = { table: 'orders', key: { id: 1 } };
        const claim = await conditionalUpdate(transaction, { ...row, expect: { status: 'W' }, set: { status: 'P' } });
        return claim.outcome === 'done' ? lease.completeIn(transaction, { status: 200, body: Buffer.from('') }) : claim;
      }));
      if (outcome.outcome === 'done') outcome.value.status satisfies number;
      // @ts-expect-error  A reason that nothing above gives.
      if (outcome.outcome === 'refused') outcome.reason satisfies 'sold-out';
      // @ts-expect-error  Nobody says whose the keys are.
      guardedRoute({ keys });
      guardedRoute({ keys, member: 'everybody' });
      leaseOf(keys, {})?.completeIn satisfies object | undefined;
      export { done, ioredisPort, mysql2Port, nodeRedisPort, sqlConformance };`;
    await mkdir(join(project, 'node_modules/@types'));
    await symlink(join(ROOT, 'node_modules/@types/node'), join(project, 'node_modules/@types/node'));
    await writeFile(join(project, 'program.ts'), source);
    const options = ['--strict', '--noEmit', '--module', 'nodenext', '--target', 'es2024', '--types', 'node'];
    const tsc = join(ROOT, 'node_modules/.bin/tsc');
    const { stdout } = await run(tsc, [...options, 'program.ts'], { cwd: project }).catch((error) => error);
    expect(stdout).toBe('');
  });

  test('has its command, which names a driver that is missing', async () => {
    const pawl = join(project, 'node_modules/.bin/pawl');
    const { version } = JSON.parse(await readFile(join(ROOT, 'packages/pawl/package.json'), 'utf8'));
    expect((await run(pawl, ['--version'], { cwd: project })).stdout.trim()).toBe(version);
    const printed = await run(pawl, ['migrate', '--print', '--dialect', 'mysql'], { cwd: project });
    expect(printed.stdout).toContain('CREATE TABLE');
    const failed = await run(pawl, ['migrate', 'postgres://127.0.0.1:1/x'], { cwd: project }).catch(
      (error) => error,
    );
    expect(failed).toMatchObject({ code: 255, stderr: expect.stringContaining('npm install pg') });
  });
});
