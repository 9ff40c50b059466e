// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are lines of code.
import type { Mutant, NamedTest } from './mutant.ts';

const core = (name: string): NamedTest => ({
  file: 'test/http/guarded-route.test.ts',
  name: `a guarded route > ${name}`,
});
const header = (name: string): NamedTest => ({
  file: 'test/http/idempotency-header.test.ts',
  name: `the value of Idempotency-Key > ${name}`,
});
/** A row of the table, on one framework and one store. */
const row = (name: string, framework = 'fastify', store = 'redis'): NamedTest => ({
  file: `test/http/${framework}.test.ts`,
  name: `${framework}, ${store} > one request after the other > ${name}`,
});
const situation = (name: string, framework = 'fastify'): NamedTest => ({
  file: `test/http/${framework}.test.ts`,
  name: `${framework}, redis > several at once, and in the middle of something > ${name}`,
});
const transactional = (name: string): NamedTest => ({
  file: 'test/http/fastify.test.ts',
  name: `fastify, postgres > in transactional mode > ${name}`,
});
const onFastify = (name: string): NamedTest => ({
  file: 'test/http/fastify.test.ts',
  name: `guarded routes of Fastify > ${name}`,
});
const copies = (name: string): NamedTest => ({ file: 'test/http/copied-body.test.ts', name });
const onHono = (name: string): NamedTest => ({
  file: 'test/http/hono.test.ts',
  name: `a guarded route of Hono > ${name}`,
});

const whoseAndWhat: readonly Mutant[] = [
  {
    file: 'src/http/idempotency-header.ts',
    line: `?.replace(/\\\\(.)/g, '$1')`,
    why: 'a key in quotes is the same as without them',
    test: header('with what is escaped in quotes'),
  },
  {
    file: 'src/http/idempotency-header.ts',
    line: '\\x23-\\x2b\\x2d-\\x7e]*$',
    replacement: '\\x23-\\x7e]*$',
    why: 'two headers are not one key',
    test: header('of two headers that were joined without a blank'),
  },
  {
    file: 'src/http/idempotency-header.ts',
    line: 'if (key.length > MOST_CHARACTERS) {',
    replacement: 'if (false) {',
    why: 'a key that no column holds is the client’s mistake',
    test: row('a key of 256 characters'),
  },
  {
    file: 'src/http/guarded-route.ts',
    line: `if (whose === undefined) return { run: false, answer: problem('unauthenticated') };`,
    why: 'a request of nobody is not somebody’s',
    test: core('a request of nobody (undefined) is refused before anything is said of its key'),
  },
  {
    file: 'src/http/guarded-route.ts',
    line: `['member', String(name)]`,
    replacement: '[String(name)]',
    why: 'a member who is called everybody is one member',
    test: core('a member who is called everybody is one member'),
  },
  {
    file: 'src/http/guarded-route.ts',
    line: 'scope: [...whose, `${method} ${route}`]',
    replacement: 'scope: whose',
    why: 'a key of another route is another key',
    test: row('the key of another route'),
  },
  {
    file: 'src/http/guarded-route.ts',
    line: '`${method} ${target}\\n`',
    replacement: '``',
    why: 'the query is part of what was asked',
    test: row('another query'),
  },
  {
    file: 'src/http/guarded-route.ts',
    line: '`${method} ${target}\\n`',
    replacement: '`${method} ${target}`',
    why: 'what the target says is not said by the body',
    test: core(
      'what is part of a request: its method, its target and its body, each of which ends somewhere',
    ),
  },
  {
    file: 'src/http/guarded-work.ts',
    line: 'work === undefined || work.keys !== keys',
    replacement: 'work === undefined',
    why: 'nobody is given what other keys hold',
    test: core('what the handler holds > on a route of other keys, or of none, it is a misuse to ask'),
  },
];

