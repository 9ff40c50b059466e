import type {
  DurableCall,
  DurableCallChange,
  DurableCallState,
  InspectedDurableCall,
  ListedDurableCall,
  NewDurableCall,
  Resolution,
  Verdict,
} from './durable-call-record.ts';
import {
  asciiJson,
  bytes,
  encodedHeaders,
  type IdempotencyRecordId,
  type StoredAnswer,
} from './idempotency-record.ts';
import type { Columns, Row } from './ports.ts';
import { requireMs } from './timers.ts';

/**
 * How a durable call stands in its row, whichever the database: times, and what is told apart byte by byte, each dialect has in
 * a way of its own.
 */

/** The columns of a new call, but for its names and its times. */
export function newColumns(call: NewDurableCall): Columns {
  return {
    fingerprint: Buffer.from(call.fingerprint, 'hex'),
    attempt: call.attempt,
    state: call.state,
    fence: 1,
    request: asciiJson(call.request),
    value: call.value === undefined ? null : asciiJson(call.value),
    compensation_try: firstTry(call),
    code: call.code === undefined ? null : encodedCode(call.code),
  };
}

/** What a store gives back of a call that it has just recorded. */
export function recordedCall(call: NewDurableCall): DurableCall {
  return {
    id: call.id,
    name: call.name,
    subject: call.subject,
    attempt: call.attempt,
    fingerprint: call.fingerprint,
    state: call.state,
    fence: 1,
    leaseLeftMs: call.leaseMs,
    isFinal: false,
    request: call.request,
    value: call.value,
    compensationTry: firstTry(call),
    code: call.code,
    verdict: undefined,
    answer: undefined,
    ageMs: 0,
  };
}

/**
 * The columns of a change, but for its times.
 *
 * A verdict does not outlive the beginning of a compensation. It was about the effect, and whoever takes over a call that is
 * compensated would read it as "this is undone".
 */
export function changedColumns(change: DurableCallChange): Columns {
  const code = change.code === undefined ? {} : { code: encodedCode(change.code) };
  if ('retentionMs' in change) {
    return { state: change.state, ...code, ...(change.answer && answerColumns(change.answer)) };
  }
  const { state, value, compensationTry } = change;
  return {
    state,
    ...code,
    ...(value === undefined ? {} : { value: asciiJson(value) }),
    ...(compensationTry === undefined ? {} : { compensation_try: compensationTry }),
    ...(state === 'compensating' ? { verdict: null } : {}),
  };
}

/** What the call came to, as an operator says with his verdict. */
export function givenValue(resolution: Resolution): string | null {
  if (!('value' in resolution) || resolution.value === undefined) return null;
  return asciiJson(resolution.value);
}

/** The columns that both dialects read. @throws MisuseError  As `recordFromRow`. */
export function durableCallFromRow(row: Row): DurableCall {
  return {
    ...namedFromRow(row),
    fingerprint: bytes(row.fingerprint).toString('hex'),
    request: JSON.parse(String(row.request)),
    value: row.value === null ? undefined : JSON.parse(String(row.value)),
    answer:
      row.status === null
        ? undefined
        : {
            status: Number(row.status),
            headers: JSON.parse(String(row.headers)),
            body: bytes(row.body),
          },
  };
}

export function listedCallFromRow(row: Row): ListedDurableCall {
  return { ...namedFromRow(row), unchangedMs: Number(row.unchanged_ms) };
}

export function inspectedCallFromRow(row: Row): InspectedDurableCall {
  return { ...durableCallFromRow(row), unchangedMs: Number(row.unchanged_ms) };
}

/** Of a row with the columns of the id. */
export function durableCallId(row: Row): IdempotencyRecordId {
  return { scope: text(row.scope), key: text(row.idempotency_key) };
}

/** Of a row with its column. */
export function durableCallSubject(row: Row): string {
  return text(row.subject);
}

function namedFromRow(row: Row): Omit<ListedDurableCall, 'unchangedMs'> {
  return {
    id: durableCallId(row),
    name: text(row.name),
    subject: durableCallSubject(row),
    attempt: Number(row.attempt),
    state: String(row.state) as DurableCallState,
    fence: Number(row.fence),
    leaseLeftMs: row.lease_left_ms === null ? undefined : Number(row.lease_left_ms),
    isFinal: Number(row.is_final) === 1,
    compensationTry: Number(row.compensation_try),
    code: row.code === null ? undefined : JSON.parse(`"${row.code}"`),
    verdict: row.verdict === null ? undefined : (String(row.verdict) as Verdict),
    ageMs: Number(row.age_ms),
  };
}

function firstTry({ state }: NewDurableCall): number {
  return state === 'compensating' ? 1 : 0;
}

function answerColumns(answer: StoredAnswer): Columns {
  return { status: answer.status, headers: encodedHeaders(answer), body: Buffer.from(answer.body) };
}

/** A code is somebody else's word. As JSON without its quotes any text can be stored, and a plain one stays as it is. */
function encodedCode(code: string): string {
  return asciiJson(code).slice(1, -1);
}

/** Text to one database, bytes to the other. */
function text(value: unknown): string {
  return typeof value === 'string' ? value : bytes(value).toString();
}

/** A time that MySQL cannot hold would become NULL, and a lease that is NULL never ends. */
export function requireTimes(times: Partial<NewDurableCall> | DurableCallChange): void {
  if ('leaseMs' in times && times.leaseMs !== undefined) requireMs({ leaseMs: times.leaseMs }, 0);
  if ('retentionMs' in times) requireMs({ retentionMs: times.retentionMs }, 0);
  // Its end may be past already.
  if ('finalAfterMs' in times && times.finalAfterMs !== undefined) {
    requireMs({ finalAfterMs: times.finalAfterMs }, Number.MIN_SAFE_INTEGER);
  }
}
