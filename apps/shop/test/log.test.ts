import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { createStrictServer } from '@pawl/service-kit';
import { expect, test } from 'vitest';
import { logOptions } from '../src/telemetry/log.ts';

const CANARY = 'canary-4111';

/** What the log says of this. */
async function logged(details: Record<string, unknown>): Promise<Record<string, unknown>> {
  const stream = new PassThrough();
  const { app } = createStrictServer({
    bodyLimitBytes: 1,
    requestTimeoutMs: 1_000,
    logger: { ...logOptions('info', 'shop'), stream },
    errorBody: () => ({}),
  });
  app.log.info(details, 'told');
  stream.end();
  return JSON.parse(await text(stream));
}

test('an error is shown by its message, its code and its causes, and not by what a driver has hung on it', async () => {
  const driver = Object.assign(new Error('Duplicate entry'), {
    code: 'ER_DUP_ENTRY',
    sql: `INSERT INTO t VALUES ('${CANARY}')`,
    command: { name: 'auth', args: [CANARY] },
    parameters: [CANARY],
    config: { password: CANARY },
  });
  const error = new Error('the store failed', { cause: driver });
  for (const key of ['err', 'cause']) {
    const line = await logged({ [key]: error, order: 'order-1' });
    expect(line).toMatchObject({
      order: 'order-1',
      [key]: { type: 'Error', message: 'the store failed', cause: { code: 'ER_DUP_ENTRY' } },
    });
    expect(JSON.stringify(line)).not.toContain(CANARY);
  }
  const many = await logged({ err: new AggregateError([driver, 'text'], 'all failed') });
  expect(many.err).toMatchObject({ errors: [{ message: 'Duplicate entry' }, { message: 'text' }] });
  expect(JSON.stringify(many)).not.toContain(CANARY);
});

test('causes that go round in a circle are shown some times', async () => {
  const one: Error = new Error('one');
  one.cause = new Error('two', { cause: one });
  expect(JSON.stringify((await logged({ err: one })).err)).toContain('two');
});

test.each([
  'authorization',
  'cookie',
  'set-cookie',
  'idempotency-key',
  'paymentKey',
  'password',
  'secret',
  'token',
])('%s is blacked out wherever somebody logs it', async (name) => {
  for (const details of [
    { [name]: CANARY },
    { payment: { [name]: CANARY } },
    { request: { headers: { [name]: CANARY } } },
    { headers: { [name]: CANARY } },
  ]) {
    const line = JSON.stringify(await logged(details));
    expect(line).toContain('***');
    expect(line).not.toContain(CANARY);
  }
});
