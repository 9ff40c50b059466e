import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { embeddedPostgresFolder, startPostgres } from '../../src/cluster/postgres.ts';
import { LAB_MAIN, never, nothing, remainsOf, temporaryDirectory, testGuardian, until } from './helpers.ts';

/** What a killed lab may take to vanish: its guardian's limits and some breath, in milliseconds. */
const VANISH_LIMIT_MS = 8_000;

/** Starts a lab as a process of its own, and resolves with what it says once it is where it should be killed. */
async function startLab(...args: string[]): Promise<{ lab: ChildProcess; said: string }> {
  const lab = spawn(process.execPath, [LAB_MAIN, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void lab.kill('SIGKILL'));
  const [said] = (await once(lab.stdout.setEncoding('utf8'), 'data')) as [string];
  expect(said).toMatch(/^up/);
  return { lab, said };
}

async function vanishes(tmp: string): Promise<void> {
  await until(
    () => nothing(remainsOf(tmp)),
    VANISH_LIMIT_MS,
    () => remainsOf(tmp),
  );
}

test('a lab that is killed leaves nothing', async () => {
  const tmp = temporaryDirectory();
  const { lab } = await startLab('postgres');
  expect(remainsOf(tmp).processes.length).toBeGreaterThan(5);
  lab.kill('SIGKILL');
  await vanishes(tmp);
});

test.for([
  'postgres',
  'lotto-back-1',
  'nginx,redis',
  'postgres,redis,payment-sandbox,lotto-back-1,lotto-back-2',
])('a lab that is killed while servers are paused leaves nothing: %s', async (paused) => {
  const tmp = temporaryDirectory();
  const { lab } = await startLab('postgres', paused);
  lab.kill('SIGKILL');
  await vanishes(tmp);
});

test.for(['redis', 'payment-sandbox', 'postgres', 'lotto-back-1', 'nginx'])(
  'a lab that is killed in the middle of its start leaves nothing: after %s',
  async (moment) => {
    const tmp = temporaryDirectory();
    const { lab, said } = await startLab('postgres', '', moment);
    lab.kill('SIGKILL');
    expect(said).toMatch(/^up while starting/);
    await vanishes(tmp);
  },
);

test('a lab that is killed has its schema dropped from a given database', async () => {
  const { guardian } = await testGuardian();
  const given = await startPostgres(guardian, { nativeFolder: embeddedPostgresFolder(), signal: never });
  const tmp = temporaryDirectory();
  const { lab, said } = await startLab(given.url);
  expect(said).toMatch(/search_path%3Drace_lab_/);
  const client = new pg.Client({ connectionString: given.url });
  await client.connect();
  onTestFinished(() => client.end());
  const schemas = async () =>
    (await client.query(`SELECT FROM pg_namespace WHERE nspname LIKE 'race\\_lab\\_%'`)).rowCount;
  expect(await schemas()).toBe(1);
  lab.kill('SIGKILL');
  await vanishes(tmp);
  expect(await schemas()).toBe(0);
});
