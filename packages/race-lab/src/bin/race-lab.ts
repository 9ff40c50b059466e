#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { ClusterSetupError, LeftBehindError, PortTakenError } from '../cluster/errors.ts';
import { STORE_FORMS } from '../cluster/store.ts';
import {
  BadArgumentsError,
  collectNames,
  MOST_INSTANCES,
  parseExperiment,
  parseGateway,
  parseStore,
  wholeNumber,
} from '../commands/arguments.ts';
import { locksCommand, parseDatabaseUrl } from '../commands/locks.ts';
import { DEFAULT_GATEWAY, defaults } from '../commands/plan-race.ts';
import { raceCommand } from '../commands/race.ts';
import { openTerminal } from '../commands/terminal.ts';
import { upCommand } from '../commands/up.ts';
import { couponScenarioNames } from '../experiments/coupon-scenario-names.ts';
import { couponStrategyNames } from '../experiments/coupon-strategies.ts';
import { lockStrategyNames } from '../experiments/lock-strategies.ts';
import { purchaseStrategyNames } from '../experiments/purchase-strategies.ts';
import { lockFaultNames } from '../nemesis/lock-fault-names.ts';
import { exitCodes } from '../report/report.ts';

/** By convention 128 + the signal's number. */
const INTERRUPTED = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

const interruption = new AbortController();
let outputLost = false;
let interruptedBy: keyof typeof INTERRUPTED | undefined;
for (const signal of Object.keys(INTERRUPTED) as (keyof typeof INTERRUPTED)[]) {
  process.on(signal, () => {
    // The second time at once: the guardian notices, and clears away what this process leaves.
    if (interruptedBy !== undefined) process.exit(INTERRUPTED[signal]);
    interruptedBy = signal;
    interruption.abort(new Error(`ended by ${signal}`));
  });
}

for (const stream of [process.stdout, process.stderr]) {
  // Nobody reads it any more, or the disk is full: end in order instead of crashing with the code of a verdict.
  stream.on('error', (error: NodeJS.ErrnoException) => {
    // A reader who has gone needs no word, and a lost standard error can take none.
    if (!outputLost && stream === process.stdout && error.code !== 'EPIPE') {
      process.stderr.write(`The output could not be written: ${error.message}\n`);
    }
    outputLost = true;
    interruption.abort(error);
  });
}

const terminal = openTerminal(process.stdout, process.stderr);
/** Options that are left to the experiment when they are not given. */
const undecided = {
  ...{ strategy: undefined, scenario: undefined, instances: undefined, runs: undefined, json: undefined },
  ...{ gateway: undefined, fault: undefined },
  ...{ orders: undefined, fanout: undefined, purchases: undefined, seconds: undefined },
};
let exitCode: number = exitCodes.asExpected;

const program = new Command('race-lab')
  .description('Races the same request against several instances, and judges what happened by the ledger.')
  .exitOverride()
  .showHelpAfterError('Run with --help to see what there is.');

