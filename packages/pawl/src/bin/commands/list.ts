import { parseArgs } from 'node:util';
import { defaultDurableCallList, listDurableCalls } from '../../durable-call-operator.ts';
import type { ListedDurableCall } from '../../durable-call-record.ts';
import { CommandError } from '../command-error.ts';
import {
  duration,
  OPERATOR_HELP,
  operatorOptions,
  plain,
  printed,
  wholeNumber,
  withTables,
} from '../operator-command.ts';

export const listSummary = 'shows the durable calls that are not settled';

const defaults = defaultDurableCallList;

const HELP = `Usage: pawl list [<url>] [--stuck [--older-than <ms>]] [--name <name>] [--limit <number>]
                 [--schema <name>] [--prefix <name>] [--json]

Shows the durable calls that are not settled, the oldest first, without what they carry.

  --stuck           only those that want somebody's eye: left to an operator, past the moment after which their effect
                    can no longer come about, or claimed long ago
  --older-than <ms> how long ago that is, in milliseconds (default: ${defaults.olderThanMs})
  --name <name>     only the calls of this name
  --limit <number>  at most so many (default: ${defaults.limit})
${OPERATOR_HELP}
Exit codes: 0 done, 254 bad arguments, 255 failed.
`;

/**
 * `pawl list`.
 *
 * @returns what is to be printed
 * @throws CommandError  With a message for the user.
 * @throws MisuseError   The schema or the prefix is not a name that can be used.
 */
export async function listCommand(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<string> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: {
      ...operatorOptions,
      stuck: { type: 'boolean', default: false },
      'older-than': { type: 'string' },
      name: { type: 'string' },
      limit: { type: 'string' },
    },
    allowPositionals: true,
  });
  if (values.help) return HELP;
  const { schema, prefix, stuck, name, 'older-than': olderThan } = values;
  if (olderThan !== undefined && !stuck) {
    throw new CommandError('BAD_ARGUMENTS', '--older-than goes with --stuck');
  }
  const olderThanMs =
    olderThan === undefined ? defaults.olderThanMs : wholeNumber('--older-than', olderThan, 0);
  const limit = values.limit === undefined ? defaults.limit : wholeNumber('--limit', values.limit, 1);
  const calls = await withTables({ urls: positionals, env, schema, prefix }, (sql, { durableCall: table }) =>
    listDurableCalls(sql, { table, name, stuck, olderThanMs, limit }),
  );
  if (values.json) return printed(calls);
  if (calls.length === 0) return `No durable call is ${stuck ? 'stuck' : 'unsettled'}.\n`;
  const more = calls.length === limit ? `These are the first ${limit}; --limit shows more.\n` : '';
  return `${inColumns([TITLES, ...calls.map(shown)])}${more}`;
}

const TITLES = ['STATE', 'CALL', 'SUBJECT', 'ATTEMPT', 'AGE', 'UNCHANGED', 'LEASE', 'CODE', 'KEY', 'SCOPE'];

function shown(call: ListedDurableCall): string[] {
  const { verdict, isFinal, leaseLeftMs } = call;
  const notes = [...(isFinal ? ['final'] : []), ...(verdict === undefined ? [] : [`operator: ${verdict}`])];
  return [
    notes.length === 0 ? call.state : `${call.state} (${notes.join(', ')})`,
    call.name,
    call.subject,
    String(call.attempt),
    duration(call.ageMs),
    duration(call.unchangedMs),
    leaseShown(leaseLeftMs),
    call.code ?? '–',
    call.id.key,
    call.id.scope,
  ].map(plain);
}

function leaseShown(leaseLeftMs: number | undefined): string {
  if (leaseLeftMs === undefined) return 'none';
  return leaseLeftMs > 0 ? duration(leaseLeftMs) : 'over';
}

function inColumns(rows: readonly (readonly string[])[]): string {
  const widths = TITLES.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
  return lines.map((line) => `${line.trimEnd()}\n`).join('');
}
