import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Guardian } from './guardian.ts';
import { hostEnv } from './host-env.ts';
import { probeHttp } from './http-probe.ts';
import type { PortChoice } from './ports.ts';
import { type RunningServer, startServer } from './start-server.ts';

/** As the image of `deploy/` starts the shop. In MiB: with more room for what is young, less of it is copied before it is garbage. */
const NODE_ARGS = ['--max-semi-space-size=64'];

/** Migrating an empty database is part of it, and a busy machine is slow. */
const START_LIMIT_MS = 60_000;

export interface NodeServiceOptions {
  /** Unique in the lab; names its folder and its log. */
  name: string;
  /** Its main file, absolute; run from source. */
  main: string;
  /** Its settings; HOST and PORT are added. */
  env: Readonly<Record<string, string>>;
  port: PortChoice;
  signal: AbortSignal;
}

/** A Node.js service that is ready. */
export interface NodeService extends RunningServer {
  baseUrl: string;
}

/**
 * Starts a service of this repository and waits until `GET /health/ready` answers 200.
 *
 * @throws as startServer does.
 */
export async function startNodeService(
  guardian: Guardian,
  options: NodeServiceOptions,
): Promise<NodeService> {
  const { name, main, env, port, signal } = options;
  const folder = join(guardian.directory, name);
  // It may be started again.
  await mkdir(folder, { mode: 0o700, recursive: true });
  const server = await startServer(
    guardian,
    {
      port,
      startLimitMs: START_LIMIT_MS,
      command: (chosenPort) => ({
        name,
        command: process.execPath,
        args: [...NODE_ARGS, main],
        env: { ...hostEnv(), ...env, HOST: '127.0.0.1', PORT: String(chosenPort) },
        cwd: folder,
        logFile: join(folder, 'output.log'),
        stopSignal: 'SIGTERM',
      }),
      probe: (chosenPort, probeSignal) =>
        probeHttp(`http://127.0.0.1:${chosenPort}/health/ready`, 200, probeSignal),
    },
    signal,
  );
  return { ...server, baseUrl: `http://127.0.0.1:${server.port}` };
}
