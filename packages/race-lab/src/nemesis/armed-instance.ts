import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster, Instance } from '../cluster/cluster.ts';
import type { GuardedProcess } from '../cluster/guardian.ts';
import { isStopped } from '../cluster/process-tree.ts';
import type { WatchServer } from '../cluster/watch-server.ts';
import { type FailpointVisit, failpointVisits } from './failpoint-visits.ts';

const LOOK_PAUSE_MS = 10;

type Env = Readonly<Record<string, string>>;

/**
 * Ends an instance and starts it again.
 *
 * @param env  Settings of this start alone.
 * @throws as startServer does
 */
export async function restart(
  cluster: Cluster,
  instance: Instance,
  env: Env,
  watch: WatchServer,
  wasMeantTo?: () => boolean,
): Promise<GuardedProcess> {
  const running = cluster.servers.get(instance.name);
  await running?.signal('SIGKILL');
  await running?.exited;
  const server = await cluster.startAgain(instance, env);
  watch(server, wasMeantTo);
  return server;
}

/** What is to become of an instance. */
export interface Arming {
  /** Where it strikes itself: `name:visit=kill` or `…=stop`; absent: nowhere. */
  failpoint?: string;
  logFile: string;
  env: Env;
  /** Settings with which it is started again when it has died. */
  envAfter: Env;
}

/** An instance that was started again with something wrong about it. */
export interface ArmedInstance {
  readonly instance: Instance;
  /** Where it struck itself; undefined while it has not. */
  struck(): FailpointVisit | undefined;
  /** When it struck itself, as far as was noticed, in milliseconds since 1970. */
  struckAtMs(): number | undefined;
  /**
   * From when on nothing went wrong with it any more, in milliseconds since 1970: it had been started again, or stood still, which
   * the others have to live with. Undefined while something may.
   */
  mendedAtMs(): number | undefined;
  /** Resolves when it stands still, or `over` is aborted. */
  untilStill(over: AbortSignal): Promise<void>;
  /** Lets it go on. */
  goOn(): Promise<void>;
  /**
   * Resolves when nothing is wrong with it any more: it was started again after its death, or goes on, or is started again now,
   * because it never struck.
   *
   * @throws as startServer does
   */
  mend(): Promise<void>;
}

/**
 * Ends an instance and starts it again, armed. When it kills itself it is started again at once, as it was.
 *
 * @throws as startServer does
 */
export async function arm(
  cluster: Cluster,
  instance: Instance,
  { failpoint, logFile, env, envAfter }: Arming,
  watch: WatchServer,
): Promise<ArmedInstance> {
  const armament = {
    NODE_OPTIONS: '--conditions=failpoints',
    ...(failpoint === undefined ? {} : { PAWL_FAILPOINT: failpoint }),
    PAWL_FAILPOINT_LOG: logFile,
  };
  let pid = 0;
  const struck = () => failpointVisits(logFile).find((visit) => visit.struck && visit.pid === pid);
  const isStruck = () => struck() !== undefined;
  const server = await restart(cluster, instance, { ...env, ...armament }, watch, isStruck);
  pid = server.pid;
  let struckAtMs: number | undefined;
  let mendedAtMs: number | undefined;
  let mending: Promise<void> | undefined;
  const mend = async (settings: Env) => {
    await restart(cluster, instance, settings, watch);
    mendedAtMs ??= Date.now();
  };
  void server.exited.then(() => {
    if (mending !== undefined || !isStruck()) return;
    struckAtMs = Date.now();
    mending = mend(envAfter);
    // Whoever waits for it is told.
    mending.catch(() => undefined);
  });

  return {
    instance,
    struck,
    struckAtMs: () => struckAtMs,
    mendedAtMs: () => mendedAtMs,
    async untilStill(over) {
      while (!over.aborted && !isStopped(pid)) await sleep(LOOK_PAUSE_MS);
      if (!isStopped(pid)) return;
      struckAtMs = Date.now();
      mendedAtMs = struckAtMs;
    },
    async goOn() {
      await server.signal('SIGCONT');
      if (isStruck()) mending = Promise.resolve();
    },
    mend() {
      mending ??= mend({});
      return mending;
    },
  };
}
