import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, cpSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Guardian } from '../../src/cluster/guardian.ts';
import { announceCluster, findRunningClusters } from '../../src/cluster/running-clusters.ts';
import { LAB_MAIN, nothing, remainsOf, temporaryDirectory, testGuardian, until } from './helpers.ts';

const asRoot = process.getuid?.() === 0;
const given = 'mysql://me:secret@db.example/shop';

/** A throw-away directory as a lab leaves it that was killed together with its guardian, told by another's notice. */
function leftBehind(guardian: Guardian, tmp: string, name: string, guardianPid: number): string {
  const directory = join(tmp, name);
  mkdirSync(directory);
  const notice = JSON.parse(readFileSync(join(guardian.directory, 'cluster.json'), 'utf8'));
  writeFileSync(join(directory, 'cluster.json'), JSON.stringify({ ...notice, guardianPid }));
  return directory;
}

test('a cluster is found from another process, with its store and its database, until it ends', async () => {
  const tmp = temporaryDirectory();
  expect(await findRunningClusters()).toEqual([]);
  const lab = spawn(process.execPath, [LAB_MAIN, 'mariadb'], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void lab.kill('SIGKILL'));
  const [said] = (await once(lab.stdout.setEncoding('utf8'), 'data')) as [string];
  const [found, ...others] = await findRunningClusters();
  expect(others).toEqual([]);
  expect(found).toEqual({
    directory: expect.stringMatching(`^${tmp}/race-lab-`),
    store: 'mariadb',
    databaseUrl: said.trim().replace('up ', ''),
    startedAt: expect.any(Date),
    labPid: lab.pid,
  });
  expect(statSync(join(found?.directory ?? '', 'cluster.json')).mode & 0o777).toBe(0o600);
  lab.kill('SIGKILL');
  await until(() => nothing(remainsOf(tmp)), 10_000);
  expect(await findRunningClusters()).toEqual([]);
});

test('a cluster on a given database is named without the credentials, and keeps the URL', async () => {
  const { guardian } = await testGuardian();
  await announceCluster(guardian, given, `${given}_lab`);
  expect(await findRunningClusters()).toMatchObject([
    { store: 'mysql://db.example/shop', databaseUrl: `${given}_lab`, labPid: process.pid },
  ]);
});

test('several clusters are found in order of start', async () => {
  const { guardian: first, tmp } = await testGuardian();
  await announceCluster(first, 'postgres', 'postgres://first');
  const second = leftBehind(first, tmp, 'race-lab-2', first.pid);
  const notice = JSON.parse(readFileSync(join(second, 'cluster.json'), 'utf8'));
  writeFileSync(
    join(second, 'cluster.json'),
    JSON.stringify({ ...notice, startedAt: '2001-01-01T00:00:00.000Z', databaseUrl: 'postgres://second' }),
  );
  const urls = (await findRunningClusters()).map(({ databaseUrl }) => databaseUrl);
  expect(urls).toEqual(['postgres://second', 'postgres://first']);
});

test('what was left behind is not taken for a cluster that runs', async () => {
  const { guardian, tmp } = await testGuardian();
  await announceCluster(guardian, 'postgres', 'postgres://mine');
  // Its guardian's pid belongs to nobody by now, or to somebody else.
  leftBehind(guardian, tmp, 'race-lab-nobody', 2 ** 22 + 1);
  leftBehind(guardian, tmp, 'race-lab-reused', process.pid);
  // Not yet as far, not a directory, not ours.
  mkdirSync(join(tmp, 'race-lab-starting'));
  writeFileSync(join(tmp, 'race-lab-file'), '');
  mkdirSync(join(tmp, 'unrelated'));
  expect(await findRunningClusters()).toMatchObject([{ directory: guardian.directory }]);
});

test.skipIf(!asRoot)(
  'the directory of another user is not believed (root only, who can make one)',
  async () => {
    const { guardian, tmp } = await testGuardian();
    await announceCluster(guardian, 'postgres', 'postgres://mine');
    const planted = join(tmp, 'race-lab-planted');
    cpSync(guardian.directory, planted, { recursive: true });
    expect(await findRunningClusters()).toHaveLength(2);
    chownSync(planted, 65_534, 65_534);
    expect(await findRunningClusters()).toMatchObject([{ directory: guardian.directory }]);
  },
);
