import { once } from 'node:events';
import { connect } from 'node:net';
import Value from 'typebox/value';
import { describe, expect, test } from 'vitest';
import { errorCodes } from '../src/error-codes.ts';
import { PaymentBody } from '../src/payment.ts';
import { AUTHORIZATION, manualClock, ORDER, startSandbox } from './harness.ts';

const basic = (credentials: string) => `Basic ${Buffer.from(credentials).toString('base64')}`;
const RANGE = 'startDate=2000-01-01T00:00:00&endDate=2100-01-01T00:00:00';

describe('authentication', () => {
  const routes = [
    ['POST', '/v1/payments/confirm'],
    ['POST', '/v1/payments/pay_1/cancel'],
    ['GET', '/v1/payments/pay_1'],
    ['GET', '/v1/payments/orders/order-1'],
    ['GET', `/v1/transactions?${RANGE}`],
  ] as const;

  test.each([
    ['nothing', '', 403, 'INCORRECT_BASIC_AUTH_FORMAT'],
    ['a bearer token', 'Bearer test_sk_sandbox', 403, 'INCORRECT_BASIC_AUTH_FORMAT'],
    ['the bare key', 'Basic test_sk_sandbox', 403, 'INCORRECT_BASIC_AUTH_FORMAT'],
    ['the key without a colon', basic('test_sk_sandbox'), 403, 'INCORRECT_BASIC_AUTH_FORMAT'],
    ['another key', basic('test_sk_other:'), 401, 'UNAUTHORIZED_KEY'],
    ['the key with a password', basic('test_sk_sandbox:x'), 401, 'UNAUTHORIZED_KEY'],
  ])(
    'with %s every provider route refuses, and records that without reading the body',
    async (_what, authorization, status, code) => {
      const sandbox = await startSandbox();
      for (const [method, path] of routes) {
        const body = method === 'POST' ? ORDER : undefined;
        const refused = await sandbox.call(method, path, body, { authorization });
        expect([path, refused.status, refused.body.code]).toEqual([path, status, code]);
      }
      const unread = { type: 'request', keyRefused: true, wellFormed: false, amount: null };
      expect(await sandbox.ledger()).toMatchObject([
        { ...unread, operation: 'confirm', paymentKey: null, orderId: null },
        { ...unread, operation: 'cancel', paymentKey: 'pay_1', orderId: null },
        { ...unread, operation: 'lookup', paymentKey: 'pay_1', orderId: null },
        { ...unread, operation: 'lookup', paymentKey: null, orderId: 'order-1' },
        { ...unread, operation: 'transactions', paymentKey: null, orderId: null },
      ]);
    },
  );
});

describe('bad input', () => {
  test.each([
    ['an amount as text', { ...ORDER, amount: '1000' }],
    ['a fraction', { ...ORDER, amount: 1000.5 }],
    ['zero', { ...ORDER, amount: 0 }],
    ['less than zero', { ...ORDER, amount: -1000 }],
    ['an unsafe integer', '{"paymentKey":"pay_1","orderId":"order-1","amount":9007199254740993}'],
    ['infinity', '{"paymentKey":"pay_1","orderId":"order-1","amount":1e400}'],
    ['a short order id', { ...ORDER, orderId: 'o-1' }],
    ['a long order id', { ...ORDER, orderId: 'o'.repeat(65) }],
    ['a NUL in the payment key', { ...ORDER, paymentKey: 'pay\u0000' }],
    ['a long payment key', { ...ORDER, paymentKey: 'p'.repeat(201) }],
    ['a missing field', { orderId: 'order-1', amount: 1000 }],
    ['an unknown field', { ...ORDER, extra: 1 }],
    ['an array', [ORDER]],
    ['broken JSON', '{"paymentKey":'],
    ['an empty body', ''],
  ])('%s is INVALID_REQUEST: recorded as malformed, and captures nothing', async (_what, body) => {
    const sandbox = await startSandbox();
    const refused = await sandbox.confirm(body);
    expect([refused.status, refused.body.code]).toEqual([400, 'INVALID_REQUEST']);
    expect(Object.keys(refused.body)).toEqual(['code', 'message']);
    const events = await sandbox.ledger();
    expect(events).toMatchObject([{ type: 'request', operation: 'confirm', wellFormed: false }]);
    expect((await sandbox.confirm()).status).toBe(200);
  });

  test('what a malformed request says about its order is recorded', async () => {
    const sandbox = await startSandbox();
    await sandbox.confirm({ ...ORDER, extra: 1 }, { 'x-request-id': 'r-1' });
    expect(await sandbox.ledger()).toMatchObject([{ ...ORDER, wellFormed: false, requestId: 'r-1' }]);
  });

  test('a body that is too large, of another type, or for no route is answered in the provider’s shape', async () => {
    const sandbox = await startSandbox();
    const large = await sandbox.confirm({ ...ORDER, extra: 'x'.repeat(70_000) });
    expect([large.status, large.body.code]).toEqual([413, 'INVALID_REQUEST']);
    const xml = await sandbox.confirm('<a/>', { 'content-type': 'application/xml' });
    expect([xml.status, xml.body.code]).toEqual([415, 'INVALID_REQUEST']);
    const nowhere = await sandbox.call('GET', '/v2/payments');
    expect([nowhere.status, nowhere.body.code]).toEqual([404, 'NOT_FOUND']);
  });

  test('a bad session is refused, and leaves nothing behind', async () => {
    const sandbox = await startSandbox();
    for (const body of [
      { ...ORDER, sessionMs: 0 },
      { ...ORDER, amount: '1' },
      { ...ORDER, paymentKey: '' },
    ]) {
      const refused = await sandbox.openSession(body);
      expect([refused.status, refused.body.code]).toEqual([400, 'INVALID_REQUEST']);
    }
    expect(await sandbox.ledger()).toEqual([]);
  });
});

