import { describe, expect, test } from 'vitest';
import {
  type DurableCall,
  durableCallRules,
  type Heard,
  type Holding,
  type Move,
  refused,
  type Verdict,
} from '../src/index.ts';

/* The rules alone: what is done next, by what the record said and what was heard. */

type Value = { readonly booking: number };

const VALUE: Value = { booking: 7 };
const CODE = 'CODE';
const { next } = durableCallRules;

function holding(given: Partial<DurableCall> & Partial<Omit<Holding, 'call'>> = {}): Holding {
  const { repeat = 'idempotent', compensates = true, ...call } = given;
  return {
    repeat,
    compensates,
    call: {
      id: { scope: '["member-1"]', key: 'key' },
      name: 'book',
      subject: 'parcel-1',
      attempt: 1,
      fingerprint: 'ab'.repeat(32),
      state: 'calling',
      fence: 1,
      leaseLeftMs: 1_000,
      isFinal: false,
      request: null,
      value: undefined,
      compensationTry: 0,
      code: undefined,
      verdict: undefined,
      answer: undefined,
      ageMs: 0,
      ...call,
    },
  };
}

const sent = (outcome: 'done' | 'refused' | 'not-sent' | 'unknown'): Heard<Value> => ({
  of: 'send',
  sent: outcome === 'done' ? { outcome, value: VALUE } : { outcome, code: CODE },
});
const found = (outcome: 'done' | 'not-found' | 'unknown'): Heard<Value> => {
  switch (outcome) {
    case 'done':
      return { of: 'look-up', found: { outcome, value: VALUE } };
    case 'not-found':
      return { of: 'look-up', found: { outcome } };
    case 'unknown':
      return { of: 'look-up', found: { outcome, code: CODE } };
  }
};
const undone = (outcome: 'done' | 'refused' | 'unknown'): Heard<Value> => ({
  of: 'compensation',
  sent: outcome === 'done' ? { outcome } : { outcome, code: CODE },
});
const foundUndone = (
  outcome: 'done' | 'standing' | 'not-found' | 'unknown',
  afterRefusal: boolean,
): Heard<Value> => ({
  of: 'compensation-look-up',
  found: outcome === 'unknown' ? { outcome, code: CODE } : { outcome },
  afterRefusal,
});

const NOTHING: Heard<Value> = { of: 'nothing' };
const CANNOT_SETTLE: Heard<Value> = { of: 'settle', refused: refused('not-open'), value: VALUE };
const settle: Move<Value> = { do: 'settle', value: VALUE };
const later = (
  state: 'unknown' | 'looking' | 'compensating',
  more: { code?: string; nextTry?: boolean } = {},
): Move<Value> => ({ do: 'leave', state, takenOver: 'later', ...more });
const stuck = (code: string): Move<Value> => ({ do: 'leave', state: 'stuck', takenOver: 'never', code });
const operator: Move<Value> = { do: 'release', why: { reason: 'operator' } };

const owner = holding();
const recovery = holding({ fence: 2, state: 'unknown' });
const looking = holding({ fence: 3, state: 'looking' });
const never = holding({ fence: 2, state: 'unknown', repeat: 'never' });
const undoing = holding({ fence: 2, state: 'compensating', value: VALUE, compensationTry: 1 });
const withVerdict = (verdict: Verdict, given: Partial<DurableCall> = {}) =>
  holding({ fence: 2, state: 'unknown', verdict, ...given });

