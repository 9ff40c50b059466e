import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ServerPackage } from './find-server.ts';
import type { Guardian } from './guardian.ts';
import { hostEnv } from './host-env.ts';
import { probeHttp } from './http-probe.ts';
import type { PortChoice } from './ports.ts';
import { type RunningServer, startServer } from './start-server.ts';
import { type UnprivilegedUser, unprivilegedUser } from './unprivileged-user.ts';

const run = promisify(execFile);

export const nginxPackage: ServerPackage = { programs: ['nginx'], debian: ['nginx'], homebrew: 'nginx' };

const START_LIMIT_MS = 20_000;
/** Requests of one member for coupons: handed on in a second, handed on at once, and waiting, before he is refused. */
const MEMBER_RATE = 50;
const MEMBER_AT_ONCE = 100;
const MEMBER_BURST = 1_200;
const VERSION_LIMIT_MS = 5_000;
/** For an answer of an instance: longer than any strategy makes a client wait, in seconds. */
const READ_LIMIT_S = 300;
/** Answered by nginx itself: a probe that went through would move the rotation on. */
const READY_PATH = '/.race-lab/ready';

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
        await writeFile(configuration, nginxConfiguration(chosenPort, upstreamPorts, user));
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
        probeHttp(`http://127.0.0.1:${chosenPort}${READY_PATH}`, 204, probeSignal),
    },
    signal,
  );
  return { ...server, baseUrl: `http://127.0.0.1:${server.port}` };
}

/**
 * The published front door, on one machine: one upstream, requests handed out round-robin.
 *
 * One worker, because each worker rotates for itself. `max_fails=0`, because otherwise one broken exchange takes
 * an instance out of the rotation for ten seconds; a dead one refuses the connection, and the next is tried at once. The body limit is above the shop's own, so that the shop
 * is the one that answers a body that is too large.
 *
 * Beyond the published: of one member who asks for a coupon over a thousand connections, all but the first hundred wait here,
 * where that costs next to nothing, and are handed on at a steady rate. Each instance limits a member too, but what comes as
 * far as that has been accepted and read.
 */
function nginxConfiguration(
  port: number,
  upstreamPorts: readonly number[],
  user: UnprivilegedUser | undefined,
): string {
  const servers = upstreamPorts
    .map((upstreamPort) => `    server 127.0.0.1:${upstreamPort} max_fails=0;`)
    .join('\n');
  return `${user === undefined ? '' : `user ${user.name} ${user.group};\n`}daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events {
  worker_connections 4096;
}
http {
  access_log off;
  client_max_body_size 4m;
  client_body_temp_path client_body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  upstream lotto_backend {
${servers}
  }
  map $http_x_member_id $member {
    default $http_x_member_id;
    "" 1;
  }
  limit_req_zone $member zone=members:10m rate=${MEMBER_RATE}r/s;
  limit_req_status 429;
  limit_req_log_level notice;
  server {
    listen 127.0.0.1:${port};
    proxy_set_header Host $host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_read_timeout ${READ_LIMIT_S}s;
    location / {
      proxy_pass http://lotto_backend;
    }
    location ~ ^/api/coupon/ {
      limit_req zone=members burst=${MEMBER_BURST} delay=${MEMBER_AT_ONCE};
      error_page 429 = @too_many;
      proxy_pass http://lotto_backend;
    }
    location @too_many {
      default_type application/json;
      add_header Retry-After 1 always;
      return 429 '{"success":false,"status":429,"message":"You ask too often.","code":"too-many-requests","data":null}';
    }
    location = ${READY_PATH} {
      return 204;
    }
  }
}
`;
}

/** `-e` came with 1.19.5. Without it, nginx tries its compiled-in log under /var before it reads ours. */
async function takesErrorLogOption(program: string): Promise<boolean> {
  const { stderr } = await run(program, ['-v'], { timeout: VERSION_LIMIT_MS, killSignal: 'SIGKILL' });
  const [major = 0, minor = 0, patch = 0] = (/nginx\/(\d+)\.(\d+)\.(\d+)/.exec(stderr) ?? [])
    .slice(1)
    .map(Number);
  return major > 1 || (major === 1 && (minor > 19 || (minor === 19 && patch >= 5)));
}
