import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { checkoutMains, type ServiceMains } from './checkout.ts';
import { ClusterSetupError, LeftBehindError } from './errors.ts';
import { type FaultyRedis, startFaultyRedis } from './faulty-redis.ts';
import { type FindServer, serverFinder } from './find-server.ts';
import { type GuardedProcess, type Guardian, startGuardian } from './guardian.ts';
import { hostEnv } from './host-env.ts';
import { installedMariadb, mariadbPackage, startMariadb } from './mariadb.ts';
import { MAX_CONNECTIONS } from './max-connections.ts';
import { nginxPackage, startNginx } from './nginx.ts';
import { type NodeService, startNodeService } from './node-service.ts';
import { fixedPort, freePort, type PortChoice, samePort } from './ports.ts';
import { embeddedPostgresFolder, startPostgres } from './postgres.ts';
import { redisPackage, startRedis } from './redis.ts';
import { announceCluster } from './running-clusters.ts';
import type { RunningServer } from './start-server.ts';
import { isStore, STORE_FORMS, type Store } from './store.ts';
import { createThrowAwaySchema } from './throw-away-schema.ts';

/** Connections that each instance may open. */
const POOL_SIZE = 10;
/** What the private database can bear, with as many connections left over for checkers and tools. */
const MAX_INSTANCES = Math.floor(MAX_CONNECTIONS / POOL_SIZE) - 4;

export type GatewayMode = 'as-published' | 'generous' | 'toss';

export interface ClusterOptions {
  /** Copies of the shop, 1 to 16. */
  instances: number;
  store: Store;
  gateway: GatewayMode;
  /** Of the payment sandbox' chance: its latencies and its faults. */
  seed: number;
  /**
   * A fixed front door: nginx listens here, the instances on the ports that follow, the sandbox on `port + 10`, or
   * behind the instances where there are ten or more. Absent: any free ports.
   */
  port?: number;
  /** Settings for every instance beyond the lab's own, which they override. */
  shopEnv?: Readonly<Record<string, string>>;
  /** Settings for the payment sandbox beyond the lab's own, which they override. */
  sandboxEnv?: Readonly<Record<string, string>>;
  /** `faulty`: the instances reach Redis, where it is installed, by way of a proxy, and the cluster has `faultyRedis`. */
  redis?: 'faulty';
  /** Called with a sentence when a part is up or replaced. */
  onProgress?(text: string): void;
  /** Ends a start that is under way: it rejects with the signal's reason when everything has been cleared away. */
  signal?: AbortSignal;
  /** The services to run, instead of those of the checkout. */
  mains?: ServiceMains;
  /** Looks for MariaDB, Redis and nginx; absent: on the PATH and where servers are installed. */
  findServer?: FindServer;
}

/** One copy of the shop. */
export interface Instance {
  /** `lotto-back-1` and so on, as it names itself. */
  name: string;
  baseUrl: string;
  /** Another one when it has been started again. */
  pid: number;
}

/** Where requests go in. */
export interface FrontDoor {
  /** `nginx` rotates itself; with `rotate` the caller takes the URLs in turn. */
  kind: 'nginx' | 'rotate';
  urls: readonly string[];
  /** With `rotate`: how to install nginx. */
  note?: string;
}

export interface Cluster {
  /** `postgres://…` or `postgresql://…`, or `mysql://…` on MariaDB and MySQL. */
  databaseUrl: string;
  /** Undefined when there is none; `notes` says how to install it. */
  redisUrl: string | undefined;
  /** Undefined unless it was asked for, and where there is no Redis. */
  faultyRedis: FaultyRedis | undefined;
  sandbox: { baseUrl: string; secretKey: string; pid: number; ledgerFile: string };
  instances: readonly Instance[];
  frontDoor: FrontDoor;
  /** What was skipped or replaced, and how to install it. */
  notes: readonly string[];
  /** Stops and signals single servers; `guardian.lost` is aborted when the cluster has died under the lab. */
  guardian: Guardian;
  /** By name: `postgres` or `mariadb`, `redis`, `payment-sandbox`, `lotto-back-1`, …, `nginx`. */
  servers: ReadonlyMap<string, GuardedProcess>;
  /**
   * Starts an instance again that has ended, on its port and with its settings, and waits until it answers.
   *
   * @param env  Settings of this start alone, which override the others.
   * @throws as startServer does
   */
  startAgain(instance: Instance, env?: Readonly<Record<string, string>>): Promise<GuardedProcess>;
  /**
   * Ends everything. Resolves when nothing is left; may be called any number of times.
   *
   * @throws LeftBehindError  The servers have ended, but for instance the throw-away schema could not be dropped.
   */
  close(): Promise<void>;
}

