import type { CompensationFound, CompensationSent } from './compensation.ts';
import type { DurableCall, UnsettledState } from './durable-call-record.ts';
import type { Refused } from './outcome.ts';

/**
 * What a durable call does next, as pure functions of what its record said when it was taken, and of what was heard since.
 *
 * Whoever holds the fence is the only one who writes, so nothing is decided on anything that may have changed meanwhile. The
 * tests' model replaces one rule at a time, and finds the harm.
 */

/** Whether the receiver recognises what is sent to it twice, by its token. */
export type Repeat = 'idempotent' | 'never';

/**
 * What came of sending a call.
 *
 * - `done`: it has had its effect, and `value` is what came of it.
 * - `refused`: the receiver said no for good, in an answer to this very message. It has had no effect.
 * - `not-sent`: not a byte of it has left.
 * - `unknown`: everything else.
 */
export type Sent<Value> =
  | { readonly outcome: 'done'; readonly value: Value }
  | { readonly outcome: 'refused' | 'not-sent' | 'unknown'; readonly code: string };

/**
 * What a look-up shows.
 *
 * - `done`: the effect has come about, *and it is this call's*: compare whatever tells it from others'.
 * - `not-found`: nothing of this call's is to be seen, which is final only after a known end.
 * - `unknown`: no answer, none that could be read, or one that says neither.
 */
export type Found<Value> =
  | { readonly outcome: 'done'; readonly value: Value }
  | { readonly outcome: 'not-found' }
  | { readonly outcome: 'unknown'; readonly code: string };

/** Why a subject is given back, to be attempted again. */
export type ReleaseReason =
  /** The receiver refused it. */
  | { readonly reason: 'declined'; readonly code: string }
  /** After its known end nothing was to be seen of it. `code`: what was heard last. */
  | { readonly reason: 'not-found'; readonly code: string | undefined }
  /** An operator has found out that it has had no effect. */
  | { readonly reason: 'operator' };

/** What has been heard last since the call was taken. */
export type Heard<Value> =
  | { readonly of: 'nothing' }
  | { readonly of: 'send'; readonly sent: Sent<Value> }
  | { readonly of: 'look-up'; readonly found: Found<Value> }
  | { readonly of: 'settle'; readonly refused: Refused; readonly value: Value }
  | { readonly of: 'compensation-began' }
  | { readonly of: 'compensation-refused' }
  | { readonly of: 'compensation'; readonly sent: CompensationSent }
  /** `afterRefusal`: the try before it was refused, in an answer of its own. */
  | {
      readonly of: 'compensation-look-up';
      readonly found: CompensationFound;
      readonly afterRefusal: boolean;
    };

/** What is done next. Those of the second half end the hold. */
export type Move<Value> =
  | { readonly do: 'send' | 'look-up' | 'compensate' }
  | { readonly do: 'settle'; readonly value: Value }
  | { readonly do: 'begin-compensation'; readonly value: Value; readonly why: Refused }
  | { readonly do: 'look-up-compensation'; readonly afterRefusal: boolean }
  | { readonly do: 'release'; readonly why: ReleaseReason }
  | { readonly do: 'forget'; readonly code: string }
  | { readonly do: 'end-compensation' }
  /** `at-once`: whoever comes next may take it over. `later`: after a pause. `never`: an operator must see to it. */
  | {
      readonly do: 'leave';
      readonly state: UnsettledState;
      readonly takenOver: 'at-once' | 'later' | 'never';
      readonly code?: string;
      readonly nextTry?: boolean;
    };

/** A call as it was taken, and by whom. */
export interface Holding {
  readonly call: DurableCall;
  readonly repeat: Repeat;
  readonly compensates: boolean;
}

export interface DurableCallRules {
  next<Value>(holding: Holding, heard: Heard<Value>): Move<Value>;
  /** What every try of an attempt shows, and no other attempt, so that the receiver knows it again. */
  token(call: DurableCall): string;
  compensationToken(call: DurableCall, name: string): string;
}

/** Nothing can be settled or released any more by those who are here. */
const stuck = (code: string): Move<never> => ({ do: 'leave', state: 'stuck', takenOver: 'never', code });

export const durableCallRules: DurableCallRules = {
  next: (holding, heard) => {
    switch (heard.of) {
      case 'nothing':
        return first(holding);
      case 'send':
        return isOwner(holding.call) ? afterOwnSend(heard.sent) : afterSendingAgain(holding, heard.sent);
      case 'look-up':
        return afterLookUp(holding, heard.found);
      case 'settle':
        // The effect is there, and there is no place for it any more.
        return holding.compensates
          ? { do: 'begin-compensation', value: heard.value, why: heard.refused }
          : stuck('CANNOT_SETTLE');
      case 'compensation-began':
        return { do: 'compensate' };
      case 'compensation-refused':
        return stuck('CANNOT_COMPENSATE');
      case 'compensation':
        return afterCompensating(heard.sent);
      case 'compensation-look-up':
        return afterCompensationLookUp(holding, heard.found, heard.afterRefusal);
    }
  },
  token: ({ subject, attempt }) => `${subject}:${attempt}`,
  compensationToken: (call, name) =>
    `${durableCallRules.token(call)}:${name}:${Math.max(1, call.compensationTry)}`,
};

