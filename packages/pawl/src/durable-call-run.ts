import { failpoint } from '#failpoint';
import type { Compensating, CompensationFound, CompensationSent } from './compensation.ts';
import type { DurableCallDefinition } from './durable-call-definition.ts';
import {
  type AttemptRef,
  type DurableCall,
  type DurableCallChange,
  isSettled,
  type Json,
  type OutwardCall,
} from './durable-call-record.ts';
import type { DurableCallRules, Found, Heard, Holding, Move, Sent } from './durable-call-rules.ts';
import type { DurableCallStore, SettleGrouped, SettleItem } from './durable-call-store.ts';
import { StoreError } from './errors.ts';
import type { GroupRefusal } from './group-commit.ts';
import type { Answer, IdempotencyRecordId, StoredAnswer } from './idempotency-record.ts';
import { type InProgress, inProgress } from './idempotency-run.ts';
import { happened, type ObservedOperation, observed, type Seen } from './observe.ts';
import type { Ending } from './observer.ts';
import { type Done, done, type Refused, refused } from './outcome.ts';
import { pauseMs } from './transaction.ts';

/**
 * - `failed`: a step of it threw; it is taken over when its lease is over.
 * - `unknown`: its outcome was not heard, and recovery has to find it out.
 * - `stuck`: only an operator can settle it.
 * - `recovery-failed`: the store could not be asked for calls to take over, or to forget.
 */
export interface DurableCallEvent {
  readonly kind: 'failed' | 'unknown' | 'stuck' | 'recovery-failed';
  /** Absent where it is about none. */
  readonly call?: AttemptRef & { readonly id: IdempotencyRecordId; readonly fence: number };
  readonly code?: string;
  readonly cause?: unknown;
}

/** It is not known yet. Ask again with the same request, which is never sent twice; recovery finds it out. */
export interface UnknownCall {
  readonly outcome: 'unknown';
  readonly code: string | undefined;
}

/** Nothing was sent, and the claim is undone: the request may be sent again. */
export interface NotSentCall extends Refused<'overloaded'> {
  readonly code: string;
}

/**
 * `done` is that it has been answered: with what `settle`, `release` or the compensation's `ended` gave. `replayed`: it was
 * answered before.
 */
export type DurableCallOutcome = Done<Answer> | UnknownCall | NotSentCall;

export interface DurableRunSettings<Transaction, Request extends Json, Value extends Json> {
  readonly store: DurableCallStore<Transaction>;
  readonly definition: Omit<DurableCallDefinition<Transaction, Request, Value>, 'grouped'>;
  /** Settles together with others. Absent: each alone. */
  readonly settleGrouped: SettleGrouped<Request, Value> | undefined;
  readonly times: {
    readonly leaseMs: number;
    readonly retentionMs: number;
    readonly recovery: { readonly pauseMs: number; readonly maxPauseMs: number; readonly jitter: number };
  };
  readonly rules: DurableCallRules;
  readonly stored: (answer: Answer) => StoredAnswer;
  readonly onEvent: (event: DurableCallEvent) => void;
}

/** Nothing that could be read came back. */
interface Unheard {
  readonly outcome: 'unknown';
  readonly code: string;
}

/** The code of an outward step that threw, although it should have answered. */
const THREW = 'THREW';
/** Somebody else has taken it over, and is at it. */
const TAKEN_OVER = 'TAKEN_OVER';

/** Outward steps answer in words of their own: what the receiver refuses is declined, whatever its code. */
function endingOfAnswer({
  outcome,
}: Pick<Sent<unknown> | Found<unknown> | CompensationFound, 'outcome'>): Ending {
  if (outcome === 'done') return { outcome, replayed: false };
  if (outcome === 'unknown') return { outcome };
  return { outcome: 'refused', reason: outcome === 'refused' ? 'declined' : outcome };
}