/**
 * Starts the shop on several instances with all that it needs, and waits until each part answers.
 *
 * Whatever is thrown, nothing is left running or lying around by then.
 *
 * @throws ClusterSetupError  The options or the machine do not allow it.
 * @throws PortTakenError     A fixed port is taken.
 * @throws ServerStartError   A part ended or did not become ready.
 * @throws GuardianLostError  The guardian died.
 */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { signal } = options;
  const ports = choosePorts(options);
  const mains = options.mains ?? checkoutMains();
  signal?.throwIfAborted();
  // All at once and before anything runs, so that the answer comes in milliseconds.
  await Promise.all([ports.frontDoor, ports.sandbox, ...ports.instances].map(probeFixed));
  const guardian = await startGuardian();
  const atEnd: (() => Promise<void>)[] = [];
  const end = async () => {
    const problems = await guardian.end();
    for (const work of atEnd.splice(0)) await work();
    return problems;
  };
  const close = async () => {
    const problems = await end();
    if (problems.length > 0) throw new LeftBehindError(problems);
  };
  const failed = new AbortController();
  const stop = AbortSignal.any([failed.signal, guardian.lost, ...(signal === undefined ? [] : [signal])]);
  try {
    const control = {
      stop,
      fail: () => failed.abort(),
      atEnd: (work: () => Promise<void>) => void atEnd.push(work),
    };
    const parts = await startParts(guardian, options, ports, mains, control);
    stop.throwIfAborted();
    return { ...parts, guardian, close };
  } catch (error) {
    const problems = await end();
    if (problems.length > 0) throw new LeftBehindError(problems, { cause: error });
    // A part that is cut short by the end of the others fails in its own way; the cause is the end.
    guardian.lost.throwIfAborted();
    signal?.throwIfAborted();
    throw error;
  }
}

interface Ports {
  frontDoor: PortChoice;
  instances: readonly PortChoice[];
  sandbox: PortChoice;
}

interface StartControl {
  stop: AbortSignal;
  fail(): void;
  /** Has something done when all servers have ended. */
  atEnd(work: () => Promise<void>): void;
}

