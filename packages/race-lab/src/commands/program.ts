import { Command, CommanderError } from 'commander';
import { LeftBehindError } from '../cluster/errors.ts';
import { exitCodes } from '../report/report.ts';
import { BadArgumentsError } from './arguments.ts';
import { openTerminal, type Terminal } from './terminal.ts';

/** By convention 128 + the signal's number. */
const INTERRUPTED = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** What the commands of a program run with. */
export interface Surroundings {
  readonly terminal: Terminal;
  /** Aborted when the program is asked to end, and when nobody can read its output any more. */
  readonly signal: AbortSignal;
  /** With which code the program is to end, if nothing else goes wrong. */
  endWith(exitCode: number): void;
  /**
   * Code that is not ours runs in this process from now on. The process exits when its command has ended, whatever that code
   * keeps open.
   */
  exitAtEnd(): void;
}

/**
 * Runs a command line to its end, and sets the exit code of this process: that of its command, of what was wrong with its
 * arguments, or of the signal that ended it.
 *
 * @param describe  Gives the program its commands. The program is made here, because commander knows its own errors, and those
 *   of `arguments.ts`, by their class: with two copies of it none would be known.
 * @param isTheirs  Whether an error of a command is the user's mistake, besides `BadArgumentsError`.
 */
export async function runProgram(
  name: string,
  describe: (program: Command, surroundings: Surroundings) => unknown,
  isTheirs: (error: unknown) => boolean = () => false,
): Promise<void> {
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
    const theirs = error instanceof BadArgumentsError || isTheirs(error);
    return theirs ? exitCodes.badArguments : exitCodes.ourFailure;
  }

  let exitCode: number = exitCodes.asExpected;
  let exits = false;
  const endWith = (code: number) => {
    exitCode = code;
  };
  const exitAtEnd = () => {
    exits = true;
  };
  try {
    const program = new Command(name)
      .exitOverride()
      .showHelpAfterError('Run with --help to see what there is.');
    describe(program, { terminal, signal: interruption.signal, endWith, exitAtEnd });
    await program.parseAsync();
  } catch (error) {
    exitCode = explain(error);
  }
  if (exits) await Promise.all([process.stdout, process.stderr].map(written));
  process.exitCode = outputLost ? exitCodes.ourFailure : exitCode;
  if (exits) process.exit();
}

/** Resolves when the stream has passed everything on, or can no more. */
function written(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    // A loss is told to the listeners for errors one turn later than here.
    stream.write('', () => setImmediate(resolve));
  });
}
