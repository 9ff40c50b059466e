import type { Mutant, NamedTest } from './mutant.ts';

const onExpress = (name: string): NamedTest => ({
  file: 'test/http/express.test.ts',
  name: `a guarded route of Express > ${name}`,
});
const onNestjs = (name: string, platform = 'express'): NamedTest => ({
  file: 'test/http/nestjs.test.ts',
  name: `a guarded route of NestJS on ${platform} > ${name}`,
});

const FIRST_ANSWER = 'the first answer of a handler is its answer, whatever it says or throws afterwards';
const MIDDLEWARE =
  'middleware before the guard is at work on every answer, and what comes after it is stored';

const captured: readonly Mutant[] = [
  {
    file: 'src/http/captured-answer.ts',
    line: 'if (other === undefined) Object.assign(response, this.#head);\n      else replaceHead',
    replacement: 'if (other !== undefined) replaceHead',
    why: 'an error handler that comes after the answer does not change its status',
    test: onExpress(FIRST_ANSWER),
  },
  {
    file: 'src/http/captured-answer.ts',
    line: `this.#isThrough() || this.#stage === 'handling' ? this.#through(name, args) : this.#response`,
    replacement: 'this.#through(name, args)',
    why: 'nor its headers',
    test: onExpress(FIRST_ANSWER),
  },
  {
    file: 'src/http/captured-answer.ts',
    line: '    response.writeHead(response.statusCode);\n',
    why: 'headers that are set just before the head is written are part of the answer',
    test: onExpress(MIDDLEWARE),
  },
  {
    file: 'src/http/captured-answer.ts',
    line: `(this.#stage === 'sent' && !response.headersSent)`,
    replacement: '(false)',
    why: 'middleware that takes its time before it sends is waited for',
    test: onExpress(MIDDLEWARE),
  },
  {
    file: 'src/http/captured-answer.ts',
    line: '      Object.assign(response, this.#head);\n      return this',
    replacement: '      return this',
    why: 'an error handler does not change the status of an answer that is on its way out',
    test: onExpress(
      'an error handler that sets a status while the answer is on its way out does not change it',
    ),
  },
  {
    file: 'src/http/captured-answer.ts',
    line: `through('writeHead', [this.#head.statusCode])`,
    replacement: `through('writeHead', args)`,
    why: 'nor does it write another head',
    test: onExpress(
      'an error handler that writes a head while the answer is on its way out does not change it',
    ),
  },
  {
    file: 'src/http/captured-answer.ts',
    line: 'if (response.headersSent) response.destroy();\n      else restoreHeaders',
    replacement: 'restoreHeaders',
    why: 'what fails when the head is out is told',
    test: onExpress(
      'what fails beneath when the head is out goes to the error handler, and the answer is kept',
    ),
  },
  {
    file: 'src/http/captured-answer.ts',
    line: '    source.destroy();\n',
    why: 'a stream of which nothing is sent is not read on',
    test: onExpress('a stream that comes after the answer is not read'),
  },
  {
    file: 'src/http/captured-answer.ts',
    line: '      else restoreHeaders(response, this.#before);\n',
    why: 'an error of the store’s does not go out with the handler’s cookies',
    test: onExpress(
      'what the store cannot do at all goes to the error handler, and nothing of the handler’s with it',
    ),
  },
  {
    file: 'src/http/captured-answer.ts',
    line: `if (this.#stage === 'handling') this.abandon();\n`,
    replacement: `if (this.#stage === 'handling') void 0;\n`,
    why: 'who breaks the connection off does not hold the key for ever',
    test: onExpress('a handler that breaks the connection off has perhaps had its effect: its key is taken'),
  },
];

const TIMED_OUT =
  'a request that is answered by a time-out while the store is asked: the handler does not run, and the key is free';
const AROUND = 'the handler runs within what an observer has put around the guard';
const situation = (name: string, framework: string): NamedTest => ({
  file: `test/http/${framework}.test.ts`,
  name: `${framework}, redis > several at once, and in the middle of something > ${name}`,
});

