import { context, createContextKey, ProxyTracerProvider, trace } from '@opentelemetry/api';
import { createAllowListAttributesProcessor } from '@opentelemetry/sdk-metrics';
import { describe, expect, onTestFinished, test } from 'vitest';
import { until } from '../../../test/barrier.ts';
import { instrumentPawl } from '../src/adapters/opentelemetry.ts';
import {
  conditionalUpdate,
  distributedLocks,
  done,
  groupCommit,
  type IdempotencyKeyOptions,
  type IdempotencyStore,
  idempotencyKeys,
  memoryIdempotencyStore,
  memoryLockStore,
  type Observer,
  observe,
  refused,
  type SqlPort,
  StoreError,
} from '../src/index.ts';
import { postgres } from '../src/postgres/index.ts';
import { answer, newRequest } from './idempotency-stores.ts';
import { openStore } from './stores.ts';
import { openTelemetry, type Telemetry } from './telemetry.ts';

/* What OpenTelemetry is told, and what it is not. Each guard with each of its outcomes: opentelemetry-guards.test.ts. */

const work = async () => done(answer('bill'));

function keysOver(store: Partial<IdempotencyStore> = {}, options: IdempotencyKeyOptions = {}) {
  return idempotencyKeys({ ...memoryIdempotencyStore(), ...store }, options);
}

/** An SDK that is told of the guards until the test ends. */
function instrumented(): Telemetry {
  const telemetry = openTelemetry();
  onTestFinished(instrumentPawl(telemetry));
  return telemetry;
}

const names = (telemetry: Telemetry) => telemetry.spans().map(({ name }) => name);

/** How often each event was counted of each guard; the operations aside. */
async function events(telemetry: Telemetry): Promise<Record<string, number>> {
  const points = (await telemetry.points()).filter(({ name }) => !name.startsWith('pawl.operation'));
  return Object.fromEntries(
    points.map(({ name, attributes, value }) => [`${name} ${attributes['pawl.guard']}`, value]),
  );
}

describe('who is told', () => {
  test('nobody, without instrumentPawl', async () => {
    const telemetry = openTelemetry();
    await keysOver().run(newRequest(), work);
    expect(names(telemetry)).toEqual([]);
    expect(await telemetry.points()).toEqual([]);
  });

  test('with it, the providers; after its end nobody, but for what had begun', async () => {
    const telemetry = openTelemetry();
    const stop = instrumentPawl(telemetry);
    const keys = keysOver();
    const request = newRequest();
    await keys.run(request, async () => {
      stop();
      await keys.run(newRequest(), work);
      return done(answer('bill'));
    });
    await keys.run(request, work);
    expect(names(telemetry)).toEqual(['pawl.idempotency-key.run']);
    expect((await telemetry.points('pawl.operations')).map(({ value }) => value)).toEqual([1]);
  });

  test('twice, everything twice, and what was counted stays when one is taken away', async () => {
    const telemetry = openTelemetry();
    const counted = async () => (await telemetry.points('pawl.operations')).map(({ value }) => value);
    const stop = instrumentPawl(telemetry);
    const keys = keysOver();
    await keys.run(newRequest(), work);
    expect(await counted()).toEqual([1]);
    onTestFinished(instrumentPawl(telemetry));
    await keys.run(newRequest(), work);
    expect(await counted()).toEqual([3]);
    stop();
    await keys.run(newRequest(), work);
    expect(await counted()).toEqual([4]);
    expect((await telemetry.points('pawl.operation.duration')).map(({ value }) => value)).toEqual([4]);
  });

  test('without providers, the global ones', async () => {
    const telemetry = openTelemetry();
    onTestFinished(instrumentPawl());
    onTestFinished(() => trace.disable());
    // Later: those of the API pass on what is registered meanwhile.
    trace.setGlobalTracerProvider(telemetry.tracerProvider);
    await keysOver().run(newRequest(), work);
    expect(names(telemetry)).toEqual(['pawl.idempotency-key.run']);
  });
});

