import { failpoint } from '#failpoint';
import type { DurableCallDefinition } from './durable-call-definition.ts';
import type { AttemptRef, ClaimedAttempt, DurableCall, Json, NewDurableCall } from './durable-call-record.ts';
import { type DurableCallRules, durableCallRules } from './durable-call-rules.ts';
import {
  type DurableCallEvent,
  type DurableCallOutcome,
  DurableRun,
  type DurableRunSettings,
  outcomeOfCall,
} from './durable-call-run.ts';
import type { DurableCallStore } from './durable-call-store.ts';
import { MisuseError } from './errors.ts';
import type { GroupRefusal } from './group-commit.ts';
import { defaultStoredHeaders, storedAnswers } from './idempotency-answer.ts';
import type { IdempotencyRecordId } from './idempotency-record.ts';
import { fingerprintOf, type IdempotentRequest, recordIdOf } from './idempotency-request.ts';
import type { InProgress } from './idempotency-run.ts';
import { happened, observed, type Seen } from './observe.ts';
import { type Done, done, type Refused, refused } from './outcome.ts';
import { quiet } from './quiet.ts';
import { RecoveryLoop } from './recovery-loop.ts';
import { LONGEST_TIMER_MS, requireMs } from './timers.ts';

export interface DurableCallOptions {
  /**
   * How long who sends may be silent before somebody else takes the call over, in milliseconds. It must be longer than `send` takes at
   * most, and should be longer than a look-up, `send` and another look-up together, which is the most that one recovery asks. Default
   * 30 s.
   */
  readonly leaseMs?: number;
  /** How long an answer is replayed, in milliseconds. Longer than the receiver knows its tokens. Default 30 days. */
  readonly retentionMs?: number;
  readonly recovery?: {
    /** Between two looks for calls to take over, in milliseconds. Default 1 s. */
    readonly everyMs?: number;
    /** Calls that one instance recovers at a time. Default 20. */
    readonly most?: number;
    /** Before a call that stays unknown is taken over again, in milliseconds. It doubles each time. Default 500 ms. */
    readonly pauseMs?: number;
    /** Its longest, in milliseconds. Default 30 s. */
    readonly maxPauseMs?: number;
    /** Share of each pause that is left to chance, from 0 to 1, so that instances do not meet. Default 0.5. */
    readonly jitter?: number;
  };
  /** The headers that are stored and replayed with an answer; default `defaultStoredHeaders`. */
  readonly storedHeaders?: readonly string[];
  /** Told of what the outcome does not say. */
  readonly onEvent?: (event: DurableCallEvent) => void;
  /** For those who study what a rule is for: what is not given is `durableCallRules`'. */
  readonly rules?: Partial<DurableCallRules>;
}

/** What a request may be met with that has not been claimed. */
export type DurableCallRefusal = InProgress | Refused<'payload-mismatch' | 'contended'>;

export interface DurableCalls<
  Transaction,
  Request extends Json,
  Value extends Json,
  Claim = never,
  Objection extends Refused = never,
> {
  /**
   * Runs the call for this request: claims, sends, settles. The same request is answered with what was settled, byte by byte; with
   * `unknown` while recovery is at it; and with `in-progress` while its owner is.
   *
   * @param claim  Takes the subject in the caller's rows, in the transaction that records the intent. A refusal rolls back whole,
   *   and nothing is recorded: the same request may come again.
   * @throws InvalidKeyError, MisuseError  Nothing was written or sent.
   * @throws StoreError  Nothing was sent. After `effect: 'unknown'` it may have been claimed, and then recovery goes on with it.
   */
  run<Objection extends Refused>(
    request: IdempotentRequest,
    claim: (transaction: Transaction) => Promise<Done<ClaimedAttempt<Request>> | Objection>,
  ): Promise<DurableCallOutcome | DurableCallRefusal | Objection>;
  /**
   * As `run`, by a claim that the definition's `grouped` decides about: it shares its transaction with those that come at the same
   * time, and so does its settlement.
   *
   * @returns besides, refused: `overloaded`, too many wait; `lock-timeout`, somebody has had its rows for too long. Nothing was sent.
   * @throws MisuseError  The definition has no `grouped`, or the store no `groups`.
   */
  runGrouped(
    request: IdempotentRequest,
    claim: Claim,
  ): Promise<DurableCallOutcome | DurableCallRefusal | Objection | Refused<GroupRefusal>>;
  /**
   * Undoes an attempt that is done, because somebody takes it back.
   *
   * @param claim  Writes into the caller's rows that it is being undone, in the transaction that records the intent.
   * @returns refused, `wrong-state`: there is no such attempt that is done, and nothing was written.
   * @throws MisuseError  The definition has no compensation.
   * @throws StoreError  As `run`.
   */
  compensate<Objection extends Refused>(
    attempt: { readonly subject: string; readonly attempt: number },
    claim: (transaction: Transaction) => Promise<Done<{ readonly value: Value }> | Objection>,
  ): Promise<DurableCallOutcome | Refused<'wrong-state'> | Objection>;
  /**
   * Records an effect that was found without its intent, and undoes it (`compensating`) or leaves it to an operator (`stuck`).
   *
   * @param claim  Decides in the caller's rows whether it is one.
   * @returns refused, `already-done`: it has been recorded before.
   * @throws MisuseError, StoreError  As `compensate`.
   */
  adopt<Objection extends Refused>(
    request: Pick<IdempotentRequest, 'scope' | 'key'>,
    claim: (transaction: Transaction) => Promise<Done<AdoptedEffect<Request, Value>> | Objection>,
  ): Promise<DurableCallOutcome | Refused<'already-done'> | Objection>;
  /**
   * Takes over calls whose lease is over, and brings each as far as it can be brought.
   *
   * @param most  At most so many. Default `recovery.most`.
   * @returns how many were taken over.
   * @throws StoreError  None was.
   */
  recover(most?: number): Promise<number>;
  /** Recovers again and again, and forgets calls whose retention is over, beside everything else. On every instance. */
  start(): void;
  /** Recovers no more, and waits for what it is at. */
  close(): Promise<void>;
}

