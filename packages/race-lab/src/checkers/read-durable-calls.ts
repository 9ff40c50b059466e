import type { Row } from '../cluster/database-session.ts';
import { databaseKind } from '../cluster/store.ts';
import type { DurableCallRow } from '../history/durable-calls.ts';
import { inSnapshot } from './snapshot.ts';

/** A moment as milliseconds since 1970; MySQL's are in UTC without saying so. */
const ms = {
  postgres: (column: string) => `(extract(epoch FROM ${column}) * 1000)::float8`,
  mysql: (column: string) => `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ${column}) / 1000`,
};

/**
 * Reads what the shop records of its durable calls, by the time at which they were claimed.
 *
 * @throws the driver's error, and SyntaxError when a record's request is no JSON.
 */
export function readDurableCalls(databaseUrl: string): Promise<DurableCallRow[]> {
  const msOf = ms[databaseKind(databaseUrl)];
  return inSnapshot(databaseUrl, async (query) => {
    const calls = await query(`
      SELECT subject, attempt, state, fence, request, ${msOf('created_at')} AS created_at_ms,
             ${msOf('changed_at')} AS changed_at_ms, ${msOf('final_after')} AS final_after_ms
        FROM pawl_durable_call ORDER BY created_at`);
    return calls.map(callOf);
  });
}

function callOf(row: Row): DurableCallRow {
  const { orderId } = JSON.parse(String(row.request)) as { orderId?: unknown };
  return {
    subject: String(row.subject),
    orderId: String(orderId),
    attempt: Number(row.attempt),
    state: String(row.state),
    fence: Number(row.fence),
    createdAtMs: Number(row.created_at_ms),
    changedAtMs: Number(row.changed_at_ms),
    finalAfterMs: row.final_after_ms === null ? null : Number(row.final_after_ms),
  };
}