describe('spans', () => {
  /** A caller’s span, a key, and a query within its work. */
  async function handle({ tracer }: Telemetry): Promise<void> {
    await tracer.startActiveSpan('POST /pay', async (request) => {
      await keysOver().run(newRequest(), async () => {
        tracer.startSpan('INSERT').end();
        return done(answer('bill'));
      });
      request.end();
    });
  }

  const parents = (telemetry: Telemetry) => {
    const spans = telemetry.spans();
    return spans.map(({ name, parentSpanContext }) => {
      const parent = spans.find((one) => one.spanContext().spanId === parentSpanContext?.spanId);
      return [name, parent?.name];
    });
  };

  test('where nobody traces, the work is in the very context of the caller', async () => {
    const { meterProvider } = openTelemetry();
    onTestFinished(instrumentPawl({ meterProvider, tracerProvider: new ProxyTracerProvider() }));
    const callers = context.active().setValue(createContextKey('caller'), 'the caller');
    await context.with(callers, () =>
      keysOver().run(newRequest(), async () => {
        expect(context.active()).toBe(callers);
        return work();
      }),
    );
  });

  test('without it, a query of the work is below the caller’s span', async () => {
    const telemetry = openTelemetry();
    await handle(telemetry);
    expect(parents(telemetry)).toEqual([
      ['INSERT', 'POST /pay'],
      ['POST /pay', undefined],
    ]);
  });

  test('with it, below the guard’s, which is below the caller’s; the claim is an event in it', async () => {
    const telemetry = instrumented();
    await handle(telemetry);
    expect(parents(telemetry)).toEqual([
      ['INSERT', 'pawl.idempotency-key.run'],
      ['pawl.idempotency-key.run', 'POST /pay'],
      ['POST /pay', undefined],
    ]);
    const run = telemetry.spans().find(({ name }) => name.startsWith('pawl.'));
    expect(run?.attributes).toEqual({
      'pawl.guard': 'idempotency-key',
      'pawl.step': 'run',
      'pawl.store': 'memory',
      'pawl.attempt': 1,
      'pawl.takeover': false,
      'pawl.outcome': 'done',
      'pawl.replayed': false,
    });
    expect(run?.events.map(({ name, attributes }) => ({ name, attributes }))).toEqual([
      { name: 'pawl.claimed', attributes: { 'pawl.attempt': 1, 'pawl.takeover': false } },
    ]);
  });

  test('only what threw is an error, and is recorded by its code', async () => {
    const telemetry = instrumented();
    const lost = new StoreError('CONNECTION_LOST', 'unknown', 'what the driver said');
    const keys = keysOver();
    await keys.run(newRequest(), async () => refused('sold-out'));
    await keys.run(newRequest(), async () => ({ outcome: 'unknown' }));
    await keys.run(newRequest(), () => Promise.reject(lost)).catch(() => undefined);
    const [sold, unknown, failed] = telemetry.spans();
    // 0: unset; 2: an error.
    expect([sold, unknown, failed].map((span) => span?.status)).toEqual([
      { code: 0 },
      { code: 0 },
      { code: 2, message: 'CONNECTION_LOST' },
    ]);
    expect(failed?.attributes).toMatchObject({ 'error.type': 'CONNECTION_LOST', 'pawl.effect': 'unknown' });
    expect(failed?.events.at(-1)).toMatchObject({
      name: 'exception',
      attributes: { 'exception.type': 'CONNECTION_LOST' },
    });
  });
});

test('where a view keeps one attribute of the operations, all that have it are counted', async () => {
  const attributesProcessors = [createAllowListAttributesProcessor(['pawl.guard'])];
  const telemetry = openTelemetry([{ instrumentName: 'pawl.operations', attributesProcessors }]);
  onTestFinished(instrumentPawl(telemetry));
  const keys = keysOver();
  const request = newRequest();
  await keys.run(request, work);
  await keys.run(request, work);
  await keys.run(request, work);
  await keys.run({ ...request, payload: '{}' }, work);
  expect(await telemetry.points('pawl.operations')).toMatchObject([
    { attributes: { 'pawl.guard': 'idempotency-key' }, value: 4 },
  ]);
});