const answers: readonly Mutant[] = [
  {
    file: 'src/http/guarded-route.ts',
    line: 'if (isHandled) throw new HandledBeforeError();',
    why: 'a request is handled once, however often its transaction is tried',
    test: core('a transaction that is tried again does not make the handler run again'),
  },
  {
    file: 'src/http/guarded-route.ts',
    line: 'own.status < 400) return done(own);',
    replacement: 'own.status < 600) return done(own);',
    why: 'a decline leaves no rows',
    test: transactional('a decline rolls back, is not stored, and the next request runs'),
  },
  {
    file: 'src/http/guarded-route.ts',
    line: 'if (isGuardedBy(request, keys, keyed)) return',
    replacement: 'if (false) return',
    why: 'a route with two guards does not wait for itself',
    test: core('two guards on one route are one'),
  },
  {
    file: 'src/http/guarded-route.ts',
    line: 'handled.resolve({ notRun: true })',
    replacement: 'undefined',
    why: 'a handler that never answers does not hold a transaction for ever',
    test: core('a handler that answered too late is rolled back'),
  },
  {
    file: 'src/http/guarded-route.ts',
    line: "if (typeof name === 'string' || Number.isFinite(name))",
    replacement: 'if (true)',
    why: 'two members who are objects are not one',
    test: core('a member who is an object is a misuse'),
  },
  {
    file: 'src/http/guarded-route.ts',
    line: 'isObserved() ? AsyncLocalStorage.snapshot()',
    replacement: 'isObserved() ? directly',
    why: 'the spans of a handler are below the guard’s',
    test: core('what runs within what has begun is below what the guard is told by'),
  },
  {
    file: 'src/http/guarded-route.ts',
    line: `disposition: 'store' as const,`,
    why: 'what has been done is not done again because its answer cannot be kept',
    test: row('an answer that is too large'),
  },
  {
    file: 'src/http/guarded-route.ts',
    line: `isTooLarge ? { unstorable: 'answer-too-large' } : answered`,
    replacement: 'answered',
    why: 'what is stored has a limit',
    test: row('an answer that is too large'),
  },
  {
    file: 'src/http/guarded-route.ts',
    line: 'if (outcome.value === own) return undefined;',
    why: 'whoever was first is given all headers of his answer',
    test: core('a replay has what is stored, says so, and nothing more'),
  },
  {
    file: 'src/http/guarded-route.ts',
    line: `if (error.effect === 'unknown') return problem(unknown);`,
    why: 'what may have been done is not said not to be',
    test: core(
      'a store that fails > after the handler, in its transaction, with CONNECTION_LOST and effect unknown: outcome-unknown',
    ),
  },
  {
    file: 'src/http/guarded-route.ts',
    line: '    onStoreError(error);\n',
    why: 'the service is told what its store could not do',
    test: core(
      'a store that fails > before the handler, with UNAVAILABLE and effect none: store-unavailable, and the service is told',
    ),
  },
  {
    file: 'src/http/problem.ts',
    line: 'Math.max(1, Math.ceil(retryAfterMs / 1_000))',
    replacement: 'Math.ceil(retryAfterMs / 1_000)',
    why: 'nobody is asked to come again at once, for ever',
    test: core('who is asked to come again is told when, in whole seconds, and never at once'),
  },
];

const FIRST_ANSWER = 'the first answer of a handler is its answer, whatever it says or throws afterwards';
const BY_ITSELF =
  'a handler that writes to the connection itself: what it wrote is sent, and is not done again';