describe('what is done next', () => {
  test.each<[string, Holding, Heard<Value>, Move<Value>]>([
    ['the owner sends', owner, NOTHING, { do: 'send' }],
    ['R7: whoever takes over looks up', recovery, NOTHING, { do: 'look-up' }],
    ['R7: also where it may not be sent again', never, NOTHING, { do: 'look-up' }],
    ['R8: and whether it is undone', undoing, NOTHING, { do: 'look-up-compensation', afterRefusal: false }],
    [
      'what is to be undone by a version that cannot is stuck',
      { ...undoing, compensates: false },
      NOTHING,
      stuck('CANNOT_COMPENSATE'),
    ],

    ['the owner hears that it is done', owner, sent('done'), settle],
    [
      'R2: the owner is declined',
      owner,
      sent('refused'),
      { do: 'release', why: { reason: 'declined', code: CODE } },
    ],
    ['the owner sent nothing', owner, sent('not-sent'), { do: 'forget', code: CODE }],
    [
      'R4: the owner hears nothing',
      owner,
      sent('unknown'),
      { do: 'leave', state: 'unknown', takenOver: 'at-once', code: CODE },
    ],

    ['recovery sent it, and it is done', recovery, sent('done'), settle],
    ['R2: recovery is declined, which is noted', recovery, sent('refused'), later('looking', { code: CODE })],
    ['recovery sent nothing', recovery, sent('not-sent'), later('unknown', { code: CODE })],
    ['recovery hears nothing', recovery, sent('unknown'), later('unknown', { code: CODE })],

    ['it is found', recovery, found('done'), settle],
    ['it is found after a decline', looking, found('done'), settle],
    ['R7: it is not found, and may be sent again', recovery, found('not-found'), { do: 'send' }],
    ['R7: it is not found, and may not', never, found('not-found'), later('unknown')],
    ['R2: it is not found after a decline', looking, found('not-found'), later('looking')],
    ['the look-up is not answered', recovery, found('unknown'), later('unknown', { code: CODE })],
    [
      'the look-up is not answered after a decline',
      looking,
      found('unknown'),
      later('looking', { code: CODE }),
    ],
    [
      'R6: it is not found, and never will be',
      holding({ fence: 3, state: 'looking', isFinal: true, code: 'FULL' }),
      found('not-found'),
      { do: 'release', why: { reason: 'not-found', code: 'FULL' } },
    ],
    [
      'the look-up is not answered after the end',
      holding({ fence: 2, state: 'unknown', isFinal: true }),
      found('unknown'),
      later('unknown', { code: CODE }),
    ],

    [
      'R8: it can no longer be completed',
      owner,
      CANNOT_SETTLE,
      { do: 'begin-compensation', value: VALUE, why: refused('not-open') },
    ],
    ['nor undone', holding({ compensates: false }), CANNOT_SETTLE, stuck('CANNOT_SETTLE')],
    ['nor is it taken back', owner, { of: 'compensation-refused' }, stuck('CANNOT_COMPENSATE')],
    ['its intent is committed', owner, { of: 'compensation-began' }, { do: 'compensate' }],

    ['it is undone', undoing, undone('done'), { do: 'end-compensation' }],
    ['nobody hears so', undoing, undone('unknown'), later('compensating', { code: CODE })],
    ['it is refused', undoing, undone('refused'), { do: 'look-up-compensation', afterRefusal: true }],

    ['it is seen undone', undoing, foundUndone('done', false), { do: 'end-compensation' }],
    ['it is seen undone after a refusal', undoing, foundUndone('done', true), { do: 'end-compensation' }],
    ['it stands', undoing, foundUndone('standing', false), { do: 'compensate' }],
    ['it is not to be seen', undoing, foundUndone('not-found', false), { do: 'compensate' }],
    ['nobody knows, and it may be sent again', undoing, foundUndone('unknown', false), { do: 'compensate' }],
    [
      'nobody knows, and it may not',
      { ...undoing, repeat: 'never' },
      foundUndone('unknown', false),
      later('compensating', { code: CODE, nextTry: false }),
    ],
    [
      'it stands after a refusal',
      undoing,
      foundUndone('standing', true),
      later('compensating', { nextTry: true }),
    ],
    [
      'it is not to be seen after a refusal',
      undoing,
      foundUndone('not-found', true),
      later('compensating', { nextTry: false }),
    ],

    ['the operator says that it is done', withVerdict('done', { value: VALUE }), NOTHING, settle],
    ['and nobody knows what it came to', withVerdict('done'), NOTHING, { do: 'look-up' }],
    ['that it is not done', withVerdict('not-done'), NOTHING, operator],
    ['that it was undone', withVerdict('undone'), NOTHING, operator],
    [
      'that what is to be undone is',
      withVerdict('undone', { state: 'compensating', value: VALUE }),
      NOTHING,
      { do: 'end-compensation' },
    ],
  ])('%s', (_, given, heard, move) => {
    expect(next(given, heard)).toEqual(move);
  });
});