test('operations are counted by how they ended, and their durations', async () => {
  const telemetry = instrumented();
  const keys = keysOver();
  const request = newRequest();
  await keys.run(request, work);
  await keys.run(request, work);
  await keys.run(request, work);
  await keys.run({ ...request, payload: '{}' }, work);
  const points = await telemetry.points();
  const guard = { 'pawl.guard': 'idempotency-key', 'pawl.step': 'run' };
  const counted = (attributes: object, value: number) => ({
    name: 'pawl.operations',
    unit: '{operation}',
    attributes: { ...guard, ...attributes },
    value,
  });
  const timed = (outcome: string, value: number) => ({
    name: 'pawl.operation.duration',
    unit: 'ms',
    attributes: { ...guard, 'pawl.outcome': outcome },
    value,
    sum: expect.any(Number),
  });
  expect(points).toEqual([
    counted({ 'pawl.outcome': 'done', 'pawl.replayed': false }, 1),
    counted({ 'pawl.outcome': 'done', 'pawl.replayed': true }, 2),
    counted({ 'pawl.outcome': 'refused', 'pawl.reason': 'payload-mismatch' }, 1),
    timed('done', 3),
    timed('refused', 1),
  ]);
});

/** What the three histograms of batches have, by their names: how many values, and their sum. */
async function batches(telemetry: Telemetry) {
  const points = (await telemetry.points()).filter(({ name }) => name.startsWith('pawl.batch.'));
  for (const { attributes } of points) {
    expect(attributes).toEqual({ 'pawl.group': 'seats', 'pawl.store': 'postgres' });
  }
  return Object.fromEntries(
    points.map(({ name, unit, value, sum = Number.NaN }) => [name, { unit, value, sum }]),
  );
}

describe('transactions that callers share', () => {
  const settled = { outcome: 'done' } as const;

  /** A group whose transactions last until they are let go on. */
  function groupOf(maxBatch: number) {
    const begun: PromiseWithResolvers<void>[] = [];
    const sql: SqlPort = {
      dialect: postgres,
      execute: () => Promise.reject(new Error('nobody asks for that')),
      transaction: () => Promise.reject(new Error('nobody asks for that')),
      async readThenWrite(reads, decide) {
        const transaction = Promise.withResolvers<void>();
        begun.push(transaction);
        await transaction.promise;
        const decision = decide(reads.map(() => ({ rows: [], affectedRows: 0 })));
        if ('next' in decision) throw new Error('nobody asks for that');
        return decision.result([]);
      },
    };
    const group = groupCommit<string, typeof settled>(
      sql,
      {
        keyOf: () => 'key',
        read: () => [],
        decide: (items) => ({ writes: [], outcomes: () => items.map(() => settled) }),
        unknown: () => settled,
      },
      { name: 'seats', maxBatch },
    );
    return { group, begun };
  }

  test('each by how many share it, how long the first has waited, and how many are left; no key, no item', async () => {
    const telemetry = instrumented();
    const { group, begun } = groupOf(4);
    const alone = group.submit('4111-1111');
    await until(() => begun.length === 1);
    const cameMs = performance.now();
    const others = ['a', 'b', 'c', 'd', 'e', 'f'].map((item) => group.submit(item));
    await until(() => performance.now() - cameMs > 20);
    begun[0]?.resolve();
    await alone;
    await until(() => begun.length === 2);
    begun[1]?.resolve();
    await until(() => begun.length === 3);
    begun[2]?.resolve();
    await Promise.all(others);

    const {
      'pawl.batch.size': size,
      'pawl.batch.wait': wait,
      'pawl.batch.left': left,
    } = await batches(telemetry);
    expect(size).toEqual({ unit: '{caller}', value: 3, sum: 1 + 4 + 2 });
    expect(left).toEqual({ unit: '{caller}', value: 3, sum: 0 + 2 + 0 });
    expect(wait).toMatchObject({ unit: 'ms', value: 3 });
    // Two of them had waited for the first transaction.
    expect(wait?.sum).toBeGreaterThan(40);
    expect(await telemetry.exported()).not.toContain('4111-1111');
  });
});

