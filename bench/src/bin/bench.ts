#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { LeftBehindError } from '../../../packages/race-lab/src/cluster/errors.ts';
import {
  BadArgumentsError,
  collectNames,
  wholeNumber,
} from '../../../packages/race-lab/src/commands/arguments.ts';
import { openTerminal } from '../../../packages/race-lab/src/commands/terminal.ts';
import { exitCodes } from '../../../packages/race-lab/src/report/report.ts';
import { benchCommand } from '../command.ts';
import { groupNames } from '../groups/index.ts';

/** By convention 128 + the signal's number. */
const INTERRUPTED = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

const FEWEST_ROUNDS = 3;
const MOST_ROUNDS = 100;

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

const program = new Command('bench')
  .description(
    'Measures the library beside its limits and its peers, in one alternating run, on private servers.',
  )
  .exitOverride()
  .showHelpAfterError('Run with --help to see what there is.')
  .allowExcessArguments(false)
  .option('--only <groups>', `one or more of ${groupNames.join(', ')} (default: all)`, collectNames)
  .option(
    '--rounds <n>',
    'rounds of every row, after one to warm up',
    wholeNumber('--rounds', FEWEST_ROUNDS, MOST_ROUNDS),
    FEWEST_ROUNDS,
  )
  .option('--quick', 'short rounds, five minutes in all; what cannot be had in them is left out', false)
  .option('--json <file>', 'also write every figure to a file')
  .action(async (options) => {
    const given = { only: undefined, json: undefined, ...options };
    exitCode = await benchCommand(given, terminal, interruption.signal);
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
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  return error instanceof BadArgumentsError ? exitCodes.badArguments : exitCodes.ourFailure;
}
