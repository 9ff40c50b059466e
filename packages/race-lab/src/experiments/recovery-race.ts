import type { FailpointName } from 'pawl/failpoints';
import { judgeRecovery } from '../checkers/judge-recovery.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { restart } from '../nemesis/armed-instance.ts';
import type { ControlReport, RunReport } from '../report/report.ts';
import { failpointCell, type RecoveryCell } from './recovery-cells.ts';
import { faultCell, type ProviderKind, type RecoveryFaultName } from './recovery-faults.ts';
import { recoveryPaths } from './recovery-paths.ts';
import { wavesOf } from './recovery-plan.ts';
import { type RecoveryRun, recoveryReport } from './recovery-report.ts';
import { recoveryTimes } from './recovery-settings.ts';
import { type CellSeen, raceWave, type WaveContext } from './recovery-wave.ts';
import { type RunSetting, runContext } from './run-context.ts';
import { watchingServers } from './server-watch.ts';

/** The strategy whose recovery is tried. */
const STRATEGY = 'durable';
/** One that claims an order rightly, and does not recover it. */
const CONTROL = 'conditional-update';
const CONTROL_ORDERS = 5;
/** Simultaneous confirmations of each order. */
const RACERS = 5;
/** How long everybody waits for an answer that was promised long before, in milliseconds. */
const PATIENCE_MS = 15_000;
/** How often a cell is raced until its instance has died where it should. */
const MOST_ATTEMPTS = 3;

export interface RecoveryRaceOptions {
  failpoints: readonly FailpointName[];
  faults: readonly RecoveryFaultName[];
  provider: ProviderKind;
  /** Of each cell. */
  orders: number;
  setting: RunSetting;
  signal: AbortSignal;
  /** What is raced now, and how many cells are done. */
  onProgress(cells: readonly string[], done: number, total: number): void;
}

/**
 * Races the durable purchase while instances die at every failpoint, and while the payment provider misbehaves in every way, and
 * judges each cell when everything has come to rest. A strategy that does not recover is the control.
 *
 * @throws ServerLostError, PreparationError, the signal's reason, as startServer does, and whatever keeps the evidence from being
 *   read.
 */
export function raceRecovery(cluster: Cluster, options: RecoveryRaceOptions): Promise<RunReport[]> {
  const { signal, orders } = options;
  return watchingServers(cluster, signal, async (ended, watch) => {
    let number = 0;
    const context: WaveContext = {
      ...(await runContext(cluster, ended)),
      ...{ orders, racers: RACERS, strategy: STRATEGY, patienceMs: PATIENCE_MS },
      ...{ known: new Set(), watch, signal },
      nextNumber: () => ++number,
    };
    const control = await raceControl(cluster, context);
    const reports = await raceAll(cluster, options, context);
    return reports.map((report) => withControl(report, control));
  });
}

async function raceAll(
  cluster: Cluster,
  { failpoints, faults, provider, setting, onProgress }: RecoveryRaceOptions,
  context: WaveContext,
): Promise<RunReport[]> {
  const cells = [...failpoints.map(failpointCell), ...faults.flatMap((name) => faultCell(name, provider))];
  const { database, orders } = context;
  const run: RecoveryRun = {
    experiment: 'recovery',
    strategy: STRATEGY,
    orders,
    fanout: RACERS,
    setting,
    database,
  };
  const reports = new Map<string, RunReport>();
  let left = cells;
  for (let attempt = 1; left.length > 0 && attempt <= MOST_ATTEMPTS; attempt++) {
    const missed: RecoveryCell[] = [];
    for (const wave of wavesOf(left, cluster.instances.length)) {
      onProgress(
        wave.map(({ name }) => name),
        cells.length - left.length,
        cells.length,
      );
      for (const seen of await raceInSessions(cluster, wave, context)) {
        const report = recoveryReport(cluster, run, context, seen, attempt);
        reports.set(seen.cell.name, report);
        if (isMissed(seen) && report.violations.length === 1) missed.push(seen.cell);
        else left = left.filter(({ name }) => name !== seen.cell.name);
      }
    }
    left = missed;
  }
  return cells.flatMap(({ name }) => reports.get(name) ?? []);
}

/** With instances that know how long its payment windows live. */
async function raceInSessions(
  cluster: Cluster,
  wave: readonly RecoveryCell[],
  context: WaveContext,
): Promise<CellSeen[]> {
  const [sessionMs = recoveryTimes.sessionMs] = wave.map((cell) => cell.sessionMs);
  if (sessionMs === recoveryTimes.sessionMs) return raceWave(cluster, wave, context);
  const restartAll = (env: Record<string, string>) =>
    Promise.all(cluster.instances.map((instance) => restart(cluster, instance, env, context.watch)));
  await restartAll({ PAYMENT_SESSION_MS: String(sessionMs) });
  const seen = await raceWave(cluster, wave, context);
  await restartAll({});
  return seen;
}

function isMissed({ cell: { victim }, struckAt }: CellSeen): boolean {
  return victim !== undefined && victim.does !== 'misbehaves' && struckAt === null;
}

/** The answer of the provider is lost, and the strategy does not find out what became of the payment. */
async function raceControl(cluster: Cluster, context: WaveContext): Promise<ControlReport> {
  const cell: RecoveryCell = {
    ...{ kind: 'fault', name: CONTROL, path: recoveryPaths['answer-lost'], delayMs: 0 },
    sessionMs: recoveryTimes.sessionMs,
  };
  // Nobody will ever tell these clients.
  const hopeless = { orders: CONTROL_ORDERS, strategy: CONTROL, patienceMs: 0 } as const;
  const [seen] = await raceWave(cluster, [cell], { ...context, ...hopeless });
  const harmed = new Set(
    seen === undefined
      ? []
      : judgeRecovery(seen.evidence, 'COMPLETE')
          .violations.filter(({ invariant }) => invariant === 'I2')
          .map(({ orderId }) => orderId),
  ).size;
  return {
    strategy: CONTROL,
    orders: CONTROL_ORDERS,
    ordersRequestedTwice: 0,
    raced: harmed > 0,
    showed: `with ${CONTROL} ${harmed} of ${CONTROL_ORDERS} orders were charged and not billed when the provider's answer was lost`,
  };
}

function withControl(report: RunReport, control: ControlReport): RunReport {
  if (control.raced) return { ...report, control };
  const unknownBecause = `not even ${CONTROL} lost a payment, so the provider's answers were not lost`;
  return { ...report, control, verdict: 'unknown', asExpected: false, unknownBecause };
}
