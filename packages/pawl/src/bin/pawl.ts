#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { MisuseError } from '../errors.ts';
import { CommandError, exitCodes } from './command-error.ts';
import { inspectCommand, inspectSummary } from './commands/inspect.ts';
import { listCommand, listSummary } from './commands/list.ts';
import { migrateCommand, migrateSummary } from './commands/migrate.ts';
import { resolveCommand, resolveSummary } from './commands/resolve.ts';
import { sweepCommand, sweepSummary } from './commands/sweep.ts';

const HELP = `Usage: pawl <command>

  migrate    ${migrateSummary}
  list       ${listSummary}
  inspect    ${inspectSummary}
  resolve    ${resolveSummary}
  sweep      ${sweepSummary}

  --help     this; after a command, its own
  --version  the version of the library

Exit codes: 0 done, 1 refused, 2 unknown, 254 bad arguments, 255 failed.
`;

const commands = {
  migrate: migrateCommand,
  list: listCommand,
  inspect: inspectCommand,
  resolve: resolveCommand,
  sweep: sweepCommand,
};

const [first, ...rest] = process.argv.slice(2);

// What cannot be written is told by its own callback, and an error without a listener would end in a stack trace.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

let exitCode: number = exitCodes.DONE;
try {
  await write(process.stdout, await run());
} catch (error) {
  const { code, message } = explain(error);
  exitCode = exitCodes[code];
  await write(process.stderr, `pawl: ${message}\n`).catch(() => undefined);
}
// At once, whatever a driver still waits for.
process.exit(exitCode);

async function run(): Promise<string> {
  if (first === '--help' || first === '-h') return HELP;
  if (first === '--version') return `${version()}\n`;
  // Not repeated in the message: it may be the URL of a database.
  if (first === undefined || !isCommand(first)) {
    const known = Object.keys(commands).join(', ');
    throw new CommandError(
      'BAD_ARGUMENTS',
      `the first argument must be a command (${known}); see pawl --help`,
    );
  }
  return commands[first](rest, process.env);
}

function isCommand(name: string): name is keyof typeof commands {
  return Object.hasOwn(commands, name);
}

function version(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return String(version);
}

/** In one line, without a stack trace, and without what may be the credentials in a URL. */
function explain(error: unknown): { code: CommandError['code']; message: string } {
  const text = error instanceof Error ? error.message : String(error);
  const message = text.replaceAll(/\s*\n\s*/g, ' ').replaceAll(/:\/\/\S*@/g, '://***@');
  if (error instanceof CommandError) return { code: error.code, message };
  const theirs = error instanceof MisuseError || isArgumentError(error);
  return theirs
    ? { code: 'BAD_ARGUMENTS', message: `${message}; see pawl --help` }
    : { code: 'FAILED', message };
}

/** How node:util refuses what it cannot parse. */
function isArgumentError(error: unknown): boolean {
  return error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS_');
}

function write(stream: NodeJS.WriteStream, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, (error) =>
      error
        ? reject(new CommandError('FAILED', `the output could not be written: ${error.message}`))
        : resolve(),
    );
  });
}
