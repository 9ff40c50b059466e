import { once } from 'node:events';
import { type Cluster, type ClusterOptions, startCluster } from '../cluster/cluster.ts';
import type { GuardedProcess } from '../cluster/guardian.ts';
import type { ServerExit } from '../cluster/guardian-messages.ts';
import { readLogTail } from '../cluster/log-tail.ts';
import { exitCodes } from '../report/report.ts';
import { withoutCredentials } from '../report/store-name.ts';
import type { Terminal } from './terminal.ts';

export interface UpCommand {
  instances: number;
  port: number;
  seed: number;
  store: ClusterOptions['store'];
  gateway: ClusterOptions['gateway'];
}

/**
 * Starts a cluster to play with, says where everything is, and keeps it until `signal` is aborted.
 *
 * @returns the exit code: 0 when it was ended, 255 when a part of it ended by itself.
 */
export async function upCommand(
  command: UpCommand,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<number> {
  const cluster = await startCluster({
    ...command,
    signal,
    onProgress: (text) => terminal.progress(`starting: ${text}`),
  });
  try {
    terminal.progress('');
    terminal.print(...guideTo(cluster, command));
    const ended = await Promise.race([
      once(AbortSignal.any([signal, cluster.guardian.lost]), 'abort').then(() => undefined),
      ...[...cluster.servers.values()].map((server) => server.exited.then((exit) => ({ server, exit }))),
    ]);
    if (signal.aborted) return exitCodes.asExpected;
    if (ended === undefined) terminal.print('The guardian has ended by itself, so everything is ended.');
    else terminal.print(...(await lastWordsOf(ended)));
    return exitCodes.ourFailure;
  } finally {
    await cluster.close();
  }
}

/** How a server ended and what it said last; its log goes with the cluster. */
async function lastWordsOf({
  server,
  exit,
}: {
  server: GuardedProcess;
  exit: ServerExit;
}): Promise<string[]> {
  const how = exit.signal ?? `exit code ${exit.code}`;
  const log = await readLogTail(server.logFile);
  return [
    `${server.name} has ended by itself (${how}), so everything is ended.`,
    ...(log === '' ? [] : ['Its last lines:', log]),
  ];
}

const SAMPLE_COUPON = {
  ...{ couponName: 'Welcome', couponCode: 'WELCOME', couponType: 'ALL', numberOfCoupons: 100 },
  ...{ downloadStartDate: '20260101', downloadEndDate: '20991231' },
  ...{ availableStartDate: '20260101', availableEndDate: '20991231', discountType: 'PERCENT', cost: 10 },
};

function guideTo(cluster: Cluster, { store, gateway }: UpCommand): string[] {
  const [door = ''] = cluster.frontDoor.urls;
  return [
    `The shop is at ${door}${cluster.frontDoor.kind === 'nginx' ? ' (nginx, rotating over the instances)' : ''}`,
    ...cluster.instances.map(({ name, baseUrl }) => `  ${name.padEnd(14)}${baseUrl}`),
    `  ${'the API'.padEnd(14)}${door}/docs`,
    `  ${'metrics'.padEnd(14)}/metrics of each instance`,
    `  ${'payments'.padEnd(14)}${cluster.sandbox.baseUrl} (its ledger: /sandbox/ledger)`,
    `  ${'database'.padEnd(14)}${URL.canParse(store) ? withoutCredentials(store) : cluster.databaseUrl}`,
    `  ${'Redis'.padEnd(14)}${cluster.redisUrl ?? 'none'}`,
    ...cluster.notes,
    '',
    'Try it:',
    `  curl ${door}/ping`,
    `  curl -X POST ${door}/api/orders -H 'content-type: application/json' -d '{}'`,
    // There a payment has a window, which somebody has to open.
    ...(gateway === 'toss'
      ? [
          `  curl -X POST ${cluster.sandbox.baseUrl}/sandbox/sessions -H 'content-type: application/json' \\`,
          `    -d '{"orderId": "…", "amount": 1000, "paymentKey": "…"}'`,
        ]
      : []),
    `  curl -X POST ${door}/api/tickets -H 'content-type: application/json' \\`,
    `    -d '{"lottoPublishId": 1, "purchaseHttpRequest": {"orderId": "…", "paymentKey": "…"}}'`,
    `  curl -X POST ${door}/api/coupon -H 'content-type: application/json' -d '${JSON.stringify(SAMPLE_COUPON)}'`,
    `  curl -X POST ${door}/api/coupon/… -H 'x-member-id: 7'`,
    '',
    'Ctrl-C ends everything.',
  ];
}