/** Every holding and everything that may be heard: there are few enough. */
function* everything(): Generator<{ given: Holding; heard: Heard<Value> }> {
  const flags = [false, true];
  const heards = [
    NOTHING,
    CANNOT_SETTLE,
    { of: 'compensation-began' } as const,
    { of: 'compensation-refused' } as const,
    ...(['done', 'refused', 'not-sent', 'unknown'] as const).map(sent),
    ...(['done', 'not-found', 'unknown'] as const).map(found),
    ...(['done', 'refused', 'unknown'] as const).map(undone),
    ...(['done', 'standing', 'not-found', 'unknown'] as const).flatMap((outcome) =>
      flags.map((afterRefusal) => foundUndone(outcome, afterRefusal)),
    ),
  ];
  for (const state of ['calling', 'unknown', 'looking', 'compensating', 'stuck'] as const)
    for (const fence of [1, 2, 17])
      for (const isFinal of flags)
        for (const repeat of ['idempotent', 'never'] as const)
          for (const compensates of flags)
            for (const verdict of [undefined, 'done', 'not-done', 'undone'] as const)
              for (const value of [undefined, VALUE])
                for (const heard of heards)
                  yield {
                    given: holding({ state, fence, isFinal, repeat, compensates, verdict, value }),
                    heard,
                  };
}

/** All that a rule has to be true of. */
function everywhere(holds: (move: Move<Value>, given: Holding, heard: Heard<Value>) => boolean): void {
  let seen = 0;
  for (const { given, heard } of everything()) {
    seen++;
    const move = next(given, heard);
    if (!holds(move, given, heard)) throw new Error(JSON.stringify({ move, given, heard }));
  }
  expect(seen).toBe(5 * 3 * 2 * 2 * 2 * 4 * 2 * 22);
}

const declined = (move: Move<Value>) => move.do === 'release' && move.why.reason === 'declined';
const notFound = (move: Move<Value>) => move.do === 'release' && move.why.reason === 'not-found';

describe('whatever is held and heard', () => {
  test('there is a move', () => {
    everywhere((move) => typeof move.do === 'string');
  });

  test('R1: it is sent by the owner who has heard nothing, or after a look-up', () => {
    everywhere(
      (move, { call }, heard) =>
        move.do !== 'send' || (heard.of === 'nothing' ? call.fence === 1 : heard.of === 'look-up'),
    );
  });

  test('R2: a decline is believed of the owner’s own message alone', () => {
    everywhere(
      (move, { call }, heard) =>
        !declined(move) || (call.fence === 1 && heard.of === 'send' && heard.sent.outcome === 'refused'),
    );
  });

  test('R2: what was declined after a takeover is not sent again, and stays so', () => {
    everywhere(
      (move, { call }) =>
        call.state !== 'looking' ||
        call.fence === 1 ||
        (move.do !== 'send' && !(move.do === 'leave' && move.state === 'unknown')),
    );
  });

  test('R6: given back as not found only by a look-up after the end', () => {
    everywhere(
      (move, { call }, heard) =>
        !notFound(move) || (call.isFinal && heard.of === 'look-up' && heard.found.outcome === 'not-found'),
    );
  });

  test('R7: what may not be repeated is sent by its owner alone', () => {
    everywhere((move, { call, repeat }) => move.do !== 'send' || repeat === 'idempotent' || call.fence === 1);
  });

  test('R8: undone is only what is known to have come about', () => {
    const known = ['settle', 'compensation-began', 'compensation', 'compensation-look-up'];
    const undoes = ['begin-compensation', 'compensate', 'look-up-compensation', 'end-compensation'];
    everywhere(
      (move, { call }, heard) =>
        !undoes.includes(move.do) || known.includes(heard.of) || call.state === 'compensating',
    );
  });

  test('R8: the token changes only after a refusal and a look-up that shows it standing', () => {
    everywhere(
      (move, _, heard) =>
        !(move.do === 'leave' && move.nextTry) ||
        (heard.of === 'compensation-look-up' && heard.afterRefusal && heard.found.outcome === 'standing'),
    );
  });

  test('only what nobody here can end is left to an operator', () => {
    everywhere((move) => move.do !== 'leave' || (move.takenOver === 'never') === (move.state === 'stuck'));
  });

  test('only its owner lets others have it at once', () => {
    everywhere((move, { call }) => move.do !== 'leave' || move.takenOver !== 'at-once' || call.fence === 1);
  });
});

test('every try of an attempt has one token, and no other attempt has it', () => {
  const { token, compensationToken } = durableCallRules;
  const calls = [1, 2].map((attempt) => holding({ attempt }).call);
  expect(calls.map(token)).toEqual(['parcel-1:1', 'parcel-1:2']);
  for (const call of calls) expect(token({ ...call, fence: 9, state: 'looking' })).toBe(token(call));
  const tries = [0, 1, 2].map((compensationTry) => holding({ compensationTry, fence: 9 }).call);
  expect(tries.map((call) => compensationToken(call, 'cancel'))).toEqual(
    [1, 1, 2].map((number) => `parcel-1:1:cancel:${number}`),
  );
});
