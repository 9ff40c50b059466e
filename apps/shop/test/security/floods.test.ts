import { once } from 'node:events';
import { connect } from 'node:net';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { together } from '../../../../test/barrier.ts';
import { type OrderRef, type Shops, startProvider, startShops, untilFileEnds } from '../harness.ts';
import { confirmationOf } from './route-table.ts';

/** For who sends slowly; all else has the time that it takes. */
const REQUEST_TIMEOUT_MS = 300;
const MB = 1024 * 1024;

const ends = untilFileEnds();
let provider: Awaited<ReturnType<typeof startProvider>>;
let shops: Shops;
let impatient: Shops;

beforeAll(async () => {
  provider = await startProvider({}, ends);
  shops = await startShops({ providerUrl: provider.url, ends, env: { LAB_MODE: '0' } });
  const env = { LAB_MODE: '0', REQUEST_TIMEOUT_MS: String(REQUEST_TIMEOUT_MS) };
  impatient = await startShops({ databaseUrl: shops.databaseUrl, ends, env });
});

/**
 * Sends bytes as they are, with those of `more` after them as long as the connection takes them.
 *
 * @returns all that was answered until the connection ended, and how much had been sent by then
 */
async function sendRaw(
  bytes: string | Buffer,
  more?: () => AsyncIterable<Buffer> | Iterable<Buffer>,
  to: Shops = shops,
) {
  const { hostname, port } = new URL(to.urls[0] ?? '');
  const socket = connect(Number(port), hostname);
  onTestFinished(() => {
    socket.destroy();
  });
  let received = '';
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1');
  });
  const ended = new Promise<string>((resolve) => {
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(String(error.code)));
    socket.on('close', () => resolve('end'));
  });
  socket.write(bytes);
  let sent = 0;
  for await (const chunk of more?.() ?? []) {
    if (socket.destroyed || !socket.writable) break;
    if (!socket.write(chunk)) await Promise.race([once(socket, 'drain').catch(() => undefined), ended]);
    sent += chunk.length;
  }
  await ended;
  const [head = '', body = ''] = received.split('\r\n\r\n');
  return { status: Number(head.split(' ')[1]), body: body === '' ? undefined : JSON.parse(body), head, sent };
}

const headers = (lines: readonly string[]) => [...lines, '', ''].join('\r\n');
const post = (path: string, lines: readonly string[]) =>
  headers([`POST ${path} HTTP/1.1`, 'host: shop', 'content-type: application/json', ...lines]);
const refusal = (status: number, code: string) => ({
  success: false,
  status,
  message: expect.any(String),
  code,
  data: null,
});

describe('an idempotency key', () => {
  /** A confirmation with these lines in its head, as bytes. */
  const confirm = (order: OrderRef, lines: readonly string[]) => {
    const body = JSON.stringify(confirmationOf(order));
    const head = post('/api/tickets', ['connection: close', ...lines, `content-length: ${body.length}`]);
    return sendRaw(Buffer.from(head + body, 'latin1'));
  };

  test('has 1 to 255 visible characters, and comes once; all else is refused, and pays nothing', async () => {
    const order = await shops.order();
    const asked = await provider.requests();
    const bad: Record<string, readonly string[]> = {
      empty: ['idempotency-key:'],
      blank: ['idempotency-key:    '],
      'of 256 characters': [`idempotency-key: ${'k'.repeat(256)}`],
      'of 10,000 characters': [`idempotency-key: ${'k'.repeat(10_000)}`],
      'with a blank': ['idempotency-key: a b'],
      'with a tabulator': ['idempotency-key: a\tb'],
      'with a letter that is not ASCII': ['idempotency-key: kéy'],
      'with DEL': ['idempotency-key: a\x7fb'],
      'that comes twice': ['idempotency-key: k1', 'Idempotency-Key: k2'],
      'that comes twice, the same': ['idempotency-key: k1', 'idempotency-key: k1'],
      'of two': ['idempotency-key: k1, k2'],
      // What is no HTTP is refused before there is a request.
      'with NUL': ['idempotency-key: a\0b'],
      'with a control character': ['idempotency-key: a\x01b'],
      'with a bare line break': ['idempotency-key: a\nb'],
    };
    const wrong: string[] = [];
    for (const [name, lines] of Object.entries(bad)) {
      const { status, body } = await confirm(order, lines);
      if (status !== 400 || body?.code !== 'invalid-request')
        wrong.push(`${name}: ${status} ${JSON.stringify(body)}`);
      expect(body).toEqual(refusal(400, 'invalid-request'));
    }
    expect(wrong).toEqual([]);
    const huge = await confirm(order, [`idempotency-key: ${'k'.repeat(MB)}`]);
    expect([huge.status, huge.body]).toEqual([431, refusal(431, 'headers-too-large')]);
    expect(await provider.requests()).toBe(asked);
    expect(await shops.see(order)).toMatchObject({ status: 'WAITING', payment: null });

    for (const length of [1, 255]) {
      const paid = await confirm(await shops.order(), [`idempotency-key: ${'k'.repeat(length)}`]);
      expect(paid.status).toBe(200);
    }
  });

  test('that nobody has used leaves nothing behind, however many there are', async () => {
    const order = await shops.order();
    expect((await shops.confirm(order, { headers: { 'idempotency-key': 'first' } })).status).toBe(200);
    const records = () => shops.sql('SELECT * FROM pawl_durable_call ORDER BY 1');
    const before = await records();
    const asked = await provider.requests();
    const replies = await together(100, (index) => {
      const key = { headers: { 'idempotency-key': `flood-${index}` } };
      return index % 2 === 0
        ? shops.confirm(order, key)
        : shops.confirm({ ...order, orderId: `none-${index}` }, key);
    });
    const codes = new Set(replies.map(({ status, body }) => `${status} ${body.code}`));
    expect([...codes].toSorted()).toEqual(['400 already-done', '404 order-not-found']);
    expect(await records()).toEqual(before);
    expect(await provider.requests()).toBe(asked);
  });
});