const SEND = { guard: 'durable-call', step: 'send', endingOf: endingOfAnswer } as const;
const LOOK_UP = { guard: 'durable-call', step: 'look-up', endingOf: endingOfAnswer } as const;
const COMPENSATE = { guard: 'compensation', step: 'send', endingOf: endingOfAnswer } as const;
const LOOK_UP_COMPENSATION = { guard: 'compensation', step: 'look-up', endingOf: endingOfAnswer } as const;
const SETTLE = { guard: 'durable-call', step: 'settle' } as const;
const RELEASE = { guard: 'durable-call', step: 'release' } as const;
const FORGET = { guard: 'durable-call', step: 'forget' } as const;
const BEGIN_COMPENSATION = { guard: 'compensation', step: 'begin' } as const;
const END_COMPENSATION = { guard: 'compensation', step: 'end' } as const;

/** As who comes alone is told of it. */
function notWritten(reason: Exclude<GroupRefusal, 'overloaded'>): StoreError {
  const code = reason === 'lock-timeout' ? 'LOCK_TIMEOUT' : 'DEADLOCK';
  return new StoreError(code, 'none', `settling it together with others was refused: ${reason}`);
}

/** What a record means to a request. */
export function outcomeOfCall(
  call: DurableCall,
  fingerprint: string,
): Done<Answer> | InProgress | Refused<'payload-mismatch'> | UnknownCall {
  if (call.fingerprint !== fingerprint) return refused('payload-mismatch');
  if (call.answer !== undefined) return done(call.answer, { replayed: true });
  const { leaseLeftMs = 0 } = call;
  // Once anybody but its owner is at it, it may last as long as its session: that is for the client to know.
  return call.state === 'calling' && leaseLeftMs > 0
    ? inProgress(leaseLeftMs)
    : { outcome: 'unknown', code: call.code };
}

/** One hold of a call, from its claim or takeover until it is settled, or left to whoever comes next. */
export class DurableRun<Transaction, Request extends Json, Value extends Json> {
  readonly #settings: DurableRunSettings<Transaction, Request, Value>;
  readonly #call: DurableCall;
  readonly #seen: Seen | undefined;
  readonly #outward: OutwardCall<Request>;
  #heard: Heard<Value>;
  /** What is to be undone, from the moment that the intent to do so is committed. */
  #value: Value | undefined;

