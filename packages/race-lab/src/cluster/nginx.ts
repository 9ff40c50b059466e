import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ServerPackage } from './find-server.ts';
import type { Guardian } from './guardian.ts';
import { hostEnv } from './host-env.ts';
import { probeHttp } from './http-probe.ts';
import { NGINX_READY_PATH, type NginxPlace, nginxConfiguration } from './nginx-configuration.ts';
import type { PortChoice } from './ports.ts';
import { type RunningServer, startServer } from './start-server.ts';
import { type UnprivilegedUser, unprivilegedUser } from './unprivileged-user.ts';

const run = promisify(execFile);

export const nginxPackage: ServerPackage = { programs: ['nginx'], debian: ['nginx'], homebrew: 'nginx' };

const START_LIMIT_MS = 20_000;
const VERSION_LIMIT_MS = 5_000;

export interface NginxOptions {
  /** The path of the program. */
  program: string;
  /** The instances' ports on 127.0.0.1, in the order of the rotation. */
  upstreamPorts: readonly number[];
  port: PortChoice;
  signal: AbortSignal;
}

/** nginx in front of the instances. */
export interface Nginx extends RunningServer {
  baseUrl: string;
}

/**
 * Starts a private nginx that hands requests to the instances strictly in turn.
 *
 * @throws as startServer does, and ClusterSetupError when run as root on a machine without the user `nobody`.
 */
export async function startNginx(guardian: Guardian, options: NginxOptions): Promise<Nginx> {
  const { program, upstreamPorts, port, signal } = options;
  const folder = join(guardian.directory, 'nginx');
  const configuration = join(folder, 'nginx.conf');
  const user = await unprivilegedUser();
  // Workers that run as nobody must reach the folder of large bodies.
  await mkdir(folder, { mode: user === undefined ? 0o700 : 0o711 });
  const errorLogOption = (await takesErrorLogOption(program)) ? ['-e', 'stderr'] : [];
  const server = await startServer(
    guardian,
    {
      port,
      startLimitMs: START_LIMIT_MS,
      async command(chosenPort) {
        const place = {
          listen: `127.0.0.1:${chosenPort}`,
          upstreams: upstreamPorts.map((upstreamPort) => `127.0.0.1:${upstreamPort}`),
          ...ofThisMachine(user),
        };
        await writeFile(configuration, nginxConfiguration(place));
        return {
          name: 'nginx',
          command: program,
          args: [...errorLogOption, '-p', `${folder}/`, '-c', configuration],
          env: hostEnv(),
          cwd: folder,
          logFile: join(folder, 'output.log'),
          stopSignal: 'SIGTERM',
        };
      },
      probe: (chosenPort, probeSignal) =>
        probeHttp(`http://127.0.0.1:${chosenPort}${NGINX_READY_PATH}`, 204, probeSignal),
    },
    signal,
  );
  return { ...server, baseUrl: `http://127.0.0.1:${server.port}` };
}

/** Of the front door of a lab: a private folder for all that nginx writes. */
function ofThisMachine(user: UnprivilegedUser | undefined): Pick<NginxPlace, 'main' | 'http'> {
  return {
    main: [
      ...(user === undefined ? [] : [`user ${user.name} ${user.group};`]),
      'daemon off;',
      'pid nginx.pid;',
    ],
    http: [
      'client_body_temp_path client_body;',
      'proxy_temp_path proxy;',
      'fastcgi_temp_path fastcgi;',
      'uwsgi_temp_path uwsgi;',
      'scgi_temp_path scgi;',
    ],
  };
}

/** `-e` came with 1.19.5. Without it, nginx tries its compiled-in log under /var before it reads ours. */
async function takesErrorLogOption(program: string): Promise<boolean> {
  const { stderr } = await run(program, ['-v'], { timeout: VERSION_LIMIT_MS, killSignal: 'SIGKILL' });
  const [major = 0, minor = 0, patch = 0] = (/nginx\/(\d+)\.(\d+)\.(\d+)/.exec(stderr) ?? [])
    .slice(1)
    .map(Number);
  return major > 1 || (major === 1 && (minor > 19 || (minor === 19 && patch >= 5)));
}
