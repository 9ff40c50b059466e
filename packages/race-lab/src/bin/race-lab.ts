#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { ClusterSetupError, LeftBehindError, PortTakenError } from '../cluster/errors.ts';
import {
  BadArgumentsError,
  MOST_INSTANCES,
  parseExperiment,
  parseGateway,
  parseStore,
  parseStrategies,
  wholeNumber,
} from '../commands/arguments.ts';
import { raceCommand } from '../commands/race.ts';
import { openTerminal } from '../commands/terminal.ts';
import { upCommand } from '../commands/up.ts';
import { purchaseStrategyNames } from '../experiments/purchase-strategies.ts';
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
  stream.on('error', (error) => {
    outputLost = true;
    interruption.abort(error);
  });
}

const terminal = openTerminal(process.stdout, process.stderr);
let exitCode: number = exitCodes.asExpected;

const program = new Command('race-lab')
  .description('Races the same request against several instances, and judges what happened by the ledger.')
  .exitOverride()
  .showHelpAfterError('Run with --help to see what there is.');

program
  .command('race')
  .description('races purchase strategies on a private cluster, and prints which ones hold')
  .argument('[experiment]', 'purchase', parseExperiment, 'purchase')
  .option(
    '--strategy <names>',
    `one or more of ${purchaseStrategyNames.join(', ')} (default: all)`,
    parseStrategies,
  )
  .option('--instances <n>', 'instances of the shop', wholeNumber('--instances', 1, MOST_INSTANCES), 4)
  .option('--orders <n>', 'orders a strategy', wholeNumber('--orders', 1, 10_000), 100)
  .option('--fanout <n>', 'simultaneous confirmations of each order', wholeNumber('--fanout', 2, 50), 5)
  .option('--store <store>', 'postgres (a private server) or a postgres:// URL', parseStore, 'postgres')
  .option('--gateway <mode>', 'as-published, generous or toss', parseGateway, 'as-published')
  .option('--seed <n>', "seed of the payment provider's chance", wholeNumber('--seed', 0, 2 ** 32 - 1), 42)
  .option('--json <file>', 'also write the reports to a file')
  .action(async (_experiment, options) => {
    const strategies = options.strategy ?? purchaseStrategyNames;
    exitCode = await raceCommand({ json: undefined, ...options, strategies }, terminal, interruption.signal);
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
  .option('--store <store>', 'postgres (a private server) or a postgres:// URL', parseStore, 'postgres')
  .option('--gateway <mode>', 'as-published, generous or toss', parseGateway, 'as-published')
  .option('--seed <n>', "seed of the payment provider's chance", wholeNumber('--seed', 0, 2 ** 32 - 1), 42)
  .action(async (options) => {
    exitCode = await upCommand(options, terminal, interruption.signal);
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