describe('a test code', () => {
  test.each(Object.entries(errorCodes))('%s is answered with its status', async (code, { status }) => {
    const sandbox = await startSandbox();
    const refused = await sandbox.confirm(ORDER, { 'tosspayments-test-code': code });
    expect([refused.status, refused.body.code]).toEqual([status, code]);
    expect((await sandbox.ledger()).map(({ type }) => type)).toEqual(['request']);
    expect(await sandbox.ledger()).toMatchObject([{ ...ORDER, testCode: code }]);
  });

  test('that nobody knows is INVALID_REQUEST, and named', async () => {
    const sandbox = await startSandbox();
    for (const code of ['NO_SUCH_CODE', 'toString']) {
      const refused = await sandbox.confirm(ORDER, { 'tosspayments-test-code': code });
      expect([refused.status, refused.body.code]).toEqual([400, 'INVALID_REQUEST']);
      expect(refused.body.message).toContain(code);
    }
    expect(await sandbox.count('capture')).toBe(0);
  });

  test('keeps a cancel from refunding', async () => {
    const sandbox = await startSandbox();
    await sandbox.confirm();
    const refused = await sandbox.cancel({}, 'pay_1', { 'tosspayments-test-code': 'FAILED_REFUND_PROCESS' });
    expect(refused.status).toBe(500);
    expect(await sandbox.count('refund')).toBe(0);
  });
});

test('a payment has all its fields, before and after it is paid', async () => {
  const sandbox = await startSandbox();
  await sandbox.openSession();
  const waiting = await sandbox.lookUp();
  expect(waiting.body).toMatchObject({ status: 'IN_PROGRESS', approvedAt: null, balanceAmount: 0 });
  const paid = await sandbox.confirm();
  expect(paid.body).toMatchObject({
    paymentKey: 'pay_1',
    orderId: 'order-1',
    totalAmount: 1000,
    balanceAmount: 1000,
    status: 'DONE',
    currency: 'KRW',
    method: 'CARD',
    type: 'NORMAL',
    cancels: null,
    failure: null,
  });
  expect((await sandbox.lookUp()).text).toBe(paid.text);
  expect((await sandbox.call('GET', '/v1/payments/orders/order-1')).text).toBe(paid.text);
  for (const { body } of [waiting, paid, await sandbox.cancel({ cancelAmount: 1 })])
    expect([...Value.Errors(PaymentBody, body)]).toEqual([]);
});

test('what nobody opened is not found', async () => {
  const sandbox = await startSandbox();
  for (const path of ['/v1/payments/pay_1', '/v1/payments/orders/order-1']) {
    const missing = await sandbox.call('GET', path);
    expect([missing.status, missing.body.code]).toEqual([404, 'NOT_FOUND']);
  }
  expect(await sandbox.ledger()).toMatchObject([
    { operation: 'lookup', paymentKey: 'pay_1', orderId: null },
    { operation: 'lookup', paymentKey: null, orderId: 'order-1' },
  ]);
});

test('a client that goes away is recorded, and charged all the same', async () => {
  const clock = manualClock();
  const sandbox = await startSandbox({ clock });
  const { hostname, port } = new URL(sandbox.url);
  const socket = connect(Number(port), hostname);
  const body = JSON.stringify(ORDER);
  socket.write(
    `POST /v1/payments/confirm HTTP/1.1\r\nHost: x\r\nAuthorization: ${AUTHORIZATION}\r\nX-Request-Id: gone\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  await expect.poll(clock.sleeping).toBe(1);
  socket.resetAndDestroy();
  await once(socket, 'close');
  expect(await sandbox.ledger()).toMatchObject([{ type: 'request', ...ORDER, requestId: 'gone' }]);
  clock.advance(0);
  await expect.poll(() => sandbox.count('capture')).toBe(1);
  expect((await sandbox.ledger()).at(-1)).toMatchObject({ type: 'capture', requestId: 'gone' });
});

test('the ledger is served from any point on', async () => {
  const sandbox = await startSandbox();
  await sandbox.confirm();
  const all = await sandbox.ledger();
  expect(all.map(({ seq, type }) => [seq, type])).toEqual([
    [1, 'request'],
    [2, 'session'],
    [3, 'capture'],
  ]);
  expect(await sandbox.ledger(2)).toEqual(all.slice(2));
  expect(await sandbox.ledger(3)).toEqual([]);
  expect(await sandbox.ledger(99)).toEqual([]);
  const response = await fetch(`${sandbox.url}/sandbox/ledger?after=0`);
  expect(response.headers.get('content-type')).toBe('application/x-ndjson');
  await response.text();
  expect((await sandbox.call('GET', '/sandbox/ledger?after=-1')).body.code).toBe('INVALID_REQUEST');
});