describe('events, which are told also where nobody gave onEvent', () => {
  const unavailable = new StoreError('UNAVAILABLE', 'none', 'the store is away');
  const rejected = new StoreError('REJECTED', 'none', 'the row is too long');

  const eventsOf = (telemetry: Telemetry, nth: number) =>
    telemetry.spans()[nth]?.events.map(({ name }) => name);

  test('a key that a second owner has taken over', async () => {
    const telemetry = instrumented();
    let passedMs = 0;
    const store = memoryIdempotencyStore({ nowMs: () => performance.now() + passedMs });
    const keys = idempotencyKeys(store, { renewForMs: 0 });
    const request = newRequest();
    const first = await keys.run(request, async () => {
      passedMs = 60_000;
      await keys.run(request, async () => done(answer('the second owner’s')));
      return done(answer('the first owner’s'));
    });
    expect(first).toMatchObject({ outcome: 'done', replayed: true });
    expect(await events(telemetry)).toEqual({ 'pawl.lease.lost idempotency-key': 1 });
    expect(eventsOf(telemetry, 0)).toEqual(['pawl.claimed']);
    expect(eventsOf(telemetry, 1)).toEqual(['pawl.claimed', 'pawl.lease.lost']);
  });

  test('a lock that a second owner has been granted', async () => {
    const telemetry = instrumented();
    const store = memoryLockStore();
    const second = Promise.withResolvers<void>();
    const first = distributedLocks(store, { leaseMs: 30, renewForMs: 0 }).run('key', () => second.promise);
    await distributedLocks(store).run('key', async () => second.resolve());
    await first;
    expect(await events(telemetry)).toEqual({ 'pawl.lease.lost distributed-lock': 1 });
    const told = telemetry.spans().map((span) => span.events.map(({ name }) => name));
    // Whichever of the two ends first.
    expect(told.toSorted((a, b) => a.length - b.length)).toEqual([
      ['pawl.claimed'],
      ['pawl.claimed', 'pawl.lease.lost'],
    ]);
  });

  test('a renewal that failed', async () => {
    const telemetry = instrumented();
    const failed = Promise.withResolvers<void>();
    const renew = () => {
      failed.resolve();
      return Promise.reject(unavailable);
    };
    await keysOver({ renew }, { leaseMs: 300 }).run(newRequest(), async () => {
      await failed.promise;
      await until(async () => (await events(telemetry))['pawl.lease.renewal.failed idempotency-key'] === 1);
      return done(answer('bill'));
    });
    expect(eventsOf(telemetry, 0)).toEqual(['pawl.claimed', 'pawl.lease.renewal.failed']);
  });

  test('an answer that could not be stored', async () => {
    const telemetry = instrumented();
    await keysOver({ complete: () => Promise.reject(rejected) }).run(newRequest(), work);
    expect(await telemetry.points('pawl.answers.not_stored')).toMatchObject([
      { unit: '{answer}', attributes: { 'error.type': 'REJECTED' }, value: 1 },
    ]);
    expect(eventsOf(telemetry, 0)).toEqual(['pawl.claimed', 'pawl.answers.not_stored']);
  });

  test('a key that could not be given back', async () => {
    const telemetry = instrumented();
    const keys = keysOver({ release: () => Promise.reject(unavailable) });
    await keys.run(newRequest(), async () => refused('declined'));
    expect(await events(telemetry)).toEqual({ 'pawl.lease.not_released idempotency-key': 1 });
  });

  test('of an operation that had begun unseen', async () => {
    const telemetry = openTelemetry();
    await keysOver({ complete: () => Promise.reject(rejected) }).run(newRequest(), async () => {
      onTestFinished(instrumentPawl(telemetry));
      return done(answer('bill'));
    });
    expect(await events(telemetry)).toEqual({ 'pawl.answers.not_stored idempotency-key': 1 });
    expect(names(telemetry)).toEqual([]);
  });
});

