import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { serverFinder } from '../../src/cluster/find-server.ts';
import type { Guardian } from '../../src/cluster/guardian.ts';
import { installedMariadb, mariadbPackage, startMariadb } from '../../src/cluster/mariadb.ts';
import { embeddedPostgresFolder, startPostgres } from '../../src/cluster/postgres.ts';
import {
  LAB_MAIN,
  labSchemas,
  never,
  nothing,
  remainsOf,
  temporaryDirectory,
  testGuardian,
  until,
} from './helpers.ts';

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

test.for(['postgres', 'mariadb'])('a lab that is killed leaves nothing: on %s', async (store) => {
  const tmp = temporaryDirectory();
  const { lab } = await startLab(store);
  expect(remainsOf(tmp).processes.length).toBeGreaterThan(5);
  lab.kill('SIGKILL');
  await vanishes(tmp);
});

test.for([
  ['postgres', 'postgres'],
  ['postgres', 'lotto-back-1'],
  ['postgres', 'nginx,redis'],
  ['postgres', 'postgres,redis,payment-sandbox,lotto-back-1,lotto-back-2'],
  ['mariadb', 'mariadb'],
])(
  'a lab that is killed while servers are paused leaves nothing: on %s, %s',
  async ([store = '', paused = '']) => {
    const tmp = temporaryDirectory();
    const { lab } = await startLab(store, paused);
    lab.kill('SIGKILL');
    await vanishes(tmp);
  },
);

test.for([
  ['postgres', 'redis'],
  ['postgres', 'payment-sandbox'],
  ['postgres', 'postgres'],
  ['postgres', 'lotto-back-1'],
  ['postgres', 'nginx'],
  ['mariadb', 'redis'],
  ['mariadb', 'mariadb'],
])(
  'a lab that is killed in the middle of its start leaves nothing: on %s, after %s',
  async ([store = '', moment = '']) => {
    const tmp = temporaryDirectory();
    const { lab, said } = await startLab(store, '', moment);
    lab.kill('SIGKILL');
    expect(said).toMatch(/^up while starting/);
    await vanishes(tmp);
  },
);

const given = {
  postgres: (guardian: Guardian) =>
    startPostgres(guardian, { nativeFolder: embeddedPostgresFolder(), signal: never }),
  mariadb: async (guardian: Guardian) => {
    const program = installedMariadb(await serverFinder(process.env.PATH ?? '')(mariadbPackage));
    return startMariadb(guardian, { program, signal: never });
  },
};

test.for(['postgres', 'mariadb'] as const)(
  'a lab that is killed has its schema dropped from a given database: %s',
  async (store) => {
    const { guardian } = await testGuardian();
    const { url } = await given[store](guardian);
    const tmp = temporaryDirectory();
    const { lab, said } = await startLab(url);
    const schemas = await labSchemas(url);
    expect(schemas).toHaveLength(1);
    expect(said).toContain(schemas[0]);
    lab.kill('SIGKILL');
    await vanishes(tmp);
    expect(await labSchemas(url)).toEqual([]);
  },
);
