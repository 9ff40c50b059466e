#!/usr/bin/env node
import type { Command } from 'commander';
import { collectNames, wholeNumber } from '../../../packages/race-lab/src/commands/arguments.ts';
import { runProgram, type Surroundings } from '../../../packages/race-lab/src/commands/program.ts';
import { benchCommand } from '../command.ts';
import { groupNames } from '../groups/index.ts';

const FEWEST_ROUNDS = 3;
const MOST_ROUNDS = 100;

await runProgram('bench', bench);

function bench(program: Command, { terminal, signal, endWith }: Surroundings): void {
  program
    .description(
      'Measures the library beside its limits and its peers, in one alternating run, on private servers.',
    )
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
      endWith(await benchCommand(given, terminal, signal));
    });
}