/** Nobody has taken it over: of this attempt, only this process has sent anything, and once. */
function isOwner({ fence }: DurableCall): boolean {
  return fence === 1;
}

function first<Value>({ call, compensates }: Holding): Move<Value> {
  if (call.state === 'compensating') {
    if (call.verdict !== undefined) return { do: 'end-compensation' };
    return compensates ? { do: 'look-up-compensation', afterRefusal: false } : stuck('CANNOT_COMPENSATE');
  }
  if (call.verdict === 'done' && call.value !== undefined)
    return { do: 'settle', value: call.value as Value };
  if (call.verdict === 'not-done' || call.verdict === 'undone') {
    return { do: 'release', why: { reason: 'operator' } };
  }
  return isOwner(call) ? { do: 'send' } : { do: 'look-up' };
}

/**
 * Its owner has sent it once, and nobody else has: so a refusal is the answer to all there is of it, and it can be believed. The
 * fence is asked once more where that is written.
 */
function afterOwnSend<Value>(sent: Sent<Value>): Move<Value> {
  switch (sent.outcome) {
    case 'done':
      return { do: 'settle', value: sent.value };
    case 'refused':
      return { do: 'release', why: { reason: 'declined', code: sent.code } };
    case 'not-sent':
      return { do: 'forget', code: sent.code };
    case 'unknown':
      return { do: 'leave', state: 'unknown', takenOver: 'at-once', code: sent.code };
  }
}

/**
 *     owner:     claims, and stands still before it sends
 *     recovery:  takes over, finds nothing, sends: refused
 *     recovery:  releases; the subject is attempted again, and succeeds
 *     owner:     goes on, sends: this time it is accepted
 *
 * So a refusal is noted after a takeover, and not believed: from then on it is only looked up, until the known end.
 */
function afterSendingAgain<Value>({ call }: Holding, sent: Sent<Value>): Move<Value> {
  switch (sent.outcome) {
    case 'done':
      return { do: 'settle', value: sent.value };
    case 'refused':
      return { do: 'leave', state: 'looking', takenOver: 'later', code: sent.code };
    default:
      return { do: 'leave', state: unsettled(call), takenOver: 'later', code: sent.code };
  }
}

function afterLookUp<Value>({ call, repeat }: Holding, found: Found<Value>): Move<Value> {
  switch (found.outcome) {
    case 'done':
      return { do: 'settle', value: found.value };
    case 'not-found':
      // `isFinal` was read before the look-up was sent: what the receiver had not seen by then, it never will.
      if (call.isFinal) return { do: 'release', why: { reason: 'not-found', code: call.code } };
      if (repeat === 'idempotent' && call.state === 'unknown') return { do: 'send' };
      return { do: 'leave', state: unsettled(call), takenOver: 'later' };
    case 'unknown':
      return { do: 'leave', state: unsettled(call), takenOver: 'later', code: found.code };
  }
}

function afterCompensating(sent: CompensationSent): Move<never> {
  switch (sent.outcome) {
    case 'done':
      return { do: 'end-compensation' };
    case 'refused':
      return { do: 'look-up-compensation', afterRefusal: true };
    case 'unknown':
      return { do: 'leave', state: 'compensating', takenOver: 'later', code: sent.code };
  }
}

function afterCompensationLookUp(
  { repeat }: Holding,
  found: CompensationFound,
  afterRefusal: boolean,
): Move<never> {
  if (found.outcome === 'done') return { do: 'end-compensation' };
  // Not found: it is known to have come about, so the look-up lags behind, or the receiver forgets.
  const mayRepeat = found.outcome !== 'unknown' || repeat === 'idempotent';
  if (!afterRefusal && mayRepeat) return { do: 'compensate' };
  // The refusal may be recorded under the token, and would be given again for ever. Only what is seen to stand is tried anew.
  const nextTry = afterRefusal && found.outcome === 'standing';
  const code = found.outcome === 'unknown' ? { code: found.code } : {};
  return { do: 'leave', state: 'compensating', takenOver: 'later', nextTry, ...code };
}

/** What it is while nobody knows: a noted refusal stays noted. */
function unsettled({ state }: DurableCall): UnsettledState {
  return state === 'looking' ? 'looking' : 'unknown';
}
