import { requireLimit } from '../columns.ts';
import type { IdempotencyRecord, IdempotencyRecordId, StoredAnswer } from '../idempotency-record.ts';
import type { IdempotencyStore } from '../idempotency-store.ts';

interface Held extends Omit<IdempotencyRecord, 'leaseLeftMs'> {
  readonly leaseUntilMs: number;
  readonly expiresAtMs: number;
}

export interface MemoryIdempotencyStoreOptions {
  /** For tests: a clock that does not go back, in milliseconds. */
  readonly nowMs?: () => number;
}

/** How many records are looked at for each claim, so that the expired ones do not pile up. */
const SWEPT_PER_CLAIM = 4;

/**
 * Records in the memory of this process: for tests, and for a service that will never have a second instance.
 *
 * **What it does not promise:** anything to another process, or after the end of this one.
 */
export function memoryIdempotencyStore({
  nowMs = () => performance.now(),
}: MemoryIdempotencyStoreOptions = {}): IdempotencyStore {
  const records = new Map<string, Held>();
  const keyOf = ({ scope, key }: IdempotencyRecordId) => `${scope}${key}`;

  function find(id: IdempotencyRecordId): Held | undefined {
    const held = records.get(keyOf(id));
    return held !== undefined && held.expiresAtMs > nowMs() ? held : undefined;
  }

  function mine(id: IdempotencyRecordId, owner: string): Held | undefined {
    const held = find(id);
    return held?.owner === owner && held.answer === undefined ? held : undefined;
  }

  function write(id: IdempotencyRecordId, held: Held): void {
    records.set(keyOf(id), held);
  }

  /** A copy each time: what a caller does to its bytes is not done to the record. */
  function shown({ leaseUntilMs, expiresAtMs, answer, ...record }: Held): IdempotencyRecord {
    return { ...record, leaseLeftMs: leaseUntilMs - nowMs(), answer: answer && copied(answer) };
  }

  let looking = records.entries();

  /** Goes on where the last claim has stopped. */
  function sweepSome(): void {
    for (let looked = 0; looked < SWEPT_PER_CLAIM; looked++) {
      const next = looking.next();
      if (next.done) {
        looking = records.entries();
        return;
      }
      const [key, held] = next.value;
      if (held.expiresAtMs <= nowMs()) records.delete(key);
    }
  }

  return {
    kind: 'memory',
    async claim({ mode, fingerprint, owner, leaseMs, retentionMs, ...id }) {
      sweepSome();
      const found = find(id);
      const free =
        found === undefined ||
        (found.answer === undefined && found.fingerprint === fingerprint && found.leaseUntilMs <= nowMs());
      if (!free) return { claimed: false, record: shown(found) };
      const attempt = (found?.attempt ?? 0) + 1;
      const times = { leaseUntilMs: nowMs() + leaseMs, expiresAtMs: nowMs() + retentionMs };
      write(id, { mode, fingerprint, owner, attempt, answer: undefined, ...times });
      return { claimed: true, attempt };
    },
    async renew(id, owner, { leaseMs, retentionMs }) {
      const held = mine(id, owner);
      if (held === undefined) return false;
      write(id, { ...held, leaseUntilMs: nowMs() + leaseMs, expiresAtMs: nowMs() + retentionMs });
      return true;
    },
    async complete(id, owner, answer, retentionMs) {
      const held = mine(id, owner);
      if (held === undefined) return false;
      write(id, { ...held, answer: copied(answer), expiresAtMs: nowMs() + retentionMs });
      return true;
    },
    async release(id, owner) {
      return mine(id, owner) !== undefined && records.delete(keyOf(id));
    },
    async read(id) {
      const held = find(id);
      return held && shown(held);
    },
    async sweep(limit) {
      requireLimit(limit);
      const expired = [...records].filter(([, { expiresAtMs }]) => expiresAtMs <= nowMs()).slice(0, limit);
      for (const [key] of expired) records.delete(key);
      return expired.length;
    },
  };
}

function copied(answer: StoredAnswer): StoredAnswer {
  return { ...answer, headers: { ...answer.headers }, body: Uint8Array.from(answer.body) };
}
