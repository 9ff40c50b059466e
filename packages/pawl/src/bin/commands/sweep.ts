import { parseArgs } from 'node:util';
import { sqlIdempotencyStore } from '../../idempotency-store.ts';
import { sqlDurableCallStore } from '../../sql-durable-call-store.ts';
import { sweepClaims } from '../../unique-claim.ts';
import { OPERATOR_HELP, operatorOptions, printed, wholeNumber, withTables } from '../operator-command.ts';

export const sweepSummary = 'forgets what may be forgotten';

const BATCH = 1_000;

const HELP = `Usage: pawl sweep [<url>] [--limit <number>] [--schema <name>] [--prefix <name>] [--json]

Forgets the records of idempotency keys and settled durable calls whose retention is over, and the claims whose lease is,
until none is left. It may be run at any time, beside the service, and be interrupted.

  --limit <number>  how many to delete in one transaction (default: ${BATCH})
${OPERATOR_HELP}
Exit codes: 0 done, 2 the connection was lost and what was done is not known, 254 bad arguments, 255 failed.
`;

/**
 * `pawl sweep`.
 *
 * @returns what is to be printed
 * @throws CommandError  With a message for the user.
 * @throws MisuseError   The schema or the prefix is not a name that can be used.
 */
export async function sweepCommand(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<string> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { ...operatorOptions, limit: { type: 'string' } },
    allowPositionals: true,
  });
  if (values.help) return HELP;
  const { schema, prefix } = values;
  const limit = values.limit === undefined ? BATCH : wholeNumber('--limit', values.limit, 1);
  const swept = await withTables({ urls: positionals, env, schema, prefix }, async (sql, tables) => {
    const keys = sqlIdempotencyStore(sql, { table: tables.idempotencyKey });
    const calls = sqlDurableCallStore(sql, { table: tables.durableCall });
    return {
      idempotencyKeys: await inBatches(limit, () => keys.sweep(limit)),
      claims: await inBatches(limit, () =>
        sweepClaims(sql, { table: tables.claim, column: 'expires_at', limit }),
      ),
      durableCalls: await inBatches(limit, () => calls.sweep(limit)),
    };
  });
  if (values.json) return printed(swept);
  const { idempotencyKeys, claims, durableCalls } = swept;
  return `Forgotten: idempotency keys ${idempotencyKeys}, claims ${claims}, durable calls ${durableCalls}\n`;
}

/** Until a batch is not full: beside a service, something is always just over. */
async function inBatches(limit: number, sweep: () => Promise<number>): Promise<number> {
  for (let swept = 0; ; ) {
    const batch = await sweep();
    swept += batch;
    if (batch < limit) return swept;
  }
}