describe('what is never told', () => {
  const CANARY = 'canary-4111111111111111';

  class CanaryError extends Error {
    override readonly name = CANARY;
    readonly code = CANARY;
  }

  test('keys, scopes, payloads, answers; messages, names and codes of the caller’s errors; reasons that are none', async () => {
    const telemetry = instrumented();
    const keys = keysOver();
    const secret = newRequest({ scope: [CANARY], key: CANARY, payload: CANARY });
    const error = new CanaryError(CANARY, { cause: CANARY });
    await keys.run(secret, async () => done(answer(CANARY, { headers: { location: CANARY } })));
    await keys.run(secret, work);
    await keys.run({ ...secret, payload: '' }, work);
    await keys.run({ ...secret, key: `${CANARY}\n` }, work).catch(() => undefined);
    await expect(keys.run({ ...secret, key: `${CANARY}-2` }, () => Promise.reject(error))).rejects.toBe(
      error,
    );
    await keys.run({ ...secret, key: `${CANARY}-3` }, async () => refused(CANARY as 'declined'));
    const failing = keysOver({ complete: () => Promise.reject(error), release: () => Promise.reject(error) });
    await failing.run(secret, work);
    await failing.run({ ...secret, key: `${CANARY}-4` }, async () => refused('declined'));
    const locks = distributedLocks(memoryLockStore());
    await locks.run(CANARY, async () => ({ outcome: CANARY, reason: CANARY, replayed: CANARY }));
    await locks.run(CANARY, () => Promise.reject(error)).catch(() => undefined);
    expect(telemetry.spans()).toHaveLength(10);
    expect(await telemetry.exported()).not.toContain(CANARY);
  });

  test('values of rows, which a driver quotes when it refuses them', async () => {
    const telemetry = instrumented();
    const database = await openStore('postgres');
    onTestFinished(() => database.close());
    await database.query('CREATE TABLE card (id int PRIMARY KEY, number varchar(40) UNIQUE)');
    await database.query('INSERT INTO card VALUES (1, ?), (2, ?)', CANARY, 'another');
    const card = { table: 'card', key: { id: 2 }, expect: { number: 'another' } };
    const error = await conditionalUpdate(database.open(), { ...card, set: { number: CANARY } }).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code: 'DUPLICATE_KEY' });
    expect(JSON.stringify((error as StoreError).cause)).toContain(CANARY);
    expect(telemetry.spans()[0]?.attributes).toMatchObject({ 'pawl.store': 'postgres' });
    expect(await telemetry.exported()).toContain('DUPLICATE_KEY');
    expect(await telemetry.exported()).not.toContain(CANARY);
  });
});

describe('an observer', () => {
  const fail = () => {
    throw new Error('the observer');
  };
  const reject = () => Promise.reject(new Error('the observer'));

  /** One that does what it should, and writes down what it is told. */
  function listening(told: string[], name = ''): Observer {
    return {
      began({ guard, step }) {
        told.push(`${name}${guard}.${step}`);
        return {
          around(run) {
            told.push(`${name}around`);
            run();
          },
          claimed: () => void told.push(`${name}claimed`),
          ended: ({ outcome }) => void told.push(`${name}${outcome}`),
        };
      },
    };
  }

  const badOnes: readonly (readonly [string, Observer['began']])[] = [
    ['throws when it begins', fail],
    ['wants to hear no more', () => undefined],
    ['says so in its own way', () => null as unknown as undefined],
    [
      'throws in everything',
      () => ({ around: fail, claimed: fail, tried: fail, happened: fail, ended: fail }),
    ],
    [
      'rejects in everything',
      () => ({ around: reject, claimed: reject, tried: reject, happened: reject, ended: reject }),
    ],
    ['never runs what it is around', () => ({ around: () => undefined, ended: () => undefined })],
    [
      'runs it again and again',
      () => ({
        around(run) {
          run();
          run();
          queueMicrotask(run);
        },
        ended: () => undefined,
      }),
    ],
  ];

  test.each(badOnes)('that %s disturbs neither the guard nor the others', async (_, began) => {
    const told: string[] = [];
    onTestFinished(observe({ began, happened: fail }));
    onTestFinished(observe(listening(told)));
    let runs = 0;
    const outcome = await keysOver({ release: reject }).run(newRequest(), async () => {
      runs++;
      return refused('declined');
    });
    expect({ outcome, runs }).toEqual({ outcome: refused('declined'), runs: 1 });
    expect(told).toEqual(['idempotency-key.run', 'around', 'claimed', 'refused']);
  });

  test('is told in the order of its coming, and the first is around the second', async () => {
    const told: string[] = [];
    for (const name of ['1 ', '2 ']) onTestFinished(observe(listening(told, name)));
    await keysOver().run(newRequest(), async () => {
      told.push('work');
      return done(answer('bill'));
    });
    expect(told).toEqual([
      '1 idempotency-key.run',
      '2 idempotency-key.run',
      '1 around',
      '2 around',
      '1 claimed',
      '2 claimed',
      'work',
      '1 done',
      '2 done',
    ]);
  });

  test('that came twice and was taken away once is told once', async () => {
    const told: string[] = [];
    const observer = listening(told);
    const stop = observe(observer);
    onTestFinished(observe(observer));
    stop();
    stop();
    await keysOver().run(newRequest(), work);
    expect(told).toEqual(['idempotency-key.run', 'around', 'claimed', 'done']);
  });
});