export interface AdoptedEffect<Request extends Json, Value extends Json> {
  readonly state: 'compensating' | 'stuck';
  readonly subject: string;
  readonly attempt: number;
  readonly request: Request;
  readonly value: Value;
  readonly code?: string;
}

const RUN = { guard: 'durable-call', step: 'run' } as const;
const RECOVER = { guard: 'durable-call', step: 'recover' } as const;
const COMPENSATE = { guard: 'compensation', step: 'run' } as const;
const ADOPT = { guard: 'compensation', step: 'adopt' } as const;

export const defaultDurableCallTimes = {
  leaseMs: 30_000,
  retentionMs: 30 * 86_400_000,
  recovery: { everyMs: 1_000, most: 20, pauseMs: 500, maxPauseMs: 30_000, jitter: 0.5 },
};

/**
 * An outward call that takes effect once, although who sends it may die at any line, and its answer may be lost.
 *
 * The intent is committed before anything is sent, with the rows of the caller that it claims. What came of it is committed
 * with the rows that it changes, by whoever holds the fence. What nobody heard is found out by recovery, on any instance: it looks
 * up, sends again where the receiver honours idempotency keys, and gives the subject back when nothing can come any more.
 *
 * **What it does not promise:** anything, where the receiver neither honours idempotency keys nor can be looked up with a known
 * end. And recovery runs only while some instance does.
 *
 * Cost: two commits for a call that succeeds; one statement of its own in each, beside those of the definition. Calls that are run by
 * `runGrouped` share both with others, in the two round trips of `groupCommit`, or in one where its `optimistic` holds; of those that
 * come again some take a third, and so does whoever passes a `look`.
 *
 * @throws MisuseError  A setting, or the name.
 * @see Helland, "Life beyond Distributed Transactions" (2007); Gray and Cheriton, "Leases" (1989); Kleppmann, "How to do
 *   distributed locking" (2016), for the fence
 */
export function durableCalls<
  Transaction,
  Request extends Json,
  Value extends Json,
  Claim = never,
  Objection extends Refused = never,
