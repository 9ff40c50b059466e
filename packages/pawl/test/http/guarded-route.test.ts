import { AsyncLocalStorage } from 'node:async_hooks';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  EVERYBODY,
  type GuardedRequest,
  guardedRoute,
  type HttpIdempotencyOptions,
  leaseOf,
  type OtherAnswer,
  problemAnswer,
  transactionOf,
} from '../../src/http/index.ts';
import {
  type Answer,
  done,
  type IdempotencyKeys,
  type IdempotencyStore,
  idempotencyKeys,
  MisuseError,
  memoryIdempotencyStore,
  observe,
  refused,
  type SqlTransaction,
  StoreError,
  type TransactionalIdempotencyKeys,
} from '../../src/index.ts';

interface Incoming {
  readonly user?: string | number | undefined;
}

type Options = HttpIdempotencyOptions<Incoming>;

const newKeys = (more: Partial<IdempotencyStore> = {}) =>
  idempotencyKeys({ ...memoryIdempotencyStore(), ...more }, { leaseMs: 60_000, renewForMs: 0 });

const route = (more: Partial<Options> = {}) =>
  guardedRoute({ keys: newKeys(), member: ({ user }: Incoming) => user, ...more });

const paid: Answer = { status: 201, headers: { location: '/bills/1' }, body: Buffer.from('paid') };

function asked(more: Partial<GuardedRequest<Incoming>> = {}): GuardedRequest<Incoming> {
  const request = { user: 'kim' };
  return {
    request,
    method: 'POST',
    route: '/pay',
    target: '/pay',
    header: 'key',
    body: Buffer.from('{}'),
    ...more,
  };
}

/** Runs the handler of a request. @returns what is sent in place of its answer. */
async function handle(
  guarded: ReturnType<typeof route>,
  request = asked(),
  answer = paid,
): Promise<OtherAnswer | undefined> {
  const begun = await guarded.begin(request);
  if (!begun.run || begun.end === undefined) throw new Error('it does not run');
  return begun.end({ answer });
}

/** What is answered in place of the handler. */
async function refusal(guarded: ReturnType<typeof route>, request = asked()) {
  const begun = await guarded.begin(request);
  if (begun.run) throw new Error('it runs');
  const { status, headers, body } = begun.answer;
  return { status, headers, problem: JSON.parse(Buffer.from(body).toString()) };
}

const storeError = (code: ConstructorParameters<typeof StoreError>[0], effect: 'none' | 'unknown') =>
  new StoreError(code, effect, 'no');
const throwing = (error: unknown) => async () => Promise.reject(error);

