import { isUtf8 } from 'node:buffer';
import { parseArgs } from 'node:util';
import { inspectDurableCall } from '../../durable-call-operator.ts';
import type { InspectedDurableCall } from '../../durable-call-record.ts';
import { CommandError } from '../command-error.ts';
import { duration, OPERATOR_HELP, operatorOptions, plain, printed, withTables } from '../operator-command.ts';

export const inspectSummary = 'shows all that is recorded of a durable call';

const HELP = `Usage: pawl inspect <key> [<url>] [--scope <scope>] [--schema <name>] [--prefix <name>] [--json]

Shows all that is recorded of the durable calls whose idempotency key, or whose subject, is <key>, settled ones too. What
they carry may be secret.

  --scope <scope>   only those of this scope, as pawl list shows it; without it the search may take long in a large table
${OPERATOR_HELP}
Exit codes: 0 done, 1 there is none, 254 bad arguments, 255 failed.
`;

/**
 * `pawl inspect`.
 *
 * @returns what is to be printed
 * @throws CommandError  With a message for the user. `REFUSED`: there is none.
 * @throws MisuseError   The schema or the prefix is not a name that can be used.
 */
export async function inspectCommand(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<string> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { ...operatorOptions, scope: { type: 'string' } },
    allowPositionals: true,
  });
  if (values.help) return HELP;
  const { schema, prefix, scope } = values;
  const [key, ...urls] = positionals;
  if (key === undefined) throw new CommandError('BAD_ARGUMENTS', 'name the call by its key or subject');
  const calls = await withTables({ urls, env, schema, prefix }, (sql, { durableCall: table }) =>
    inspectDurableCall(sql, key, { table, scope }),
  );
  if (calls.length === 0) throw new CommandError('REFUSED', 'no durable call has this key or subject');
  if (values.json) return printed(calls.map(asJson));
  return calls.map(asText).join('\n');
}

/** A body is bytes: as text where it is any. */
function asJson({ answer, ...call }: InspectedDurableCall) {
  if (answer === undefined) return call;
  const { status, headers, body } = answer;
  const shown = isUtf8(body)
    ? { body: Buffer.from(body).toString() }
    : { bodyInBase64: Buffer.from(body).toString('base64') };
  return { ...call, answer: { status, headers, ...shown } };
}

function asText(call: InspectedDurableCall): string {
  const { answer } = asJson(call) as { answer?: unknown };
  const { leaseLeftMs } = call;
  const lines = {
    call: `${call.name} of ${call.subject}, attempt ${call.attempt}`,
    state: `${call.state}, fence ${call.fence}`,
    key: call.id.key,
    scope: call.id.scope,
    age: `${duration(call.ageMs)}, unchanged for ${duration(call.unchangedMs)}`,
    lease: leaseLeftMs === undefined ? undefined : leaseLeftMs > 0 ? duration(leaseLeftMs) : 'over',
    final: call.isFinal ? 'its effect can no longer come about' : undefined,
    code: call.code,
    verdict: call.verdict,
    request: JSON.stringify(call.request),
    value: call.value === undefined ? undefined : JSON.stringify(call.value),
    compensation: call.compensationTry === 0 ? undefined : `try ${call.compensationTry}`,
    payload: `SHA-256 ${call.fingerprint}`,
    answer: answer === undefined ? undefined : JSON.stringify(answer),
  };
  return Object.entries(lines)
    .flatMap(([title, text]) => (text === undefined ? [] : [`${title.padEnd(14)}${plain(text)}\n`]))
    .join('');
}
