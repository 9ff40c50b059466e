import type { Mutant, NamedTest } from './mutant.ts';

const telemetry = (name: string): NamedTest => ({ file: 'test/opentelemetry.test.ts', name });
const guards = (name: string): NamedTest => ({ file: 'test/opentelemetry-guards.test.ts', name });
const calls = (name: string): NamedTest => ({ file: 'test/opentelemetry-durable-calls.test.ts', name });

const CORE = 'src/observe.ts';
const ADAPTER = 'src/adapters/opentelemetry.ts';
const CANARIES = telemetry(
  'what is never told > keys, scopes, payloads, answers; messages, names and codes of the caller’s errors; reasons that are none',
);

const BATCHES = telemetry(
  'transactions that callers share > each by how many share it, how long the first has waited, and how many are left; no key, no item',
);

/** What those who watch are told of the guards, and what they cannot do to them. */
export const observeMutants: readonly Mutant[] = [
  {
    file: CORE,
    line: 'for (const { observer } of observers) quiet(() => observer.batched?.(seen))(undefined);',
    replacement: '',
    why: 'whoever watches is told of shared transactions',
    test: BATCHES,
  },
  {
    file: ADAPTER,
    line: 'batchLeft.record(left, attributes);',
    replacement: 'batchLeft.record(size, attributes);',
    why: 'a queue that grows is seen before it refuses',
    test: BATCHES,
  },
  {
    file: CORE,
    line: `return typeof value === 'string' && Object.hasOwn(REASONS, value);`,
    replacement: `return typeof value === 'string';`,
    why: 'a reason that is none may be anything, a secret too',
    test: CANARIES,
  },
  {
    file: CORE,
    line: `return isOurs ? error.code : 'OTHER';`,
    replacement: `return (error as { code: FailureCode }).code;`,
    why: 'the code of somebody else’s error may be anything',
    test: CANARIES,
  },
  {
    file: CORE,
    line: '      once();\n    };',
    replacement: '    };',
    why: 'an observer does not keep the others from being around the work',
    test: telemetry(
      'an observer > that never runs what it is around disturbs neither the guard nor the others',
    ),
  },
  {
    file: CORE,
    line: ' && observation !== null',
    why: 'an observer without types does not change what happens',
    test: telemetry('an observer > that says so in its own way disturbs neither the guard nor the others'),
  },
  {
    file: CORE,
    line: 'running ??= work();',
    replacement: 'running = work();',
    why: 'the work runs once, whatever observers do',
    test: telemetry('an observer > that runs it again and again disturbs neither the guard nor the others'),
  },
  {
    file: CORE,
    line: 'for (const observation of this.#observations) quiet(one)(observation);',
    replacement: 'for (const observation of this.#observations) one(observation);',
    why: 'an observer that throws does not change what happens',
    test: telemetry('an observer > that throws in everything disturbs neither the guard nor the others'),
  },
  {
    file: CORE,
    line: 'if (seen !== undefined) seen.happened(event);\n  else for',
    replacement: 'if (seen !== undefined) seen.happened(event);\n  else if (false) for',
    why: 'an event of an operation that nobody saw begin is told all the same',
    test: telemetry(
      'events, which are told also where nobody gave onEvent > of an operation that had begun unseen',
    ),
  },
  {
    file: CORE,
    line: `const effect = error instanceof StoreError ? error.effect : undefined;`,
    replacement: 'const effect = undefined;',
    why: 'a lost answer is told from a refusal',
    test: telemetry('spans > only what threw is an error, and is recorded by its code'),
  },
  {
    file: ADAPTER,
    line: 'context.with(trace.setSpan(context.active(), span), run)',
    replacement: 'run()',
    why: 'the caller’s spans are below the guard’s',
    test: telemetry(
      'spans > with it, below the guard’s, which is below the caller’s; the claim is an event in it',
    ),
  },
  {
    file: ADAPTER,
    line: `if (ending.outcome === 'failed') fail(span, ending);`,
    why: 'what threw is an error',
    test: telemetry('spans > only what threw is an error, and is recorded by its code'),
  },
  {
    file: 'src/lock-hold.ts',
    line: `happened('distributed-lock', { kind, cause }, this.#seen);`,
    why: 'a lock that is lost is told also where nobody gave onEvent',
    test: telemetry(
      'events, which are told also where nobody gave onEvent > a lock that a second owner has been granted',
    ),
  },
  {
    file: 'src/idempotency-run.ts',
    line: `happened('idempotency-key', { kind, cause }, this.#seen);`,
    why: 'a key that is lost is told also where nobody gave onEvent',
    test: telemetry(
      'events, which are told also where nobody gave onEvent > a key that a second owner has taken over',
    ),
  },
  {
    file: 'src/durable-call-run.ts',
    line: `happened('durable-call', { kind, cause }, this.#seen);`,
    why: 'a call that nobody heard of is told also where nobody gave onEvent',
    test: calls(
      'its steps are below it, and its events are counted, also where nobody gave onEvent; no code, subject or message is told',
    ),
  },
  {
    file: 'src/durable-call-run.ts',
    line: `reason: outcome === 'refused' ? 'declined' : outcome`,
    replacement: `reason: 'declined'`,
    why: 'what was not sent is not what was declined',
    test: calls('a call > not sent'),
  },
  {
    file: 'src/pessimistic-lock.ts',
    line: 'const locked = await lockedRow(',
    replacement: 'const locked = await lockRow(',
    why: 'a lock that is not granted to work is a refusal, and no error of a step below it',
    test: guards('pessimistic lock > work under it, locked by another'),
  },
];
