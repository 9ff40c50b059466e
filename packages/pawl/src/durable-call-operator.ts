import { requireLimit } from './columns.ts';
import {
  type DurableCall,
  type InspectedDurableCall,
  isSettled,
  type ListedDurableCall,
  type Resolution,
} from './durable-call-record.ts';
import { durableCallFromRow, inspectedCallFromRow, listedCallFromRow } from './durable-call-row.ts';
import type { IdempotencyRecordId } from './idempotency-record.ts';
import { type Done, done, type Refused, refused } from './outcome.ts';
import type { SqlSession } from './ports.ts';
import { pawlTables } from './tables.ts';
import { requireMs } from './timers.ts';

/** Which durable calls `listDurableCalls` shows. */
export interface DurableCallList {
  /** The table that `pawl migrate` made, with its schema where it has one. */
  readonly table?: string;
  /** Only those of this name. */
  readonly name?: string | undefined;
  /**
   * Only those that want somebody's eye: they are `stuck`, or should have been settled by now, because their effect can no longer
   * come about, or because they were claimed long ago.
   */
  readonly stuck?: boolean;
  /** How long ago "long ago" is, in milliseconds. Default 10 minutes. */
  readonly olderThanMs?: number;
  /** Most calls to show, at least 1. Default 100. */
  readonly limit?: number;
}

export const defaultDurableCallList = { olderThanMs: 600_000, limit: 100 };

/**
 * The durable calls that are not settled, the oldest first, without what they carry, which may be secret.
 *
 * Cost: one statement, which reads no settled call.
 *
 * @throws StoreError
 * @throws MisuseError  `olderThanMs` or `limit`. Nothing was sent.
 */
export async function listDurableCalls(
  sql: SqlSession,
  {
    table = pawlTables().durableCall,
    name,
    stuck = false,
    olderThanMs = defaultDurableCallList.olderThanMs,
    limit = defaultDurableCallList.limit,
  }: DurableCallList = {},
): Promise<readonly ListedDurableCall[]> {
  requireMs({ olderThanMs }, 0);
  requireLimit(limit);
  const stuckAfterMs = stuck ? olderThanMs : undefined;
  const { rows } = await sql.execute(sql.dialect.durableCall.list(table, { name, stuckAfterMs, limit }));
  return rows.map(listedCallFromRow);
}

/** What is shown at once of the calls that have one key or subject. */
const MOST_INSPECTED = 100;

/**
 * All that is recorded of the durable calls whose idempotency key, or whose subject, is `text`, byte by byte, settled ones too; the
 * oldest first, and at most 100. One key may be there in several scopes, and one subject in several attempts.
 *
 * Cost: one statement, which reads the whole table on MySQL, and indexes of it on PostgreSQL, unless `scope` is given.
 *
 * @throws StoreError
 */
export async function inspectDurableCall(
  sql: SqlSession,
  text: string,
  {
    table = pawlTables().durableCall,
    scope,
  }: { readonly table?: string; readonly scope?: string | undefined } = {},
): Promise<readonly InspectedDurableCall[]> {
  const inspect = sql.dialect.durableCall.inspect(table, { text, scope, limit: MOST_INSPECTED });
  return (await sql.execute(inspect)).rows.map(inspectedCallFromRow);
}

/**
 * Records an operator's verdict on a call that is not settled, or lets it be tried again, and ends its lease: an instance of the
 * service takes it over next, and settles it with its own rows.
 *
 * - `done`, with what it came to: it is settled, as if its receiver had answered so. Not of one that is being undone.
 * - `not-done`: its subject is given back. Not of one that is being undone, which has had its effect.
 * - `undone`: it had its effect, and has it no more. Where that was being undone, it is `compensated`; else the subject is given back.
 * - `retry`: an earlier verdict is withdrawn. What was `stuck` is looked up again, and may be sent again where its receiver honours
 *   idempotency keys; or its compensation goes on.
 *
 * The verdict is believed: a `not-done` of a payment that was captured is a payment that nobody has. Whoever was at the call before
 * its lease ended is fenced off.
 *
 * `in-progress`: its lease is not over, so somebody may be at it, or pauses between two tries; ask again. `already-done`: it is
 * settled. `wrong-state`: it would be done, but neither is its value given nor recorded; or it is being undone, and the verdict is another than `undone`. In none of these was anything changed.
 * Undefined: there is no such call.
 *
 * Cost: one statement, two where it is refused.
 *
 * @throws StoreError  After `effect: 'unknown'` it may have been recorded; the same again does no harm.
 */
export async function resolveDurableCall(
  sql: SqlSession,
  { scope, key, ...resolution }: IdempotencyRecordId & Resolution,
  { table = pawlTables().durableCall }: { readonly table?: string } = {},
): Promise<Done<void> | Refused<'in-progress' | 'already-done' | 'wrong-state'> | undefined> {
  const { durableCall } = sql.dialect;
  const { affectedRows } = await sql.execute(durableCall.resolve(table, { scope, key }, resolution));
  if (affectedRows === 1) return done(undefined);
  const { rows } = await sql.execute(durableCall.read(table, { scope, key }));
  const call = rows[0] && durableCallFromRow(rows[0]);
  if (call === undefined) return undefined;
  if (isSettled(call.state)) return refused('already-done');
  const { leaseLeftMs = 0 } = call;
  return refused(leaseLeftMs > 0 || fits(resolution, call) ? 'in-progress' : 'wrong-state');
}

/** Whether the resolution says something that can be true of the call. */
function fits(resolution: Resolution, call: DurableCall): boolean {
  if (!('verdict' in resolution)) return true;
  if (resolution.verdict === 'undone') return true;
  if (call.compensationTry > 0) return false;
  if (resolution.verdict === 'not-done') return true;
  return call.value !== undefined || ('value' in resolution && resolution.value !== undefined);
}
