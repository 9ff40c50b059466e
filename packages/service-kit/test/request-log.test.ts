import { PassThrough } from 'node:stream';
import Fastify from 'fastify';
import { expect, test } from 'vitest';
import { requestLog } from '../src/request-log.ts';

/** A log of this level, and the lines that have been written. */
function logOf(level: string) {
  const lines: Record<string, unknown>[] = [];
  const stream = new PassThrough();
  stream.on('data', (data: Buffer) => {
    for (const line of data.toString().trim().split('\n')) lines.push(JSON.parse(line));
  });
  const { log } = Fastify({ logger: { level, stream, base: null, timestamp: false, redact: ['secret'] } });
  let made = 0;
  const counted: typeof log = Object.create(log, {
    child: {
      value: (...options: Parameters<typeof log.child>) => {
        made++;
        return log.child(...options);
      },
    },
  });
  return { log: counted, lines, made: () => made };
}

test('what is written names its request, and blacks out what the service does', () => {
  const { log, lines } = logOf('info');
  const request = requestLog(log, { reqId: 'one' });
  request.info({ secret: 'x' }, 'first');
  request.error(new Error('second'));
  request.child({ part: 'a' }).warn('third');
  expect(lines).toMatchObject([
    { level: 30, reqId: 'one', secret: '[Redacted]', msg: 'first' },
    { level: 50, reqId: 'one', err: { message: 'second' } },
    { level: 40, reqId: 'one', part: 'a', msg: 'third' },
  ]);
});

test('nothing is made for a request that writes nothing, and once for one that does', () => {
  const { log, lines, made } = logOf('warn');
  const request = requestLog(log, { reqId: 'one' });
  for (const level of ['info', 'debug', 'trace'] as const) request[level]('not written');
  expect([made(), lines]).toEqual([0, []]);
  expect(request.level).toBe('warn');
  request.warn('written');
  request.fatal('written too');
  expect([made(), lines.length]).toEqual([1, 2]);
});

test('a request may be more talkative than its service', () => {
  const { log, lines } = logOf('warn');
  const request = requestLog(log, { reqId: 'one' });
  request.level = 'debug';
  request.debug('written');
  expect(lines).toMatchObject([{ level: 20, reqId: 'one', msg: 'written' }]);
});
