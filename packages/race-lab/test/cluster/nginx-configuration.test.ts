import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../../../../test/barrier.ts';
import { serverFinder } from '../../src/cluster/find-server.ts';
import { nginxPackage } from '../../src/cluster/nginx.ts';
import { NGINX_READY_PATH, nginxConfiguration } from '../../src/cluster/nginx-configuration.ts';

/* What the configuration of the front door means to nginx: started as a container may start it, with 1024 open files. */

const folder = mkdtempSync(join(tmpdir(), 'nginx-configuration-'));
const socket = join(folder, 'door.sock');
let nginx: ReturnType<typeof spawn>;
let ended: Promise<unknown>;
let log = '';

beforeAll(async () => {
  const found = await serverFinder(process.env.PATH ?? '')(nginxPackage);
  if (!found.found) throw new Error(`the tests need nginx: ${found.install}`);
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const configuration = nginxConfiguration({
    listen: `unix:${socket}`,
    upstreams: ['127.0.0.1:1'],
    main: ['daemon off;', 'pid nginx.pid;'],
    // Whose limit a request counts for, shown.
    http: [...paths.map((path) => `${path}_temp_path ${path};`), 'add_header x-limited-as "$member" always;'],
  });
  writeFileSync(join(folder, 'nginx.conf'), configuration);
  const command = 'ulimit -S -n 1024 && exec "$0" -e stderr -p "$1/" -c "$1/nginx.conf"';
  nginx = spawn('/bin/sh', ['-c', command, found.path, folder], { stdio: ['ignore', 'ignore', 'pipe'] });
  nginx.stderr?.setEncoding('utf8').on('data', (said) => {
    log += said;
  });
  ended = once(nginx, 'close');
  await until(
    () =>
      answerTo([]).then(
        () => true,
        () => false,
      ),
    10_000,
    () => log,
  );
});

afterAll(async () => {
  nginx?.kill('SIGTERM');
  await ended;
  rmSync(folder, { recursive: true });
});

/** All that nginx answers to a request with these lines in its head. */
async function answerTo(lines: readonly string[]): Promise<string> {
  const client = connect(socket);
  const head = [`GET ${NGINX_READY_PATH} HTTP/1.1`, 'host: shop', 'connection: close', ...lines, '', ''];
  client.write(head.join('\r\n'));
  return text(client);
}

async function limitedAs(...lines: string[]): Promise<string | undefined> {
  return /^x-limited-as: (.*)\r$/m.exec(await answerTo(lines))?.[1];
}

test.each([
  ['in other letters', ['authorization: bEARER one.two.three']],
  ['with more blanks', ['authorization: Bearer    one.two.three']],
  ['after blanks', ['authorization:  \t Bearer one.two.three  ']],
  ['beside a member’s number', ['x-member-id: 7', 'authorization: Bearer one.two.three']],
  [
    'twice, of which the shop reads the first',
    ['authorization: Bearer one.two.three', 'authorization: Bearer x'],
  ],
])('a token that is written %s is limited as what it is', async (_how, lines) => {
  expect(await limitedAs(...lines)).toBe('one.two.three');
});

test('a token is told from others by each of its letters', async () => {
  expect(await limitedAs('authorization: Bearer ONE.two.three')).toBe('ONE.two.three');
});

test('without a token a member is whom he says, or the first; what is no token makes no other of him', async () => {
  expect(await limitedAs()).toBe('1');
  expect(await limitedAs('x-member-id: 7')).toBe('7');
  for (const other of ['Basic eDp5', 'Bearer', 'Bearertoken', 'anything']) {
    expect(await limitedAs('x-member-id: 7', `authorization: ${other}`)).toBe('7');
  }
});

test.skipIf(process.platform !== 'linux')(
  'its worker may have as many open files as its connections need, whoever starts it (skipped without /proc)',
  () => {
    const [worker = ''] = readFileSync(`/proc/${nginx.pid}/task/${nginx.pid}/children`, 'utf8').split(' ');
    const limits = readFileSync(`/proc/${worker}/limits`, 'utf8');
    expect(/^Max open files +(\d+)/m.exec(limits)?.[1]).toBe('8192');
    expect(readFileSync(`/proc/${nginx.pid}/limits`, 'utf8')).toMatch(/^Max open files +1024 /m);
    expect(log).not.toMatch(/open file|setrlimit/);
  },
);