const fastify: readonly Mutant[] = [
  {
    file: 'src/http/fastify.ts',
    line: 'if (!config.idempotent) return done();',
    replacement: 'return done();',
    why: 'a route that asks for a guard is not served without one',
    test: onFastify(
      'a route that asks to be idempotent, and would not be, is not served > because it was added before the plugin was there',
    ),
  },
  {
    file: 'src/http/fastify.ts',
    line: 'if (outer !== undefined) outer.guarded = guarded;',
    replacement: 'if (outer !== undefined) void 0;',
    why: 'whose answer it is, is said by the nearest registration',
    test: onFastify('of two registrations that reach a route the inner one counts'),
  },
  {
    file: 'src/http/fastify.ts',
    line: '[...hooks(route.onSend), conclude]',
    replacement: '[conclude, ...hooks(route.onSend)]',
    why: 'what is stored is what was sent',
    test: onFastify(
      'what hooks of the service make of an answer is stored, and they make nothing more of a replay',
    ),
  },
  {
    file: 'src/http/fastify.ts',
    line: '...hooks(route.preHandler),',
    why: 'hooks of the route come before the guard',
    test: onFastify('a hook of the route that refuses comes before the guard'),
  },
  {
    file: 'src/http/fastify.ts',
    line: `if (answering.state === 'concluding') return new Promise<never>(() => undefined);`,
    why: 'a second answer does not go out before the first is stored',
    test: onFastify(FIRST_ANSWER),
  },
  {
    file: 'src/http/fastify.ts',
    line: '      if (!hasHead(reply, statusCode, headers)) put(reply, statusCode, headers);\n',
    why: 'a second answer does not change the head of the first',
    test: onFastify(FIRST_ANSWER),
  },
  {
    file: 'src/http/fastify.ts',
    line: '    put(reply, 500, answering.before);\n',
    why: 'an error of the store’s does not go out with the handler’s cookies',
    test: onFastify(
      'what the store cannot do at all goes to the error handler, and nothing of the handler’s with it',
    ),
  },
  {
    file: 'src/http/fastify.ts',
    line: '...answering.before, ',
    why: 'what the service sets on every answer is on replays too',
    test: row('the same again: the same bytes, and the headers on the list alone'),
  },
  {
    file: 'src/http/fastify.ts',
    line: 'answering.isStreaming = true;',
    why: 'a connection that the handler wants for itself is a stream',
    test: situation('an answer that is a stream: hijack'),
  },
  {
    file: 'src/http/fastify.ts',
    line: 'if (raw.headersSent) return concludeWritten();',
    replacement: 'if (raw.headersSent) return;',
    why: 'a handler that has answered past Fastify does not hold its key',
    test: onFastify(BY_ITSELF),
  },
  {
    file: 'src/http/fastify.ts',
    line: 'if (raw.headersSent) return concludeWritten();',
    replacement: 'return concludeWritten();',
    why: 'a handler whose client has gone is not at its end',
    test: situation('a client that goes away while the handler runs: its answer is stored'),
  },
  {
    file: 'src/http/fastify.ts',
    line: 'if (payload === undefined && isOpen && !answering.isAwaited) reply.send();',
    why: 'nothing is an answer, also where nobody waits for it',
    test: situation('a client that goes away, and a handler that answers with nothing'),
  },
  {
    file: 'src/http/fastify.ts',
    line: ' && !answering.isAwaited',
    why: 'a handler that has returned the reply has not answered',
    test: onFastify('a handler that waits for somebody else to answer, after its client has gone'),
  },
  {
    file: 'src/http/copied-body.ts',
    line: 'readableEnded && this.#bytes <= this.#limit',
    replacement: 'this.#bytes <= this.#limit',
    why: 'a body of which nothing has been read is not the same as any other',
    test: onFastify('a body that its parser leaves to the handler is a mistake'),
  },
  {
    file: 'src/http/copied-body.ts',
    line: 'readableEnded && this.#bytes <= this.#limit',
    replacement: 'readableEnded',
    why: 'two bodies that begin alike are two',
    test: onFastify(
      'a body beyond the limit, of a parser that sets none, is a mistake: it could not be told from another',
    ),
  },
  {
    file: 'src/http/fastify.ts',
    line: 'concludeWritten();\n        return beneath',
    replacement: 'return beneath',
    why: 'a reply that is broken off after its client has gone does not hold its key',
    test: onFastify('a hook that fails keeps the key, as any server error, also where the client has gone'),
  },
  {
    file: 'src/http/copied-body.ts',
    line: 'return this.#source.receivedEncodedLength;',
    replacement: 'return undefined;',
    why: 'a body that was inflated is as long as its client said',
    test: row('a body that is compressed'),
  },
  {
    file: 'src/http/fastify.ts',
    line: '    stream.destroy();\n',
    why: 'a stream of which nothing is sent is not read on',
    test: situation('an answer that is a stream: stream'),
  },
];

const copied: readonly Mutant[] = [
  {
    file: 'src/http/copied-body.ts',
    line: 'if (!isToCome || push',
    replacement: 'if (push',
    why: 'what has come before somebody watches is part of the body',
    test: copies('where some of it has come already, what its parser reads is copied'),
  },
  {
    file: 'src/http/copied-body.ts',
    line: ' || push !== Readable.prototype.push) return;',
    replacement: ') return;',
    why: 'what somebody makes of a body is what its parser reads',
    test: copies('where somebody else changes what is pushed, what its parser reads is copied'),
  },
];

const hono: readonly Mutant[] = [
  {
    file: 'src/http/hono.ts',
    line: `if (typeof kept[1] === 'string') return kept[1];`,
    why: 'a stream is made of no text for the guard’s sake',
    test: onHono('an answer that is text is not read as a stream'),
  },
  {
    file: 'src/http/hono.ts',
    line: '[...context.body(null).headers]',
    replacement: 'context.body(null).headers as never',
    why: 'what the handler sets is not what the service has set before',
    test: row('an answer that is too large', 'hono'),
  },
  {
    file: 'src/http/hono.ts',
    line: '    context.res = undefined;\n',
    why: 'another answer has nothing of the handler’s',
    test: row('an answer that is too large', 'hono'),
  },
  {
    file: 'src/http/hono.ts',
    line: 'reader.cancel().catch(() => undefined);',
    why: 'a stream of which nothing is sent is not read on',
    test: situation('an answer that is a stream: response of a stream', 'hono'),
  },
  {
    file: 'src/http/hono.ts',
    line: 'if (isRead && bodyCache.arrayBuffer === undefined && bodyCache.text === undefined) {',
    replacement: 'if (false) {',
    why: 'a form that is written again has other bytes each time',
    test: onHono('a body that has been parsed as a form before is a mistake'),
  },
  {
    file: 'src/http/hono.ts',
    line: 'const isOutOfReach = res.headers.has(ALREADY_SENT);',
    replacement: 'const isOutOfReach = false;',
    why: 'what went past Hono is not an empty answer',
    test: onHono(BY_ITSELF),
  },
];

export const httpMutants: readonly Mutant[] = [...whoseAndWhat, ...answers, ...fastify, ...copied, ...hono];