/** What stands between a key that has been taken and its handler. */
const beforeTheHandler: readonly Mutant[] = [
  {
    file: 'src/http/express.ts',
    line: 'if (isAnswered(response)) {',
    replacement: 'if (false) {',
    why: 'who has been told that nothing was done is not charged afterwards',
    test: situation(TIMED_OUT, 'express'),
  },
  {
    file: 'src/http/nestjs.ts',
    line: '    if (isAnswered(response)) {\n',
    replacement: '    if (false) {\n',
    why: 'a key is not held for a handler that does not run',
    test: situation(TIMED_OUT, 'nestjs'),
  },
  {
    file: 'src/http/hono.ts',
    line: 'if (context.finalized && !wasFinalized) {',
    replacement: 'if (false) {',
    why: 'who has been told that nothing was done is not charged afterwards',
    test: situation(TIMED_OUT, 'hono'),
  },
  {
    file: 'src/http/express.ts',
    line: 'begun.within(next);',
    replacement: 'next();',
    why: 'spans of the handler’s are below the guard’s',
    test: situation(AROUND, 'express'),
  },
  {
    file: 'src/http/nestjs.ts',
    line: 'begun.within(() => next.handle())',
    replacement: 'next.handle()',
    why: 'spans of the handler’s are below the guard’s',
    test: situation(AROUND, 'nestjs'),
  },
  {
    file: 'src/http/hono.ts',
    line: 'await begun.within(next);',
    replacement: 'await next();',
    why: 'spans of the handler’s are below the guard’s',
    test: situation(AROUND, 'hono'),
  },
  {
    file: 'src/http/express.ts',
    line: ` && !pattern.includes('*')`,
    why: 'a guard before many routes is not one route',
    test: onExpress('the same key on two routes behind one guard with a wildcard is two keys'),
  },
  {
    file: 'src/http/hono.ts',
    line: `routePath.split('/').includes('*') ? path : routePath`,
    replacement: 'routePath',
    why: 'a guard before many routes is not one route',
    test: {
      file: 'test/http/hono.test.ts',
      name: 'a guarded route of Hono > the same key on two routes behind one guard on * is two keys',
    },
  },
];

const bodies: readonly Mutant[] = [
  {
    file: 'src/http/arrived-body.ts',
    line: '  if (!request.readableDidRead) return undefined;\n',
    why: 'a body of another kind is the client’s mistake, not the service’s',
    test: onExpress('a body that nothing reads is refused, with 415'),
  },
  {
    file: 'src/http/arrived-body.ts',
    line: '  throw new MisuseError(',
    replacement: '  if (Date.now() > 0) return Buffer.of();\n  throw new MisuseError(',
    why: 'two bodies are not the same because nobody has kept them',
    test: onExpress('a body that was parsed and not kept is a mistake, which says what to write'),
  },
  {
    file: 'src/http/express.ts',
    line: 'return baseUrl + (typeof pattern',
    replacement: 'return (typeof pattern',
    why: 'a route is where its router is mounted',
    test: onExpress('the same key on two routers that are mounted at two places is two keys'),
  },
];

const nestjs: readonly Mutant[] = [
  {
    file: 'src/http/nestjs.ts',
    line: '.pipe(tap({ unsubscribe: torn }))',
    why: 'a handler that is torn down does not hold its key for ever',
    test: onNestjs(
      'an Observable is torn down when its client goes, and its key is taken until the lease is over',
    ),
  },
  {
    file: 'src/http/nestjs.ts',
    line: 'if (response.req.socket.destroyed) captured',
    replacement: 'captured',
    why: 'who gives a handler up has his own answer',
    test: onNestjs('what an interceptor around it answers when it gives up is what is sent'),
  },
  {
    file: 'src/http/nestjs.ts',
    line: 'refuse = () => subscriber.complete();',
    why: 'events that nobody is sent are not made',
    test: onNestjs('events are a stream, whose source is torn down'),
  },
  {
    file: 'src/http/nestjs.ts',
    line: '  setImmediate(() => captured.abandon());\n',
    why: 'a handler that answers by itself is answered for',
    test: onNestjs('a handler that answers by itself is replayed'),
  },
  {
    file: 'src/http/nestjs.ts',
    line: 'if (value !== undefined) response.raw.setHeader(name, value);',
    replacement: 'void [name, value];',
    why: 'what the service has told Fastify before is on replays too',
    test: onNestjs('what is set on the response before it is on every answer', 'fastify'),
  },
];

/** What becomes of an answer between its handler and the connection, where that is Node's. */
export const httpAnswerMutants: readonly Mutant[] = [...captured, ...beforeTheHandler, ...bodies, ...nestjs];
