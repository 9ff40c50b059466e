import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { inspectDurableCall, resolveDurableCall } from '../../durable-call-operator.ts';
import type { Json, Resolution } from '../../durable-call-record.ts';
import type { IdempotencyRecordId } from '../../idempotency-record.ts';
import type { SqlPort } from '../../ports.ts';
import { CommandError } from '../command-error.ts';
import {
  OPERATOR_HELP,
  operatorOptions,
  plain,
  printed,
  wholeNumber,
  withTables,
} from '../operator-command.ts';

export const resolveSummary = 'records what became of a durable call, or lets it be tried again';

/** Longer than a call pauses between two tries by default. */
const WAIT_MS = 60_000;
/** A pause of a call that is recovered ends for as long as it takes an instance to look for it, which may be short. */
const ASK_EVERY_MS = 50;

const HELP = `Usage: pawl resolve <key> (--done [--value <json>] | --not-done | --undone | --retry) [<url>]
                    [--scope <scope>] [--wait <ms>] [--schema <name>] [--prefix <name>] [--json]

Records what you have found out about a durable call that is not settled. An instance of the service takes it over next,
and settles it with the service's own rows. Your word is believed: look at the receiver's records first.

  --done            it has had its effect
  --value <json>    what it came to, as the service's own look-up would tell it; needed where none is recorded
  --not-done        it has had no effect, and never will: its subject is given back
  --undone          it had its effect, and has it no more
  --retry           nothing is known: withdraws an earlier verdict, and lets it be looked up and tried again
  --scope <scope>   the call of this scope, where several have the key
  --wait <ms>       how long to wait for an instance that is at it, in milliseconds (default: ${WAIT_MS})
${OPERATOR_HELP}
Exit codes: 0 done, 1 refused, 2 the connection was lost and what was done is not known, 254 bad arguments, 255 failed.
`;

/**
 * `pawl resolve`.
 *
 * @returns what is to be printed
 * @throws CommandError  With a message for the user. `REFUSED`: nothing was changed.
 * @throws MisuseError   The schema or the prefix is not a name that can be used.
 */
export async function resolveCommand(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<string> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: {
      ...operatorOptions,
      done: { type: 'boolean', default: false },
      'not-done': { type: 'boolean', default: false },
      undone: { type: 'boolean', default: false },
      retry: { type: 'boolean', default: false },
      value: { type: 'string' },
      scope: { type: 'string' },
      wait: { type: 'string' },
    },
    allowPositionals: true,
  });
  if (values.help) return HELP;
  const { schema, prefix, scope } = values;
  const [key, ...urls] = positionals;
  if (key === undefined) throw new CommandError('BAD_ARGUMENTS', 'name the call by its key');
  const resolution = resolutionOf(values);
  const waitMs = values.wait === undefined ? WAIT_MS : wholeNumber('--wait', values.wait, 0);
  const id = await withTables({ urls, env, schema, prefix }, async (sql, { durableCall: table }) => {
    const found = scope === undefined ? await onlyOne(sql, table, key) : { scope, key };
    await resolveWithin(waitMs, () => resolveDurableCall(sql, { ...found, ...resolution }, { table }));
    return found;
  });
  if (values.json) return printed({ ...id, ...resolution });
  return `Recorded for ${plain(id.key)} of ${plain(id.scope)}. The next instance that recovers goes on with it.\n`;
}

/** Exactly one of the four. */
function resolutionOf(values: {
  done: boolean;
  'not-done': boolean;
  undone: boolean;
  retry: boolean;
  value?: string;
}): Resolution {
  const verdicts = (['done', 'not-done', 'undone', 'retry'] as const).filter((name) => values[name]);
  const [verdict] = verdicts;
  if (verdict === undefined || verdicts.length > 1) {
    throw new CommandError('BAD_ARGUMENTS', 'say one of --done, --not-done, --undone and --retry');
  }
  if (verdict === 'done')
    return { verdict, ...(values.value === undefined ? {} : { value: parsed(values.value) }) };
  if (values.value !== undefined) throw new CommandError('BAD_ARGUMENTS', '--value goes with --done');
  return verdict === 'retry' ? { retry: true } : { verdict };
}

/** The text is not repeated: it may be secret. */
function parsed(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    throw new CommandError('BAD_ARGUMENTS', '--value must be JSON');
  }
}

async function onlyOne(sql: SqlPort, table: string, key: string): Promise<IdempotencyRecordId> {
  const calls = await inspectDurableCall(sql, key, { table });
  const [first, ...others] = calls.filter(({ id }) => id.key === key).map(({ id }) => id);
  if (first === undefined) throw new CommandError('REFUSED', 'no durable call has this key');
  if (others.length === 0) return first;
  const scopes = [first, ...others].map(({ scope }) => plain(scope)).join(', ');
  throw new CommandError('REFUSED', `several durable calls have this key; choose by --scope: ${scopes}`);
}

const REFUSALS = {
  'in-progress': 'an instance is at it, or pauses between two tries: ask again, or wait longer (--wait)',
  'already-done': 'it is settled already',
  'wrong-state':
    'it is being undone, and can only be --undone or tried again (--retry); or what it came to is not recorded, and wants --value',
};

async function resolveWithin(
  waitMs: number,
  resolve: () => ReturnType<typeof resolveDurableCall>,
): Promise<void> {
  const endMs = performance.now() + waitMs;
  for (;;) {
    const outcome = await resolve();
    if (outcome?.outcome === 'done') return;
    if (outcome === undefined) throw new CommandError('REFUSED', 'no durable call has this key and scope');
    if (outcome.reason !== 'in-progress' || performance.now() >= endMs) {
      throw new CommandError('REFUSED', REFUSALS[outcome.reason]);
    }
    await sleep(ASK_EVERY_MS);
  }
}