>(
  store: DurableCallStore<Transaction>,
  definition: DurableCallDefinition<Transaction, Request, Value, Claim, Objection>,
  options: DurableCallOptions = {},
): DurableCalls<Transaction, Request, Value, Claim, Objection> {
  const times = checkedTimes(options);
  const { name } = definition;
  requireName(name);
  const { groups } = store;
  const { grouped } = definition;
  const claimGrouped = grouped && groups?.claims(name, grouped.claims);
  const settings: DurableRunSettings<Transaction, Request, Value> = {
    store,
    definition,
    settleGrouped: grouped && groups?.settlements(name, grouped.settlements),
    times,
    rules: { ...durableCallRules, ...options.rules },
    stored: storedAnswers(options.storedHeaders ?? defaultStoredHeaders),
    onEvent: quiet(options.onEvent ?? (() => undefined)),
  };
  const tell = (event: DurableCallEvent, seen?: Seen) => {
    happened('durable-call', event, seen);
    settings.onEvent(event);
  };
  /** The intent is committed: whatever fails now, recovery goes on with it, and must not look as if it had not been done. */
  const goOn = async (
    call: DurableCall,
    begun: boolean,
    seen: Seen | undefined,
  ): Promise<DurableCallOutcome> => {
    seen?.claimed({ attempt: call.attempt, takeover: call.fence > 1 && !begun });
    try {
      return await new DurableRun(settings, call, begun, seen).run();
    } catch (cause) {
      tell({ kind: 'failed', call, cause }, seen);
      return { outcome: 'unknown', code: NOT_RECORDED };
    }
  };

  const requireCompensation = () => {
    if (definition.compensation === undefined) throw new MisuseError(`${name} has no compensation`);
  };

  const takeOver = async (most: number): Promise<readonly Promise<unknown>[]> => {
    failpoint('durable-call.take-over.before');
    const calls = await store.takeOver(name, most, times.leaseMs);
    if (calls.length > 0) failpoint('durable-call.take-over.after');
    return calls.map((call) => observed(RECOVER, store.kind, goOn, call, false));
  };
  const loop = new RecoveryLoop({
    ...times.recovery,
    takeOver,
    sweep: () => store.sweep(SWEPT_AT_ONCE),
    onFailed: (cause) => tell({ kind: 'recovery-failed', cause }),
  });

  /** How a request claims, and what it is told where the claim is refused and nobody has its key. */
  type Claiming<Refusal> = (
    id: IdempotencyRecordId,
    record: (claimed: ClaimedAttempt<Request>) => NewDurableCall,
  ) => Promise<
    | Done<DurableCall>
    | {
        readonly outcome: 'refused';
        readonly refusal: Refusal;
        readonly isNobodys?: boolean;
        /** Who has it, where that is known already. */
        readonly found?: DurableCall;
      }
  >;

  async function claimAndRun<Refusal extends Refused>(
    request: IdempotentRequest,
    claiming: Claiming<Refusal>,
    seen: Seen | undefined,
  ): Promise<DurableCallOutcome | DurableCallRefusal | Refusal> {
    const id = recordIdOf(request);
    const fingerprint = fingerprintOf(request);
    failpoint('durable-call.claim.before');
    const claimed = await claiming(id, (taken) => {
      requireAttempt(taken);
      failpoint('durable-call.claim.within');
      return { ...taken, id, fingerprint, name, state: 'calling', leaseMs: times.leaseMs };
    });
    failpoint('durable-call.claim.after');
    if (claimed.outcome === 'done') return goOn(claimed.value, false, seen);
    const found = claimed.found ?? (claimed.isNobodys ? undefined : await store.find(id));
    return found === undefined ? claimed.refusal : outcomeOfCall(found, fingerprint);
  }

  function run<Objection extends Refused>(
    request: IdempotentRequest,
    claim: (transaction: Transaction) => Promise<Done<ClaimedAttempt<Request>> | Objection>,
    seen: Seen | undefined,
  ): Promise<DurableCallOutcome | DurableCallRefusal | Objection> {
    const claiming: Claiming<Objection | Refused<'contended'>> = async (_id, record) => {
      let objection: Objection | undefined;
      const claimed = await store.claim(async (transaction) => {
        const taken = await claim(transaction);
        objection = taken.outcome === 'done' ? undefined : taken;
        return taken.outcome === 'done' ? done(record(taken.value)) : taken;
      });
      if (claimed.outcome === 'done') return claimed;
      // Where nobody has this key, the attempt was somebody else's a moment ago.
      return { outcome: 'refused', refusal: objection ?? refused('contended') };
    };
    return claimAndRun(request, claiming, seen);
  }

  async function runGrouped(
    request: IdempotentRequest,
    claim: Claim,
    seen: Seen | undefined,
  ): Promise<DurableCallOutcome | DurableCallRefusal | Objection | Refused<GroupRefusal>> {
    if (claimGrouped === undefined) throw new MisuseError(`${name} has no groups`);
    const claiming: Claiming<Objection | Refused<GroupRefusal>> = async (id, record) => {
      const claimed = await claimGrouped({ claim, id, record });
      if (claimed.outcome === 'done') return claimed;
      const { outcome } = claimed;
      if ('found' in claimed && claimed.found !== undefined)
        return { outcome, refusal: refused('contended'), found: claimed.found };
      // It was looked for after the rows of the claim were read: what made these refuse is not on record as this request.
      if ('objection' in claimed) return { outcome, refusal: claimed.objection, isNobodys: true };
      const reason = claimed.reason === 'already-done' ? 'contended' : claimed.reason;
      // And nobody is asked for the sake of those who are too many.
      return { outcome, refusal: refused(reason), isNobodys: reason === 'overloaded' };
    };
    return claimAndRun(request, claiming, seen);
  }

  async function compensate<Objection extends Refused>(
    attempt: { readonly subject: string; readonly attempt: number },
    claim: (transaction: Transaction) => Promise<Done<{ readonly value: Value }> | Objection>,
    seen: Seen | undefined,
  ): Promise<DurableCallOutcome | Refused<'wrong-state'> | Objection> {
    requireCompensation();
    failpoint('compensation.reopen.before');
    const reopened = await store.reopen({ ...attempt, name }, async (transaction) => {
      const taken = await claim(transaction);
      if (taken.outcome !== 'done') return taken;
      failpoint('compensation.reopen.within');
      return done({ value: taken.value.value, leaseMs: times.leaseMs });
    });
    if (reopened.outcome !== 'done') return reopened;
    failpoint('compensation.reopen.after');
    return goOn(reopened.value, true, seen);
  }

  async function adopt<Objection extends Refused>(
    request: Pick<IdempotentRequest, 'scope' | 'key'>,
    claim: (transaction: Transaction) => Promise<Done<AdoptedEffect<Request, Value>> | Objection>,
    seen: Seen | undefined,
  ): Promise<DurableCallOutcome | Refused<'already-done'> | Objection> {
    requireCompensation();
    const id = recordIdOf({ ...request, payload: '' });
    failpoint('compensation.adopt.before');
    const adopted = await store.claim(async (transaction) => {
      const taken = await claim(transaction);
      if (taken.outcome !== 'done') return taken;
      requireAttempt(taken.value);
      const { state } = taken.value;
      const fingerprint = fingerprintOf({ ...request, payload: '' });
      failpoint('compensation.adopt.within');
      const lease = state === 'compensating' ? { leaseMs: times.leaseMs } : {};
      const call: NewDurableCall = { ...taken.value, ...lease, id, fingerprint, name };
      return done(call);
    });
    if (adopted.outcome !== 'done') return adopted;
    failpoint('compensation.adopt.after');
    const { value: call } = adopted;
    if (call.state === 'compensating') return goOn(call, true, seen);
    tell({ kind: 'stuck', call, ...(call.code === undefined ? {} : { code: call.code }) }, seen);
    return { outcome: 'unknown', code: call.code };
  }

  return {
    run: (request, claim) => observed(RUN, store.kind, run, request, claim),
    runGrouped: (request, claim) => observed(RUN, store.kind, runGrouped, request, claim),
    compensate: (attempt, claim) => observed(COMPENSATE, store.kind, compensate, attempt, claim),
    adopt: (request, claim) => observed(ADOPT, store.kind, adopt, request, claim),
    async recover(most = times.recovery.most) {
      const recovering = await takeOver(most);
      await Promise.all(recovering);
      return recovering.length;
    },
    start: () => loop.start(),
    close: () => loop.close(),
  };
}