async function startParts(
  guardian: Guardian,
  options: ClusterOptions,
  ports: Ports,
  mains: ServiceMains,
  { stop, fail, atEnd }: StartControl,
): Promise<Omit<Cluster, 'guardian' | 'close'>> {
  const find = options.findServer ?? serverFinder(hostEnv().PATH ?? '');
  const servers = new Map<string, GuardedProcess>();
  const notes: string[] = [];
  const note = (text: string) => {
    notes.push(text);
    options.onProgress?.(text);
    return text;
  };
  let isStarting = true;
  const up = <Server extends RunningServer>(server: Server): Server => {
    servers.set(server.name, server);
    if (isStarting)
      options.onProgress?.(`${server.name} is up on port ${server.port} (${server.startMs} ms)`);
    return server;
  };

  const startDatabase = async () => {
    if (options.store === 'postgres') {
      return up(await startPostgres(guardian, { nativeFolder: embeddedPostgresFolder(), signal: stop })).url;
    }
    if (options.store === 'mariadb') {
      const program = installedMariadb(await find(mariadbPackage));
      return up(await startMariadb(guardian, { program, signal: stop })).url;
    }
    const schema = await createThrowAwaySchema(guardian, options.store);
    options.onProgress?.(`${schema.title} is made`);
    return schema.url;
  };
  const database = async () => {
    const url = await startDatabase();
    await announceCluster(guardian, options.store, url);
    return url;
  };
  const redis = async () => {
    const found = await find(redisPackage);
    if (found.found && options.redis === 'faulty') {
      const faulty = await startFaultyRedis(guardian, found.path, {
        clients: options.instances,
        signal: stop,
        onStarted: up,
      });
      atEnd(() => faulty.close());
      return { urls: faulty.urls, faulty };
    }
    if (found.found) return { urls: [up(await startRedis(guardian, found.path, stop)).url] };
    note(`Redis is not installed: what needs it is skipped (${found.install})`);
    return undefined;
  };
  const secretKey = `test_sk_${randomBytes(16).toString('hex')}`;
  // In the sandbox' own folder, which nobody else may enter.
  const ledgerFile = join(guardian.directory, 'payment-sandbox', 'ledger.jsonl');
  const sandbox = async () =>
    up(
      await startNodeService(guardian, {
        name: 'payment-sandbox',
        main: mains.sandbox,
        port: ports.sandbox,
        signal: stop,
        env: {
          SECRET_KEY: secretKey,
          LEDGER_FILE: ledgerFile,
          MODE: options.gateway,
          SEED: String(options.seed),
          LOG_LEVEL: 'warn',
          ...options.sandboxEnv,
        },
      }),
    );
  const [databaseUrl, itsRedis, gateway] = await allOrNone([database(), redis(), sandbox()], fail);

  const redisUrls = itsRedis?.urls ?? [];
  const instance = async (
    port: PortChoice,
    index: number,
    ofThisStart: Readonly<Record<string, string>> = {},
  ) => {
    const name = `lotto-back-${index + 1}`;
    const redisUrl = redisUrls[index % redisUrls.length];
    return up(
      await startNodeService(guardian, {
        name,
        main: mains.shop,
        port,
        signal: stop,
        env: {
          SERVER_NAME: name,
          DATABASE_URL: databaseUrl,
          DATABASE_POOL_SIZE: String(POOL_SIZE),
          ...(redisUrl === undefined ? {} : { REDIS_URL: redisUrl }),
          PAYMENT_BASE_URL: gateway.baseUrl,
          PAYMENT_SECRET_KEY: secretKey,
          // Only this one knows what is sent to it twice.
          PAYMENT_IDEMPOTENCY: options.gateway === 'toss' ? '1' : '0',
          LAB_MODE: '1',
          LOG_LEVEL: 'warn',
          ...options.shopEnv,
          ...ofThisStart,
        },
      }),
    );
  };
  const starting = ports.instances.map((port, index) => instance(port, index));
  const instances: NodeService[] = await allOrNone(starting, fail);

  const openFrontDoor = async (): Promise<FrontDoor> => {
    const found = await find(nginxPackage);
    if (!found.found) {
      const missing = `nginx is not installed: requests rotate over the instances (${found.install})`;
      return { kind: 'rotate', urls: instances.map(({ baseUrl }) => baseUrl), note: note(missing) };
    }
    const upstreamPorts = instances.map(({ port }) => port);
    const nginx = await startNginx(guardian, {
      program: found.path,
      upstreamPorts,
      port: ports.frontDoor,
      signal: stop,
    });
    return { kind: 'nginx', urls: [up(nginx).baseUrl] };
  };
  const frontDoor = await openFrontDoor();
  isStarting = false;
  const shown: Instance[] = instances.map(({ name, baseUrl, pid }) => ({ name, baseUrl, pid }));

  return {
    databaseUrl,
    redisUrl: redisUrls[0],
    faultyRedis: itsRedis?.faulty,
    sandbox: { baseUrl: gateway.baseUrl, secretKey, pid: gateway.pid, ledgerFile },
    instances: shown,
    frontDoor,
    notes,
    servers,
    async startAgain(ended, env) {
      const index = shown.findIndex(({ name }) => name === ended.name);
      const started = await instance(samePort(Number(new URL(ended.baseUrl).port)), index, env);
      Object.assign(shown[index] ?? {}, { pid: started.pid });
      return started;
    },
  };
}

/** Like Promise.all, but it waits for the others too when one fails, so that nothing goes on behind the caller. */
async function allOrNone<T extends readonly unknown[]>(
  work: readonly [...{ [Index in keyof T]: Promise<T[Index]> }],
  onFailure: () => void,
): Promise<T> {
  const all = Promise.all(work);
  all.catch(onFailure);
  await Promise.allSettled(work);
  return (await all) as unknown as T;
}

function choosePorts({ instances, store, port }: ClusterOptions): Ports {
  if (process.platform === 'win32') {
    throw new ClusterSetupError('UNSUPPORTED_PLATFORM', 'the lab ends servers by process group: use WSL');
  }
  if (!Number.isInteger(instances) || instances < 1 || instances > MAX_INSTANCES) {
    throw badOption(`instances must be a whole number from 1 to ${MAX_INSTANCES}, got ${instances}`);
  }
  if (!isStore(store)) throw badOption(`store must be ${STORE_FORMS}`);
  if (port === undefined) {
    return { frontDoor: freePort, sandbox: freePort, instances: Array(instances).fill(freePort) };
  }
  const sandboxPort = port + Math.max(10, instances + 1);
  if (!Number.isInteger(port) || port < 1 || sandboxPort > 65_535) {
    throw badOption(`port must be a whole number from 1 to ${65_535 - (sandboxPort - port)}, got ${port}`);
  }
  const fixed = (number: number) => fixedPort(number, '--port');
  return {
    frontDoor: fixed(port),
    instances: Array.from({ length: instances }, (_, index) => fixed(port + index + 1)),
    sandbox: fixed(sandboxPort),
  };
}

async function probeFixed(choice: PortChoice): Promise<void> {
  if (choice.fixedBy !== undefined) await choice.next();
}

function badOption(message: string): ClusterSetupError {
  return new ClusterSetupError('BAD_OPTION', message);
}
