import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { ServerPackage } from './find-server.ts';
import type { Guardian } from './guardian.ts';
import { hostEnv } from './host-env.ts';
import { freePort, type PortChoice } from './ports.ts';
import { type RunningServer, startServer } from './start-server.ts';

export const redisPackage: ServerPackage = {
  programs: ['redis-server', 'valkey-server'],
  debian: ['redis-server'],
  homebrew: 'redis',
};

const START_LIMIT_MS = 20_000;

/** A private Redis or Valkey. */
export interface Redis extends RunningServer {
  /** With its password. */
  url: string;
  /** Where its data lies. */
  folder: string;
}

/** To start one again that has ended, give it its name, its port and its password. */
export interface RedisOptions {
  /** Unique among what runs; names its folder too. Absent: `redis`. */
  name?: string;
  /** Absent: any that is free. */
  port?: PortChoice;
  /** Absent: a new one. */
  password?: string;
  /** Settings of its configuration file, in the server's words. They replace ours. */
  settings?: Readonly<Record<string, string>>;
}

/**
 * Starts a private Redis with an append-only file and a random password.
 *
 * @param program  The path of `redis-server` or `valkey-server`.
 * @throws as startServer does.
 */
export async function startRedis(
  guardian: Guardian,
  program: string,
  signal: AbortSignal,
  options: RedisOptions = {},
): Promise<Redis> {
  const { name = 'redis', password = randomBytes(24).toString('hex'), settings = {} } = options;
  const folder = join(guardian.directory, name);
  const configuration = join(folder, 'redis.conf');
  await mkdir(folder, { mode: 0o700, recursive: true });
  // In a private file, because everybody may read the arguments of a process.
  await writeFile(
    configuration,
    [
      'bind 127.0.0.1',
      'protected-mode yes',
      `requirepass ${password}`,
      'daemonize no',
      'appendonly yes',
      'appendfsync everysec',
      'save ""',
      'maxmemory-policy noeviction',
      ...Object.entries(settings).map(([setting, value]) => `${setting} ${value}`),
      '',
    ].join('\n'),
    { mode: 0o600 },
  );
  const server = await startServer(
    guardian,
    {
      port: options.port ?? freePort,
      startLimitMs: START_LIMIT_MS,
      command: (port) => ({
        name,
        command: program,
        args: [configuration, '--port', String(port)],
        env: hostEnv(),
        // Its data goes where it is started.
        cwd: folder,
        logFile: join(folder, 'output.log'),
        stopSignal: 'SIGTERM',
      }),
      probe: (port, probeSignal) => ping(port, password, probeSignal),
    },
    signal,
  );
  return { ...server, folder, url: `redis://:${password}@127.0.0.1:${server.port}/0` };
}

/** Resolves when a Redis with our password answers; a stranger's on the same port does not. */
function ping(port: number, password: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', signal });
    let answer = '';
    socket.setEncoding('utf8');
    socket.once('connect', () => socket.write(`AUTH ${password}\r\nPING\r\n`));
    socket.on('data', (text: string) => {
      answer += text;
      if (answer.split('\r\n').length <= 2) return;
      socket.destroy();
      if (answer === '+OK\r\n+PONG\r\n') resolve();
      else reject(new Error(`Redis answered ${JSON.stringify(answer)}`));
    });
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('Redis closed the connection')));
  });
}
