import {
  type DurableCall,
  type DurableCallChange,
  type DurableCallStore,
  done,
  type NewDurableCall,
  refused,
  type StoredAnswer,
} from 'pawl';
import type { Clock } from './clock.ts';
import type { Counts } from './counts.ts';
import { Table, type Trx, transact } from './table.ts';

/** The record of a durable call, with moments of the model's clock in place of what is left until them. */
export interface CallRecord {
  readonly call: DurableCall;
  /** Undefined: nobody may take it over. */
  readonly leaseUntil: number | undefined;
  readonly finalAfter: number | undefined;
  readonly isSettled: boolean;
}

type RecordId = DurableCall['id'];

/** A store of durable calls beside the model's rows. Every method is one atomic step, as of a database. */
export interface ModelStore extends DurableCallStore<Trx> {
  readonly records: Table<CallRecord>;
}

export function modelStore(clock: Clock, counts: Counts): ModelStore {
  const records = new Table<CallRecord>();

  /** As it is read now. */
  const read = ({ call, leaseUntil, finalAfter }: CallRecord): DurableCall => ({
    ...call,
    leaseLeftMs: leaseUntil === undefined ? undefined : leaseUntil - clock.now,
    isFinal: finalAfter !== undefined && finalAfter <= clock.now,
  });

  const unsettledOf = (id: RecordId, fence: number): CallRecord | undefined => {
    const found = records.get(keyOf(id));
    if (found !== undefined && !found.isSettled && found.call.fence === fence) return found;
    counts.saw('write refused by the fence');
    return undefined;
  };

  const write = (trx: Pick<Trx, 'undo'>, id: RecordId, fence: number, change: DurableCallChange): boolean => {
    const found = unsettledOf(id, fence);
    if (found === undefined) return false;
    records.put(trx, keyOf(id), changed(found, change, clock.now));
    counts.saw(`record became ${change.state}`);
    return true;
  };

  return {
    records,
    claim: (claim) =>
      transact(async (trx) => {
        const claimed = await claim(trx);
        if (claimed.outcome !== 'done') return claimed;
        const isThere = [...records.all()].some(({ call }) => isSame(call, claimed.value));
        if (isThere) return refused('already-done');
        const record = recordOf(claimed.value, clock.now);
        records.put(trx, keyOf(claimed.value.id), record);
        return done(read(record));
      }),
    settle: (id, fence, decide) =>
      transact(async (trx) => {
        const decided = await decide(trx);
        if (decided.outcome !== 'done') return decided;
        return write(trx, id, fence, decided.value) ? done(undefined) : refused('fenced');
      }),
    async change(id, fence, change) {
      return write({ undo: [] }, id, fence, change);
    },
    reopen: ({ name, subject, attempt }, decide) =>
      transact(async (trx) => {
        const decided = await decide(trx);
        if (decided.outcome !== 'done') return decided;
        const found = [...records.all()].find(
          ({ call }) =>
            call.name === name &&
            call.subject === subject &&
            call.attempt === attempt &&
            call.state === 'done',
        );
        if (found === undefined) return refused('wrong-state');
        const { value, leaseMs } = decided.value;
        const reopened: CallRecord = {
          ...found,
          call: {
            ...found.call,
            state: 'compensating',
            fence: found.call.fence + 1,
            value,
            compensationTry: 1,
          },
          leaseUntil: until(clock.now, leaseMs),
          isSettled: false,
        };
        records.put(trx, keyOf(found.call.id), reopened);
        return done(read(reopened));
      }),
    forget: (id, fence, give) =>
      transact(async (trx) => {
        await give(trx);
        if (unsettledOf(id, fence) === undefined) return refused('fenced');
        records.delete(trx, keyOf(id));
        return done(undefined);
      }),
    async takeOver(name, limit, leaseMs) {
      const overdue = [...records.all()]
        .filter(({ call, leaseUntil }) => call.name === name && isOver(leaseUntil, clock.now))
        .sort((a, b) => Number(a.leaseUntil) - Number(b.leaseUntil))
        .slice(0, limit);
      return overdue.map((record) => {
        const { call } = record;
        const state = call.state === 'calling' ? 'unknown' : call.state;
        const taken = {
          ...record,
          call: { ...call, state, fence: call.fence + 1 },
          leaseUntil: clock.now + leaseMs,
        };
        records.put({ undo: [] }, keyOf(call.id), taken);
        counts.saw(`taken over while ${call.state}`);
        return read(taken);
      });
    },
    async find(id) {
      const found = records.get(keyOf(id));
      return found && read(found);
    },
    sweep: async () => 0,
  };
}

/** Whether somebody may take it over. A settled record has no lease. */
export function isOver(leaseUntil: number | undefined, now: number): boolean {
  return leaseUntil !== undefined && leaseUntil <= now;
}

export function keyOf({ scope, key }: RecordId): string {
  return `${scope} ${key}`;
}

function isSame(call: DurableCall, added: NewDurableCall): boolean {
  if (call.id.scope === added.id.scope && call.id.key === added.id.key) return true;
  return call.name === added.name && call.subject === added.subject && call.attempt === added.attempt;
}

function recordOf({ leaseMs, finalAfterMs, ...call }: NewDurableCall, now: number): CallRecord {
  return {
    call: {
      ...call,
      fence: 1,
      leaseLeftMs: leaseMs,
      isFinal: false,
      value: call.value,
      compensationTry: 0,
      code: call.code,
      verdict: undefined,
      answer: undefined,
      ageMs: 0,
    },
    leaseUntil: until(now, leaseMs),
    finalAfter: until(now, finalAfterMs),
    isSettled: false,
  };
}

function changed({ call, finalAfter }: CallRecord, change: DurableCallChange, now: number): CallRecord {
  const { state, code = call.code } = change;
  if ('retentionMs' in change) {
    const answer: StoredAnswer | undefined = change.answer ?? call.answer;
    return { call: { ...call, state, code, answer }, leaseUntil: undefined, finalAfter, isSettled: true };
  }
  const { value = call.value, compensationTry = call.compensationTry } = change;
  const end = until(now, change.leaseMs);
  const isBounded = change.notAfterFinal && end !== undefined && finalAfter !== undefined && finalAfter > now;
  return {
    call: { ...call, state, code, value, compensationTry },
    leaseUntil: isBounded ? Math.min(end, finalAfter) : end,
    finalAfter,
    isSettled: false,
  };
}

function until(now: number, ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : now + ms;
}