program
  .command('race')
  .description('races strategies on a private cluster, and prints which ones hold')
  .argument(
    '[experiment]',
    'purchase: simultaneous confirmations; bystanders: what others see of purchases that wait; ' +
      'coupon: first come, first served; lock: faults that strike a lock that is held and waited for',
    parseExperiment,
    'purchase',
  )
  .option(
    '--strategy <names>',
    `one or more of ${purchaseStrategyNames.join(', ')}; coupon: of ${couponStrategyNames.join(', ')}; ` +
      `lock: of ${lockStrategyNames.join(', ')} ` +
      '(default: all that fit the experiment)',
    collectNames,
  )
  .option(
    '--scenario <names>',
    `coupon: one or more of ${couponScenarioNames.join(', ')} (default: all, flood with conditional-update)`,
    collectNames,
  )
  .option('--fault <names>', `lock: one or more of ${lockFaultNames.join(', ')} (default: all)`, collectNames)
  .option(
    '--instances <n>',
    `instances of the shop (default: ${defaults.purchase.instances}; bystanders: ${defaults.bystanders.instances})`,
    wholeNumber('--instances', 1, MOST_INSTANCES),
  )
  .option(
    '--orders <n>',
    `purchase: orders a strategy (default: ${defaults.purchase.orders})`,
    wholeNumber('--orders', 1, 10_000),
  )
  .option(
    '--fanout <n>',
    `purchase: simultaneous confirmations of each order (default: ${defaults.purchase.fanout})`,
    wholeNumber('--fanout', 2, 50),
  )
  .option(
    '--purchases <n>',
    `bystanders: purchases under way at any time (default: ${defaults.bystanders.purchases})`,
    wholeNumber('--purchases', 1, 1_000),
  )
  .option(
    '--seconds <n>',
    `bystanders: how long each strategy is measured (default: ${defaults.bystanders.seconds})`,
    wholeNumber('--seconds', 1, 600),
  )
  .option(
    '--runs <n>',
    `coupon: how often each strategy is raced in each scenario (default: ${defaults.coupon.runs}); ` +
      `lock: under each fault (default: ${defaults.lock.runs})`,
    wholeNumber('--runs', 1, 1_000),
  )
  .option('--store <store>', STORE_FORMS, parseStore, 'postgres')
  .option(
    '--gateway <mode>',
    `purchase, bystanders: as-published, generous or toss (default: ${DEFAULT_GATEWAY})`,
    parseGateway,
  )
  .option(
    '--seed <n>',
    "seed of the payment provider's chance, of the order in which members ask, and of when a fault strikes",
    wholeNumber('--seed', 0, 2 ** 32 - 1),
    42,
  )
  .option('--json <file>', 'also write the reports to a file')
  .action(async (experiment, options) => {
    exitCode = await raceCommand({ ...undecided, ...options, experiment }, terminal, interruption.signal);
  });

program
  .command('up')
  .description('starts a cluster to play with, until Ctrl-C')
  .option('--instances <n>', 'instances of the shop', wholeNumber('--instances', 1, MOST_INSTANCES), 4)
  .option(
    '--port <n>',
    'port of the front door; the instances follow it',
    wholeNumber('--port', 1, 65_000),
    8080,
  )
  .option('--store <store>', STORE_FORMS, parseStore, 'postgres')
  .option('--gateway <mode>', 'as-published, generous or toss', parseGateway, 'as-published')
  .option('--seed <n>', "seed of the payment provider's chance", wholeNumber('--seed', 0, 2 ** 32 - 1), 42)
  .action(async (options) => {
    exitCode = await upCommand(options, terminal, interruption.signal);
  });

program
  .command('locks')
  .description('prints who waits for whose lock in the database of a running cluster, or in any other')
  .option('--store <url>', 'a postgres:// or mysql:// URL (default: the cluster that runs)', parseDatabaseUrl)
  .option('--cluster <directory>', 'which one, where several run')
  .option('--every <ms>', 'between two looks', wholeNumber('--every', 10, 60_000), 100)
  .option('--for <seconds>', 'how long (default: until Ctrl-C)', wholeNumber('--for', 1, 1_000_000))
  .option('--json', 'one JSON object a line', false)
  .action(async (options) => {
    const command = { store: undefined, cluster: undefined, for: undefined, ...options };
    exitCode = await locksCommand(command, terminal, interruption.signal);
  });

try {
  await program.parseAsync();
} catch (error) {
  exitCode = explain(error);
}
process.exitCode = outputLost ? exitCodes.ourFailure : exitCode;

/** Says what went wrong. @returns the exit code */
function explain(error: unknown): number {
  terminal.progress('');
  // Commander has said it already; asking for help or the version is no error.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitCodes.badArguments;
  if (interruptedBy !== undefined && !(error instanceof LeftBehindError)) {
    process.stderr.write(`Ended by ${interruptedBy}; nothing is left running.\n`);
    return INTERRUPTED[interruptedBy];
  }
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`${message}\n`);
  const theirs = error instanceof BadArgumentsError || error instanceof PortTakenError || isBadOption(error);
  return theirs ? exitCodes.badArguments : exitCodes.ourFailure;
}

function isBadOption(error: unknown): boolean {
  return error instanceof ClusterSetupError && error.code === 'BAD_OPTION';
}
