import type { LockHistory, SeenWait } from './lock-history.ts';
import type { LockHolder, LockWait } from './lock-wait.ts';
import { inOneLine } from './statement-text.ts';

const STATEMENT_LENGTH = 300;
/** A queue at one row has as many as stand before. */
const MOST_HOLDERS = 3;

/** A wait that has begun, for a person who reads `SHOW ENGINE INNODB STATUS`. */
export function beginningOf(wait: LockWait): string[] {
  const { waiter, holders } = wait;
  const more = holders.length - MOST_HOLDERS;
  return [
    `${sessionOf(waiter)} waits for ${lockOf(wait)}`,
    `  its statement: ${statementOf(waiter.statement)}`,
    ...(holders.length === 0 ? ['  who is in its way is not told'] : []),
    ...holders.slice(0, MOST_HOLDERS).map((holder) => `  ${holderText(holder, waiter.statement)}`),
    ...(more > 0 ? [`  and ${more} more before it`] : []),
  ];
}

/** The end of a wait, with its length as far as it was seen. */
export function endOf({ wait, lastedMs }: SeenWait): string {
  return `session ${wait.waiter.session} has waited ${milliseconds(lastedMs)} for ${lockOf(wait)}`;
}

/** All waits of a while: how many, the longest, and by what was waited for. */
export function summaryOf({ all, mostAtOnce, samples }: LockHistory): string[] {
  const seen = all();
  const [longest] = seen;
  if (longest === undefined) return [`Nobody was seen waiting for a lock in ${samples} looks.`];
  const groups = [...Map.groupBy(seen, ({ wait }) => targetOf(wait))];
  return [
    `${seen.length} ${seen.length === 1 ? 'wait' : 'waits'} seen in ${samples} looks, at most ${mostAtOnce} at once, ` +
      `the longest ${milliseconds(longest.lastedMs)}:`,
    ...groups
      .toSorted(([, a], [, b]) => b.length - a.length)
      .map(([target, waits]) => {
        const most = Math.max(...waits.map(({ lastedMs }) => lastedMs));
        return `  ${waits.length} × ${target}, the longest ${milliseconds(most)}`;
      }),
  ];
}

function milliseconds(ms: number): string {
  return `${ms.toFixed(0)} ms`;
}

function sessionOf({ session, application }: { session: string; application: string | undefined }): string {
  return application === undefined ? `session ${session}` : `session ${session} (${application})`;
}

/** `row lock X (RECORD) on publish, index PRIMARY, record 7`; in parentheses is the database's own word. */
function lockOf(wait: LockWait): string {
  const record = wait.record === undefined ? '' : `, record ${wait.record}`;
  return `${targetOf(wait, ` (${wait.lockType})`)}${record}`;
}

function targetOf({ kind, mode, table, index }: LockWait, detail = ''): string {
  const lock = mode === undefined ? `${kind} lock` : `${kind} lock ${mode}`;
  const where = table === undefined ? '' : ` on ${table}`;
  return `${lock}${detail}${where}${index === undefined ? '' : `, index ${index}`}`;
}

function holderText(holder: LockHolder, waiting: string | undefined): string {
  const { statement, lastStatement, idleInTransaction, certain } = holder;
  const last = lastStatement === undefined ? '' : `, after: ${statementOf(lastStatement)}`;
  const running =
    statement !== undefined && statement === waiting ? 'the same statement' : statementOf(statement);
  return `${certain ? 'blocked by' : 'perhaps blocked by'} ${sessionOf(holder)}: ${idleInTransaction ? `idle in transaction${last}` : running}`;
}

function statementOf(statement: string | undefined): string {
  return statement === undefined ? 'not told' : inOneLine(statement, STATEMENT_LENGTH);
}