describe('a body', () => {
  test('of a megabyte and one byte is refused by its head', async () => {
    const { status, body } = await sendRaw(
      post('/api/orders', [`content-length: ${MB + 1}`]) + 'x'.repeat(MB + 1),
    );
    expect([status, body]).toEqual([413, refusal(413, 'body-too-large')]);
  });

  const MORE = Buffer.from(`10000\r\n${'x'.repeat(0x10000)}\r\n`);
  const UNSIZED = post('/api/orders', ['transfer-encoding: chunked']);

  test('that does not say how long it is, and is too long, is read to its end and refused', async () => {
    const { status, body } = await sendRaw(UNSIZED, function* fourMegabytes() {
      for (let sent = 0; sent < 4 * MB; sent += 0x10000) yield MORE;
      yield Buffer.from('0\r\n\r\n');
    });
    expect([status, body]).toEqual([413, refusal(413, 'body-too-large')]);
  });

  test('without an end ends the connection', async () => {
    const { status, body, sent } = await sendRaw(UNSIZED, function* endless() {
      for (;;) yield MORE;
    });
    // What is on its way when the connection is closed resets it, and who had not yet read the answer has lost it.
    if (body !== undefined) expect([status, body]).toEqual([413, refusal(413, 'body-too-large')]);
    expect(sent).toBeLessThan(64 * MB);
  });

  test.each([
    ['100,000 deep', 100_000, 413, 'body-too-large'],
    ['as deep as fits', 16_000, 400, 'invalid-request'],
  ])('that is nested %s is refused', async (_name, depth, status, code) => {
    const nested = `${'['.repeat(depth)}${']'.repeat(depth)}`;
    for (const text of [nested, `{"a":${nested}}`, `{"tickets":${nested}}`]) {
      expect((await shops.call('POST', '/api/orders', text)).body).toEqual(refusal(status, code));
    }
  });

  test('or a head that comes a byte at a time is given up, and answered', async () => {
    async function* slowly() {
      for (;;) {
        await new Promise((resolve) => setTimeout(resolve, REQUEST_TIMEOUT_MS / 10));
        yield Buffer.from('1');
      }
    }
    const slow = [post('/api/orders', ['content-length: 10000']), 'POST /api/orders HTTP/1.1\r\nhost: '];
    const answers = await Promise.all(slow.map((bytes) => sendRaw(bytes, slowly, impatient)));
    for (const { status, body } of answers) {
      expect([status, body]).toEqual([408, refusal(408, 'request-timeout')]);
    }
  });
});

test('what is no HTTP is answered in the envelope, and the connection ends', async () => {
  const get = (lines: readonly string[]) => headers(['GET /ping HTTP/1.1', ...lines]);
  const bad = [
    'hello\r\n\r\n',
    headers(['GET /ping HTTP/9.9', 'host: shop']),
    headers(['BREW /ping HTTP/1.1', 'host: shop']),
    get(['host: shop', 'a b: c']),
    get(['host: shop', 'x: a\rSet-Cookie: b=1']),
    get(['host: shop', 'content-length: 1', 'transfer-encoding: chunked']),
    get(['host: shop', 'content-length: 1', 'content-length: 2']),
    get(['host: shop', 'content-length: -1']),
  ];
  for (const bytes of bad) {
    const { status, body, head } = await sendRaw(bytes);
    expect([bytes, status, body]).toEqual([bytes, 400, refusal(400, 'invalid-request')]);
    expect(head).not.toMatch(/set-cookie/i);
  }
  const many = await sendRaw(
    get(['host: shop', ...Array.from({ length: 500 }, (_, at) => `x-${at}: ${'y'.repeat(100)}`)]),
  );
  expect([many.status, many.body]).toEqual([431, refusal(431, 'headers-too-large')]);
});