/** Records that one sweep forgets at most. */
const SWEPT_AT_ONCE = 1_000;
/** What became of it is known, and could not be written down. */
const NOT_RECORDED = 'NOT_RECORDED';
/** As MySQL's column has it. */
const LONGEST_NAME = 64;
const LONGEST_SUBJECT = 255;
const MOST_ATTEMPTS = 2 ** 31 - 1;
const CONTROL_CHARACTER = /\p{Cc}/u;

function requireName(name: string): void {
  requireText('the name of a durable call', name, LONGEST_NAME);
}

/** MySQL rounds a number that is not whole, and then recovery would show another token than the owner. */
function requireAttempt({ subject, attempt }: Pick<AttemptRef, 'subject' | 'attempt'>): void {
  requireText('the subject of a durable call', subject, LONGEST_SUBJECT);
  if (Number.isInteger(attempt) && attempt >= 1 && attempt <= MOST_ATTEMPTS) return;
  throw new MisuseError(`the attempt of a durable call must be from 1 to ${MOST_ATTEMPTS}, got ${attempt}`);
}

function requireText(what: string, text: string, most: number): void {
  const isText = typeof text === 'string' && text.isWellFormed() && !CONTROL_CHARACTER.test(text);
  if (isText && text !== '' && [...text].length <= most) return;
  throw new MisuseError(`${what} must be 1 to ${most} characters, none of them a control character`);
}

function checkedTimes({ leaseMs, retentionMs, recovery }: DurableCallOptions) {
  const defaults = defaultDurableCallTimes;
  const times = {
    leaseMs: leaseMs ?? defaults.leaseMs,
    retentionMs: retentionMs ?? defaults.retentionMs,
    recovery: { ...defaults.recovery, ...recovery },
  };
  const { everyMs, most, pauseMs, maxPauseMs, jitter } = times.recovery;
  requireMs({ leaseMs: times.leaseMs, retentionMs: times.retentionMs, everyMs, pauseMs, maxPauseMs }, 1);
  if (everyMs > LONGEST_TIMER_MS)
    throw new MisuseError(`everyMs must be at most ${LONGEST_TIMER_MS}, got ${everyMs}`);
  if (!Number.isSafeInteger(most) || most < 1)
    throw new MisuseError(`most must be a whole number ≥ 1, got ${most}`);
  if (!(jitter >= 0 && jitter <= 1)) throw new MisuseError(`jitter must be from 0 to 1, got ${jitter}`);
  return times;
}
