import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from '../cluster/cluster.ts';
import type { WatchServer } from '../cluster/watch-server.ts';

/** How long the end of a server may take to be known, in milliseconds. */
const NEWS_LIMIT_MS = 500;

/** A server that the race needs has ended by itself. What was seen until then proves nothing. */
export class ServerLostError extends Error {
  override readonly name = 'ServerLostError';
  readonly code = 'SERVER_LOST';

  constructor(names: readonly string[], options: ErrorOptions) {
    super(`${names.join(' and ')} ended by itself, so the race was broken off`, options);
  }
}

/**
 * Runs `work` with the set of servers that have ended by themselves, which grows when it happens. What the lab ends is not
 * among them; what it starts meanwhile is, from when `watch` is told of it.
 *
 * @throws ServerLostError  `work` failed, and a server had ended.
 * @throws whatever else `work` throws
 */
export async function watchingServers<T>(
  cluster: Cluster,
  signal: AbortSignal,
  work: (ended: ReadonlySet<string>, watch: WatchServer) => Promise<T>,
): Promise<T> {
  const ended = new Set<string>();
  const watch: WatchServer = (server, wasMeantTo = () => false) =>
    void server.exited.then(() => {
      if (!server.wasEndedByLab() && !wasMeantTo()) ended.add(server.name);
    });
  for (const server of cluster.servers.values()) watch(server);
  try {
    return await work(ended, watch);
  } catch (error) {
    if (signal.aborted) throw error;
    // The news of a server's end may come after the error that it caused.
    await sleep(NEWS_LIMIT_MS);
    if (ended.size === 0) throw error;
    throw new ServerLostError([...ended], { cause: error });
  }
}

/**
 * Why the run was not the race that its report names. A dead instance is easily overlooked: the balancer goes on to
 * the others, and the race on fewer instances looks like the one that was asked for.
 */
export function whyIncomplete(
  cluster: Cluster,
  ended: ReadonlySet<string>,
  answers: readonly { instance: string | undefined; error: string | undefined }[],
): string | null {
  if (ended.size > 0) return `${[...ended].join(' and ')} had ended by itself`;
  const strangers = answers.filter(
    ({ instance, error }) => instance === undefined && error !== 'timeout',
  ).length;
  if (strangers > 0) return `${strangers} of ${answers.length} requests were answered by no instance`;
  const answering = new Set(answers.flatMap(({ instance }) => instance ?? []));
  const silent = cluster.instances.filter(({ name }) => !answering.has(name));
  // With so few requests, some instances may not have had their turn.
  const everybodyHadATurn = answers.length >= cluster.instances.length * 2;
  if (silent.length === 0 || !everybodyHadATurn) return null;
  return `${silent.map(({ name }) => name).join(' and ')} answered nothing`;
}