  /** @param begun  Its compensation has been begun here, and nobody has sent it yet. */
  constructor(
    settings: DurableRunSettings<Transaction, Request, Value>,
    call: DurableCall,
    begun: boolean,
    seen: Seen | undefined,
  ) {
    this.#settings = settings;
    this.#call = call;
    this.#seen = seen;
    this.#outward = {
      token: settings.rules.token(call),
      subject: call.subject,
      attempt: call.attempt,
      request: call.request as Request,
    };
    this.#value = call.value as Value | undefined;
    this.#heard = begun ? { of: 'compensation-began' } : { of: 'nothing' };
  }

  async run(): Promise<DurableCallOutcome> {
    const { rules, definition } = this.#settings;
    const holding: Holding = {
      call: this.#call,
      repeat: definition.repeat,
      compensates: definition.compensation !== undefined,
    };
    for (;;) {
      const ended = await this.#make(rules.next(holding, this.#heard));
      if (ended !== undefined) return ended;
    }
  }

  /** @returns undefined while there is more to do. */
  async #make(move: Move<Value>): Promise<DurableCallOutcome | undefined> {
    switch (move.do) {
      case 'send':
        this.#heard = { of: 'send', sent: await this.#send() };
        return undefined;
      case 'look-up':
        this.#heard = { of: 'look-up', found: await this.#lookUp() };
        return undefined;
      case 'settle':
        return this.#settle(move.value);
      case 'release':
        return this.#release(move);
      case 'forget':
        return this.#forget(move.code);
      case 'begin-compensation':
        return this.#beginCompensation(move);
      case 'compensate':
        this.#heard = { of: 'compensation', sent: await this.#compensate() };
        return undefined;
      case 'look-up-compensation':
        this.#heard = {
          of: 'compensation-look-up',
          found: await this.#lookUpCompensation(),
          afterRefusal: move.afterRefusal,
        };
        return undefined;
      case 'end-compensation':
        return this.#endCompensation();
      case 'leave':
        return this.#leave(move);
    }
  }

  async #send(): Promise<Sent<Value>> {
    const { definition } = this.#settings;
    const send = () => this.#hear(SEND, () => definition.send(this.#outward));
    if (this.#call.fence > 1) {
      failpoint('durable-call.send-again.before');
      const sent = await send();
      failpoint('durable-call.send-again.after');
      return sent;
    }
    failpoint('durable-call.send.before');
    const sent = await send();
    failpoint('durable-call.send.after');
    return sent;
  }

  async #lookUp(): Promise<Found<Value>> {
    failpoint('durable-call.look-up.before');
    const found = await this.#hear(LOOK_UP, () => this.#settings.definition.lookUp(this.#outward));
    failpoint('durable-call.look-up.after');
    return found;
  }

  async #compensate(): Promise<CompensationSent> {
    failpoint('compensation.send.before');
    const sent = await this.#hear(COMPENSATE, () => this.#compensation.send(this.#undoing()));
    failpoint('compensation.send.after');
    return sent;
  }

  async #lookUpCompensation(): Promise<CompensationFound> {
    failpoint('compensation.look-up.before');
    const found = await this.#hear(LOOK_UP_COMPENSATION, () => this.#compensation.lookUp(this.#undoing()));
    failpoint('compensation.look-up.after');
    return found;
  }

  /** Whatever goes wrong on the way out and back, it says nothing about the effect. */
  #hear<Answered>(
    step: ObservedOperation<Answered | Unheard>,
    ask: () => Promise<Answered>,
  ): Promise<Answered | Unheard> {
    return observed(step, undefined, (run, asked) => run.#heardOf(asked), this, ask);
  }

  async #heardOf<Answered>(ask: () => Promise<Answered>): Promise<Answered | Unheard> {
    try {
      return await ask();
    } catch (cause) {
      this.#tell('failed', { code: THREW, cause });
      return { outcome: 'unknown', code: THREW };
    }
  }

  async #settle(value: Value): Promise<DurableCallOutcome | undefined> {
    const { definition, settleGrouped } = this.#settings;
    failpoint('durable-call.settle.before');
    const within = () => failpoint('durable-call.settle.within');
    const alone = async (transaction: Transaction) => {
      const answered = await definition.settle(transaction, this.#outward, value);
      if (answered.outcome !== 'done') return answered;
      within();
      return done(this.#answered('done', answered.value));
    };
    // Who has taken it over settles alone.
    const shares = settleGrouped !== undefined && this.#call.fence === 1;
    const settled = await this.#write(
      SETTLE,
      alone,
      shares ? () => settleGrouped(this.#settlement(value, within)) : undefined,
    );
    if (settled.objection !== undefined) {
      this.#heard = { of: 'settle', refused: settled.objection, value };
      return undefined;
    }
    failpoint('durable-call.settle.after');
    return settled.outcome;
  }

  #settlement(value: Value, within: () => void): SettleItem<Request, Value> {
    const { stored, times } = this.#settings;
    const { id, fence } = this.#call;
    return {
      id,
      fence,
      settlement: { call: this.#outward, value },
      completed(answer) {
        const completed = { answer: stored(answer), retentionMs: times.retentionMs };
        within();
        return completed;
      },
    };
  }

  async #release(move: Extract<Move<Value>, { do: 'release' }>): Promise<DurableCallOutcome | undefined> {
    const { definition } = this.#settings;
    const isOwners = this.#call.fence === 1;
    if (isOwners) failpoint('durable-call.decline.before');
    else failpoint('durable-call.release.before');
    const { outcome } = await this.#write(RELEASE, async (transaction) => {
      const answer = await definition.release(transaction, this.#outward, move.why);
      if (isOwners) failpoint('durable-call.decline.within');
      else failpoint('durable-call.release.within');
      const code = 'code' in move.why && move.why.code !== undefined ? { code: move.why.code } : {};
      return done({ ...this.#answered('released', answer), ...code });
    });
    if (isOwners) failpoint('durable-call.decline.after');
    else failpoint('durable-call.release.after');
    return outcome;
  }

  async #forget(code: string): Promise<DurableCallOutcome> {
    const { store, definition } = this.#settings;
    failpoint('durable-call.forget.before');
    const forgotten = await this.#unlessFenced(FORGET, () =>
      store.forget(this.#call.id, this.#call.fence, (transaction) =>
        definition.forget(transaction, this.#outward, code),
      ),
    );
    failpoint('durable-call.forget.after');
    if (forgotten.outcome !== 'done') return this.#asItIs();
    return { ...refused('overloaded'), code };
  }

  async #beginCompensation(
    move: Extract<Move<Value>, { do: 'begin-compensation' }>,
  ): Promise<DurableCallOutcome | undefined> {
    const { leaseMs } = this.#settings.times;
    failpoint('compensation.begin.before');
    const begun = await this.#write(BEGIN_COMPENSATION, async (transaction) => {
      const undoing = { ...this.#outward, value: move.value };
      const began = await this.#compensation.began(transaction, undoing, move.why);
      if (began.outcome !== 'done') return began;
      failpoint('compensation.begin.within');
      const { value } = move;
      return done({ state: 'compensating', leaseMs, value, compensationTry: 1 } as const);
    });
    if (begun.objection !== undefined) {
      this.#heard = { of: 'compensation-refused' };
      return undefined;
    }
    if (begun.fenced) return begun.outcome;
    failpoint('compensation.begin.after');
    this.#value = move.value;
    this.#heard = { of: 'compensation-began' };
    return undefined;
  }

  async #endCompensation(): Promise<DurableCallOutcome | undefined> {
    failpoint('compensation.end.before');
    const ended = await this.#write(END_COMPENSATION, async (transaction) => {
      const answer = await this.#compensation.ended(transaction, this.#undoing());
      failpoint('compensation.end.within');
      return done(this.#answered('compensated', answer));
    });
    failpoint('compensation.end.after');
    return ended.outcome;
  }

  async #leave(move: Extract<Move<Value>, { do: 'leave' }>): Promise<DurableCallOutcome> {
    const { store } = this.#settings;
    const { id, fence, compensationTry } = this.#call;
    const compensating = move.state === 'compensating';
    const change: DurableCallChange = {
      state: move.state,
      leaseMs: this.#leaseMs(move.takenOver),
      notAfterFinal: !compensating,
      ...(move.code === undefined ? {} : { code: move.code }),
      ...(move.nextTry ? { compensationTry: Math.max(1, compensationTry) + 1 } : {}),
    };
    const owners = move.takenOver === 'at-once';
    if (compensating) failpoint('compensation.wait.before');
    else if (owners) failpoint('durable-call.unknown.before');
    else failpoint('durable-call.wait.before');
    const ours = await store.change(id, fence, change);
    if (compensating) failpoint('compensation.wait.after');
    else if (owners) failpoint('durable-call.unknown.after');
    else failpoint('durable-call.wait.after');
    if (!ours) return this.#asItIs();
    const code = move.code ?? this.#call.code;
    if (owners) this.#tell('unknown', { code });
    if (move.takenOver === 'never') this.#tell('stuck', { code });
    return { outcome: 'unknown', code };
  }

  /**
   * In one transaction with the caller's rows, and only while nobody else has taken the call over. Those rows are written before
   * the fence is asked, so who has lost it may find them in a state that he does not expect: then his objection means nothing.
   *
   * @param together  Does the same together with others. Where too many wait for that, it is done alone: the effect is there.
   */
  async #write(
    step: ObservedOperation,
    decide: (transaction: Transaction) => Promise<Done<DurableCallChange> | Refused>,
    together?: () => ReturnType<SettleGrouped<Request, Value>>,
  ): Promise<{ outcome: DurableCallOutcome | undefined; objection?: Refused; fenced: boolean }> {
    const { store } = this.#settings;
    const { id, fence } = this.#call;
    let objection: Refused | undefined;
    let answer: Answer | undefined;
    const written = await this.#unlessFenced(step, async (): Promise<Done<unknown> | Refused> => {
      const shared = await together?.();
      if (shared !== undefined && (shared.outcome === 'done' || 'objection' in shared)) {
        if (shared.outcome === 'done') answer = shared.value;
        else objection = shared.objection;
        return shared;
      }
      if (shared?.reason === 'fenced') return shared;
      if (shared !== undefined && shared.reason !== 'overloaded') throw notWritten(shared.reason);
      return store.settle(id, fence, async (transaction) => {
        objection = undefined;
        const decided = await decide(transaction);
        if (decided.outcome === 'refused') objection = decided;
        else if ('answer' in decided.value) answer = decided.value.answer;
        return decided;
      });
    });
    if (objection !== undefined && (await this.#isOurs())) {
      return { outcome: undefined, objection, fenced: false };
    }
    if (written.outcome !== 'done') return { outcome: await this.#asItIs(), fenced: true };
    const settled = answer ?? this.#call.answer;
    return { outcome: settled && done(settled), fenced: false };
  }

  /** What throws after the fence was lost says no more than that. */
  #unlessFenced<Written>(
    step: ObservedOperation,
    write: () => Promise<Written>,
  ): Promise<Written | Refused<'fenced'>> {
    return observed(step, this.#settings.store.kind, (run, writing) => run.#written(writing), this, write);
  }

  async #written<Written>(write: () => Promise<Written>): Promise<Written | Refused<'fenced'>> {
    try {
      return await write();
    } catch (cause) {
      if (await this.#isOurs()) throw cause;
      return refused('fenced');
    }
  }

  async #isOurs(): Promise<boolean> {
    const found = await this.#settings.store.find(this.#call.id);
    return found?.fence === this.#call.fence && !isSettled(found.state);
  }

  /** What somebody else has made of it meanwhile. */
  async #asItIs(): Promise<DurableCallOutcome> {
    const found = await this.#settings.store.find(this.#call.id);
    // What is taken back was answered when it was done: that says nothing of whether it has been undone.
    const isTakenBack = this.#call.state === 'compensating' && found !== undefined && !isSettled(found.state);
    if (found?.answer !== undefined && !isTakenBack) return done(found.answer, { replayed: true });
    return { outcome: 'unknown', code: found?.code ?? TAKEN_OVER };
  }

  /** The answer that is stored first is the one that everybody gets. */
  #answered(state: 'done' | 'released' | 'compensated', answer: Answer): DurableCallChange {
    const { retentionMs } = this.#settings.times;
    if (this.#call.answer !== undefined) return { state, retentionMs };
    return { state, retentionMs, answer: this.#settings.stored(answer) };
  }

  #leaseMs(takenOver: 'at-once' | 'later' | 'never'): number | undefined {
    if (takenOver !== 'later') return takenOver === 'at-once' ? 0 : undefined;
    const { pauseMs: backoffMs, maxPauseMs: maxBackoffMs, jitter } = this.#settings.times.recovery;
    const retry = { attempts: 1, backoffMs, maxBackoffMs, jitter };
    return Math.ceil(pauseMs(retry, this.#call.fence));
  }

  #undoing(): Compensating<Request, Value> {
    const { rules } = this.#settings;
    return {
      ...this.#outward,
      token: rules.compensationToken(this.#call, this.#compensation.name),
      value: this.#value as Value,
    };
  }

  get #compensation() {
    const { compensation } = this.#settings.definition;
    if (compensation === undefined) throw new TypeError('there is no compensation');
    return compensation;
  }

  #tell(
    kind: DurableCallEvent['kind'],
    { code, cause }: { code?: string | undefined; cause?: unknown },
  ): void {
    happened('durable-call', { kind, cause }, this.#seen);
    const { onEvent } = this.#settings;
    onEvent({
      kind,
      call: this.#call,
      ...(code === undefined ? {} : { code }),
      ...(cause === undefined ? {} : { cause }),
    });
  }
}