describe('a guarded route', () => {
  test.each([
    ['keys', { keys: undefined }],
    ['keys', { keys: {} }],
    ['member', { member: undefined }],
    ['member', { member: 'somebody' }],
    ['maxAnswerBytes', { maxAnswerBytes: 1.5 }],
    ['maxAnswerBytes', { maxAnswerBytes: -1 }],
    ['answerWithinMs', { answerWithinMs: 0 }],
    ['answerWithinMs', { answerWithinMs: 2 ** 31 }],
  ])('is not made with wrong options: %s', (name, more) => {
    const make = () => route(more as unknown as Partial<Options>);
    expect(make).toThrow(MisuseError);
    expect(make).toThrow(name);
  });

  test('a member is who it is by name, be it a number or text, now or later', async () => {
    const members: Options['member'][] = [() => 7, () => '7', async () => 7];
    const keys = newKeys();
    const [first, ...others] = members.map((member) => route({ keys, member }));
    expect(await handle(first ?? route())).toBeUndefined();
    for (const other of others) {
      const begun = await other.begin(asked());
      expect(begun).toMatchObject({ run: false, answer: { headers: { 'idempotency-replayed': 'true' } } });
    }
  });

  test.each([undefined, null, ''])(
    'a request of nobody (%j) is refused before anything is said of its key',
    async (user) => {
      for (const header of ['key', 'two keys', undefined]) {
        const refused = await refusal(route(), asked({ request: { user } as Incoming, header }));
        expect(refused).toMatchObject({ status: 401, problem: { code: 'unauthenticated' } });
      }
    },
  );

  test('a member who is called everybody is one member', async () => {
    const keys = newKeys();
    const asEverybody = asked({ request: { user: EVERYBODY } });
    expect(await handle(route({ keys, member: EVERYBODY }), asEverybody)).toBeUndefined();
    expect(await handle(route({ keys }), asEverybody)).toBeUndefined();
  });

  test('member 0 is somebody', async () => {
    expect(await handle(route(), asked({ request: { user: 0 } }))).toBeUndefined();
  });

  test.each([
    ['what no scope can hold', 'a\0b'],
    // As text they would all be one member, and be given each other's answers.
    ['an object', { id: 7 }],
    ['no number', Number.NaN],
    ['true', true],
  ])('a member who is %s is a misuse', async (_, user) => {
    const request = asked({ request: { user } as unknown as Incoming });
    await expect(route().begin(request)).rejects.toThrow(MisuseError);
  });

  test('what is part of a request: its method, its target and its body, each of which ends somewhere', async () => {
    const guarded = route({ member: EVERYBODY });
    await handle(guarded, asked({ target: '/pay', body: Buffer.from('a') }));
    for (const other of [
      { target: '/pay?x', body: Buffer.from('a') },
      { target: '/pay', body: Buffer.from('a ') },
      { target: '/paya', body: Buffer.alloc(0) },
      { target: '/pa', body: Buffer.from('y\na') },
    ]) {
      expect(await refusal(guarded, asked(other))).toMatchObject({ status: 422 });
    }
    expect(await handle(guarded, asked({ method: 'PUT' }))).toBeUndefined();
  });

  test('a problem says what it is, in a form of RFC 9457', async () => {
    expect(await refusal(route(), asked({ header: undefined }))).toEqual({
      status: 400,
      headers: { 'content-type': 'application/problem+json' },
      problem: {
        type: 'about:blank',
        title: 'Idempotency-Key is missing',
        status: 400,
        detail: expect.stringContaining('needs the header Idempotency-Key'),
        code: 'idempotency-key-missing',
      },
    });
    const elsewhere = route({ rulesUrl: 'https://example.com/rules' });
    const { problem } = await refusal(elsewhere, asked({ header: 'two keys' }));
    expect(problem.type).toBe('https://example.com/rules#idempotency-key-invalid');
  });

  test('who is asked to come again is told when, in whole seconds, and never at once', () => {
    for (const [retryAfterMs, seconds] of [
      [0, '1'],
      [1_000, '1'],
      [1_001, '2'],
      [undefined, '1'],
    ] as const) {
      const { headers } = problemAnswer('in-progress', retryAfterMs === undefined ? {} : { retryAfterMs });
      expect(headers?.['retry-after']).toBe(seconds);
    }
    expect(problemAnswer('payload-mismatch', {}).headers).not.toHaveProperty('retry-after');
  });

  test('while a handler runs its lease is told: when to come again', async () => {
    const guarded = route();
    await guarded.begin(asked());
    const { headers } = await refusal(guarded);
    expect(Number(headers['retry-after'])).toBeGreaterThan(50);
  });

  describe('a store that fails', () => {
    test.each([
      ['UNAVAILABLE', 'none', 'store-unavailable'],
      ['CONNECTION_LOST', 'unknown', 'store-unavailable'],
      ['STATEMENT_CANCELED', 'none', 'store-unavailable'],
      ['ROLLED_BACK', 'none', 'store-unavailable'],
      ['DEADLOCK', 'none', 'contended'],
      ['SERIALIZATION_FAILURE', 'none', 'contended'],
    ] as const)(
      'before the handler, with %s and effect %s: %s, and the service is told',
      async (...given) => {
        const [code, effect, expected] = given;
        const told: unknown[] = [];
        const error = storeError(code, effect);
        const keys = { ...newKeys(), run: throwing(error) } as IdempotencyKeys;
        const guarded = route({ keys, onStoreError: (one) => told.push(one) });
        expect(await refusal(guarded)).toMatchObject({ status: 503, problem: { code: expected } });
        expect(told).toEqual([error]);
      },
    );

    test('after the handler, the service is told once', async () => {
      const told: unknown[] = [];
      const error = storeError('CONNECTION_LOST', 'unknown');
      const guarded = route({ keys: ending(throwing(error)), onStoreError: (one) => told.push(one) });
      expect(await handle(guarded)).toMatchObject({ status: 503 });
      expect(told).toEqual([error]);
    });

    test('a listener that throws changes nothing', async () => {
      const keys = newKeys({ claim: throwing(storeError('UNAVAILABLE', 'none')) });
      const guarded = route({ keys, onStoreError: throwing(new Error('no')) });
      expect(await refusal(guarded)).toMatchObject({ status: 503 });
    });

    test.each([
      ['REJECTED', storeError('REJECTED', 'none')],
      ['a misuse', new MisuseError('no')],
    ])('%s is the service’s own mistake, and thrown', async (_, error) => {
      await expect(route({ keys: newKeys({ claim: throwing(error) }) }).begin(asked())).rejects.toBe(error);
    });

    test.each([
      ['CONNECTION_LOST', 'unknown', 'outcome-unknown'],
      ['LOCK_TIMEOUT', 'none', 'contended'],
      ['UNAVAILABLE', 'none', 'store-unavailable'],
    ] as const)('after the handler, in its transaction, with %s and effect %s: %s', async (...given) => {
      const [code, effect, expected] = given;
      const keys = ending(throwing(storeError(code, effect)));
      const other = await handle(route({ keys }));
      expect(other?.status).toBe(503);
      expect(JSON.parse(Buffer.from(other?.body ?? '').toString()).code).toBe(expected);
    });

    test('a mistake of the service’s after the handler is thrown by its end', async () => {
      const error = storeError('REJECTED', 'none');
      await expect(handle(route({ keys: ending(throwing(error)) }))).rejects.toBe(error);
    });
  });

  test('a transaction that is tried again does not make the handler run again', async () => {
    let tries = 0;
    const keys = {
      runIn: () => undefined,
      async run(_: unknown, work: (transaction: SqlTransaction) => Promise<unknown>) {
        for (tries = 1; tries <= 3; tries++) await work({} as SqlTransaction);
        return done(paid);
      },
    } as unknown as TransactionalIdempotencyKeys;
    const other = await handle(route({ keys }));
    expect(other).toMatchObject({ status: 503, headers: { 'retry-after': '1' } });
    expect(tries).toBe(2);
  });

  describe('what the handler holds', () => {
    test('its lease, with the attempt, for as long as it likes', async () => {
      const keys = newKeys();
      const guarded = route({ keys });
      const request = asked();
      await guarded.begin(request);
      expect(leaseOf(keys, request.request)).toMatchObject({ attempt: 1 });
    });

    test('its transaction', async () => {
      const transaction = {} as SqlTransaction;
      const keys = ending(async () => done(paid), transaction);
      const request = asked();
      await route({ keys }).begin(request);
      expect(transactionOf(keys, request.request)).toBe(transaction);
    });

    test('nothing, where there is no key and none is required', async () => {
      const keys = newKeys();
      const request = asked({ header: undefined });
      expect(await route({ keys, required: false }).begin(request)).toEqual({ run: true, end: undefined });
      expect(leaseOf(keys, request.request)).toBeUndefined();
    });

    test('on a route of other keys, or of none, it is a misuse to ask', async () => {
      const request = asked();
      expect(() => leaseOf(newKeys(), request.request)).toThrow(MisuseError);
      await route().begin(request);
      expect(() => leaseOf(newKeys(), request.request)).toThrow(MisuseError);
    });
  });

  test('what runs within what has begun is below what the guard is told by', async () => {
    const context = new AsyncLocalStorage<string>();
    const stop = observe({
      began: () => ({ around: (run) => context.run('the guard', run), ended: () => undefined }),
    });
    onTestFinished(stop);
    const begun = await route().begin(asked());
    if (!begun.run || begun.end === undefined) throw new Error('it does not run');
    expect(context.getStore()).toBeUndefined();
    expect(begun.within(() => context.getStore())).toBe('the guard');
    await begun.end({ answer: paid });
  });

  test('two guards on one route are one', async () => {
    const keys = newKeys();
    const [outer, inner, other] = [route({ keys }), route({ keys }), route({ keys, member: EVERYBODY })];
    const request = asked();
    const begun = await outer.begin(request);
    if (!begun.run || begun.end === undefined) throw new Error('it does not run');
    expect(await inner.begin(request)).toEqual({ run: true, end: undefined });
    expect(leaseOf(keys, request.request)).toMatchObject({ attempt: 1 });
    await begun.end({ answer: paid });
    // For another request of the same member it is a guard, and so is one that asks for somebody else.
    expect(await inner.begin(asked())).toMatchObject({ run: false });
    expect(await other.begin(request)).toHaveProperty('end', expect.any(Function));
  });

  test('a handler that was not called leaves its key free', async () => {
    const guarded = route();
    const begun = await guarded.begin(asked());
    if (!begun.run || begun.end === undefined) throw new Error('it does not run');
    expect((await refusal(guarded)).problem.code).toBe('in-progress');
    expect(await begun.end({ notRun: true })).toMatchObject({ status: 503 });
    expect(await handle(guarded)).toBeUndefined();
  });

  test.each([
    ['was not called', { notRun: true } as const],
    ['answered too late', undefined],
  ])('a handler that %s is rolled back', async (_, handled) => {
    const ended = Promise.withResolvers<unknown>();
    const keys = {
      runIn: () => undefined,
      async run(_: unknown, work: (transaction: SqlTransaction) => Promise<unknown>) {
        const outcome = await work({} as SqlTransaction);
        ended.resolve(outcome);
        return outcome;
      },
    } as unknown as TransactionalIdempotencyKeys;
    const begun = await route({ keys, answerWithinMs: handled === undefined ? 1 : 60_000 }).begin(asked());
    if (!begun.run || begun.end === undefined) throw new Error('it does not run');
    if (handled !== undefined) void begun.end(handled);
    expect(await ended.promise).toMatchObject({ outcome: 'refused' });
    // Nothing came of it, whatever it says now.
    expect(await begun.end({ answer: paid })).toMatchObject({ status: 503, headers: { 'retry-after': '1' } });
  });

  test('an answer that was declined in its transaction is the handler’s own', async () => {
    const keys = ending(async () => refused('declined'));
    expect(await handle(route({ keys }), asked(), { ...paid, status: 402 })).toBeUndefined();
  });

  test('a replay has what is stored, says so, and nothing more', async () => {
    const guarded = route();
    const answer = {
      ...paid,
      headers: { ...paid.headers, 'Set-Cookie': 'a=1', 'Content-Type': 'text/plain' },
    };
    expect(await handle(guarded, asked(), answer)).toBeUndefined();
    const begun = await guarded.begin(asked());
    expect(begun).toEqual({
      run: false,
      answer: {
        status: 201,
        headers: { location: '/bills/1', 'content-type': 'text/plain', 'idempotency-replayed': 'true' },
        body: Uint8Array.from(Buffer.from('paid')),
      },
    });
  });
});

/** Keys in transactional mode, whose transaction comes to this end once the handler has answered. */
function ending(
  end: () => Promise<unknown>,
  transaction = {} as SqlTransaction,
): TransactionalIdempotencyKeys {
  return {
    runIn: () => undefined,
    async run(_: unknown, work: (transaction: SqlTransaction) => Promise<{ outcome: string }>) {
      const ended = await work(transaction);
      return ended.outcome === 'refused' ? ended : end();
    },
  } as unknown as TransactionalIdempotencyKeys;
}
