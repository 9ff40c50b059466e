import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, inject, test } from 'vitest';
import { until } from '../../../../test/barrier.ts';
import { startProxy } from '../../../../test/proxy.ts';
import { newDatabase } from '../../../../test/stores.ts';
import { couponBody, snapshot } from '../coupons/coupons.ts';
import { openTables, type ShopTables } from '../database.ts';
import { startProvider, untilFileEnds } from '../harness.ts';
import { startOwnProcess } from '../own-process.ts';
import { confirmationOf } from './route-table.ts';
import { inSeconds, tokenOf } from './tokens.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const secret = () => `canary${randomBytes(20).toString('hex')}`;

const CARD = '4111111111111111';
const secrets = {
  'the key of the tokens': secret(),
  'the token of the metrics': secret(),
  'the provider’s key': secret(),
};
const JWT_SECRET = secrets['the key of the tokens'];
const tokens = [
  tokenOf({ sub: '7', exp: inSeconds(600) }, { secret: JWT_SECRET }),
  tokenOf({ sub: '7', exp: inSeconds(-1) }, { secret: JWT_SECRET }),
  tokenOf({ sub: '7', exp: inSeconds(600) }, { secret: 'another-key-that-is-as-long-as-it' }),
  tokenOf({ sub: '7', role: 'operator', exp: inSeconds(600) }, { secret: JWT_SECRET }),
];
const [MEMBER = '', EXPIRED = '', FORGED = '', OPERATOR = ''] = tokens;
/** What must be found nowhere, by its name: of a token its signature, as whoever has that has it. Passwords of servers come in `secretly`. */
const canaries: Record<string, string> = {
  ...secrets,
  'a card number': CARD,
  ...Object.fromEntries(tokens.map((token, index) => [`token ${index}`, token.split('.')[2] ?? ''])),
  'the provider’s key, as it is sent': Buffer.from(`${secrets['the provider’s key']}:`)
    .toString('base64')
    .slice(0, 40),
};

function expectNoSecret(where: string, found: string): void {
  const leaked = Object.entries(canaries).flatMap(([name, canary]) => {
    const at = found.indexOf(canary);
    return at === -1 ? [] : [`${name} in ${where}: …${found.slice(Math.max(0, at - 200), at + 60)}`];
  });
  expect(leaked).toEqual([]);
}

const ends = untilFileEnds();
let provider: Awaited<ReturnType<typeof startProvider>>;
let tables: ShopTables & { databaseUrl: string };
let shop: Awaited<ReturnType<typeof startOwnProcess>>;
/** The same shop in another process, for payments that are to last too long: it gives the provider no time. */
let impatient: Awaited<ReturnType<typeof startOwnProcess>>;
let proxies: Awaited<ReturnType<typeof startProxy>>[];

/** The same server, through a proxy; its password must not be seen. */
async function secretly(url: string, name: string) {
  const password = decodeURIComponent(new URL(url).password);
  if (password === '') throw new Error(`${name} has no password that could be seen`);
  canaries[`the password of ${name}`] = password;
  const proxy = await startProxy(url);
  ends(() => proxy.close());
  return { proxy, url: Object.assign(new URL(url), { port: String(proxy.port) }).href };
}

beforeAll(async () => {
  provider = await startProvider({ secretKey: secrets['the provider’s key'] }, ends);
  const databaseUrl = await newDatabase();
  tables = { ...openTables(databaseUrl), databaseUrl };
  ends(() => tables.end());
  const database = await secretly(databaseUrl, 'the database');
  const redis = await secretly(inject('redisUrl'), 'Redis');
  proxies = [database.proxy, redis.proxy];
  const env = {
    LAB_MODE: '0',
    LOG_LEVEL: 'trace',
    DATABASE_URL: database.url,
    REDIS_URL: redis.url,
    PAYMENT_BASE_URL: provider.url,
    PAYMENT_SECRET_KEY: secrets['the provider’s key'],
    JWT_SECRET,
    METRICS_TOKEN: secrets['the token of the metrics'],
    COUPON_STRATEGY: 'redis-counter',
  };
  [shop, impatient] = await Promise.all([
    startOwnProcess(env, ends),
    startOwnProcess({ ...env, PAYMENT_TIMEOUT_MS: '300' }, ends),
  ]);
});

interface Answer {
  status: number;
  text: string;
  data: Record<string, unknown>;
}

async function call(
  method: string,
  path: string,
  body?: unknown,
  token = MEMBER,
  { url } = shop,
): Promise<Answer> {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      cookie: `card=${CARD}`,
      'x-card': CARD,
      'x-request-id': CARD,
      'user-agent': CARD,
      referer: `http://shop/?card=${CARD}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const answer = await response.text();
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
  return { status: response.status, text: answer, data: isJson ? JSON.parse(answer).data : {} };
}

const newOrder = async () =>
  (await call('POST', '/api/orders', {})).data as unknown as Parameters<typeof confirmationOf>[0];
const confirm = async (
  order: Awaited<ReturnType<typeof newOrder>>,
  request = {},
  token = MEMBER,
  asked = shop,
) => call('POST', '/api/tickets', confirmationOf(order, request), token, asked);

/** What nobody else asks for. */
const MARK = '/docs/yaml';

/** All that a process has logged so far. It is written beside the answers: so it is asked for a mark, which comes after all else. */
async function logOf(asked: typeof shop): Promise<string> {
  const marksIn = (log: string) => log.split(`"route":"${MARK}"`).length;
  let log = await asked.log();
  const marks = marksIn(log);
  await call('GET', MARK, undefined, MEMBER, asked);
  await until(async () => {
    log = await asked.log();
    return marksIn(log) > marks;
  });
  return log;
}

test('a purchase is one line of the log, and so is a coupon', async () => {
  const order = await newOrder();
  expect((await confirm(order)).status).toBe(200);
  expect((await confirm(order)).status).toBe(200);
  expect((await confirm(order, { paymentKey: 'another' })).status).toBe(400);
  const wrong = await newOrder();
  expect((await confirm(wrong, { amount: 1 })).status).toBe(400);
  const unknown = await newOrder();
  await provider.fault({ when: 'after', orderId: unknown.orderId, next: 1, fault: { kind: 'reset' } });
  expect((await confirm(unknown)).status).toBe(202);
  const created = await call('POST', '/api/coupon', couponBody({ timeZone: 'UTC' }), OPERATOR);
  const couponId = created.data.id;
  for (const status of [200, 400]) {
    expect((await call('POST', `/api/coupon/${couponId}`)).status).toBe(status);
  }
  const line = {
    level: 30,
    strategy: 'durable',
    instance: 'own-process',
    durationMs: expect.any(Number),
    reqId: expect.stringMatching(/^[0-9a-f-]{36}$/),
  };
  const lines: Record<string, unknown>[] = (await logOf(shop))
    .split('\n')
    .slice(0, -1)
    .flatMap((text) => (text.startsWith('{') ? [JSON.parse(text)] : []));
  const linesOf = (name: string) => lines.filter(({ msg }) => msg === name);
  const purchases = linesOf('purchase');
  const one = { ...line, order: order.orderId };
  expect(purchases.map(({ time, pid, hostname, name, msg, ...rest }) => rest)).toEqual([
    { ...one, outcome: 'done', replayed: false },
    { ...one, outcome: 'done', replayed: true },
    { ...one, outcome: 'refused', reason: 'already-done' },
    { ...line, order: wrong.orderId, outcome: 'refused', reason: 'amount-mismatch' },
    { ...line, order: unknown.orderId, outcome: 'unknown' },
  ]);
  // The request that it belongs to says the same.
  const begun = linesOf('incoming request').find(({ reqId }) => reqId === purchases[0]?.reqId);
  expect(begun?.req).toEqual({ method: 'POST', route: '/api/tickets', remoteAddress: '127.0.0.1' });
  const coupons = linesOf('coupon.issue');
  const issue = { ...line, strategy: 'redis-counter', coupon: couponId };
  expect(coupons.map(({ time, pid, hostname, name, msg, ...rest }) => rest)).toEqual([
    { ...issue, outcome: 'done' },
    { ...issue, outcome: 'refused', reason: 'already-issued' },
  ]);
});

test('no secret is in what is logged, answered, counted or stored, whatever goes wrong', async () => {
  const told: string[] = [];
  const tell = async (answering: Promise<Answer>, ...statuses: number[]) => {
    const { status, text: told_ } = await answering;
    expect(statuses, told_).toContain(status);
    told.push(told_);
  };
  await tell(confirm(await newOrder()), 200);
  for (const token of [EXPIRED, FORGED, CARD, JWT_SECRET])
    await tell(confirm(await newOrder(), {}, token), 401);
  await tell(call('POST', '/api/coupon', couponBody()), 403);
  // What nobody asked for, and where nobody asked for it.
  const order = await newOrder();
  for (const [path, body] of [
    ['/api/tickets', { ...confirmationOf(order), card: CARD }],
    ['/api/tickets', confirmationOf(order, { cardNumber: CARD })],
    ['/api/tickets', `{"card": ${CARD},`],
    ['/api/tickets', `card=${CARD}`],
    ['/api/orders', { tickets: [[CARD]] }],
    ['/api/orders', { amount: Number(CARD) }],
    [`/api/orders?card=${CARD}`, { unknown: CARD }],
    ['/api/coupon', { ...couponBody(), cost: CARD }],
  ] as const) {
    await tell(call('POST', path, body, OPERATOR), 400);
  }
  await tell(call('POST', `/api/tickets?card=${CARD}`, confirmationOf(await newOrder())), 200);
  // Who asks with it is told the name of what is wrong, and nobody else is.
  await call('POST', '/api/tickets', { ...confirmationOf(order), [CARD]: CARD });
  await call('GET', `/api/${CARD}?card=${CARD}`);
  await call('GET', `/api/orders/${CARD}`);
  const raw = connect(Number(new URL(shop.url).port), '127.0.0.1');
  raw.end(`GET /ping HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer ${MEMBER}\r\ncard ${CARD}: x\r\n\r\n`);
  told.push(await text(raw));

  // The provider fails in every way, and refuses our key.
  const faults = [
    { kind: 'code', code: 'UNAUTHORIZED_KEY' },
    { kind: 'code', code: 'REJECT_CARD_PAYMENT' },
    { kind: 'status', status: 503 },
    { kind: 'reset' },
    { kind: 'truncate' },
    { kind: 'garble' },
    { kind: 'hang' },
  ];
  for (const fault of faults) {
    const failing = await newOrder();
    await provider.fault({ when: 'before', orderId: failing.orderId, next: 1, fault });
    await tell(confirm(failing, {}, MEMBER, fault.kind === 'hang' ? impatient : shop), 202, 400);
  }

  // The store fails: in a statement, and as a whole; then Redis.
  await tables.sql('ALTER TABLE coupon RENAME COLUMN code TO away');
  await tell(call('POST', '/api/coupon', couponBody(), OPERATOR), 500, 503);
  await tables.sql('ALTER TABLE coupon RENAME COLUMN away TO code');
  const created = await call('POST', '/api/coupon', couponBody({ timeZone: 'UTC' }), OPERATOR);
  const stored = JSON.stringify(await snapshot({ ...tables } as never));
  const metrics = await call('GET', '/metrics', undefined, secrets['the token of the metrics']);
  expect(metrics.status).toBe(200);
  told.push(metrics.text, (await call('GET', '/docs/json')).text);
  const [database, redis] = proxies;
  await redis?.close();
  await tell(call('POST', `/api/coupon/${created.data.id}`), 200, 400, 500, 503);
  await database?.close();
  await tell(confirm(order), 503);
  await tell(call('POST', '/api/orders', {}), 503);
  await tell(call('GET', '/health/ready'), 503);
  // All of that is said, or nothing would be shown by what is not.
  const said = [
    'the payment provider refuses our credentials',
    'a request could not be read',
    'the store failed',
    'the connection to Redis failed',
  ];
  let log = '';
  const unsaid = () => said.filter((line) => !log.includes(line));
  const looked = async () => {
    log = (await Promise.all([shop, impatient].map(logOf))).join('');
    return unsaid().length === 0;
  };
  await until(looked, 10_000, unsaid);
  expectNoSecret('the log', log);
  for (const answer of told) expectNoSecret('an answer', answer);
  expect(stored).toContain(order.orderId);
  expectNoSecret('the tables', stored);
});

test('a start that fails does not say with what', async () => {
  const base = {
    DATABASE_URL: 'postgres://127.0.0.1:1/none',
    PAYMENT_BASE_URL: 'http://127.0.0.1:1',
    PAYMENT_SECRET_KEY: secrets['the provider’s key'],
  };
  const withPassword = (url: string) =>
    Object.assign(new URL(url), { username: 'nobody', password: CARD }).href;
  const cases: Readonly<Record<string, readonly [Record<string, string>, number]>> = {
    PostgreSQL: [{ DATABASE_URL: withPassword(inject('postgresUrl')) }, 255],
    MariaDB: [{ DATABASE_URL: withPassword(inject('mariadbUrl')) }, 255],
    Redis: [{ REDIS_URL: withPassword(inject('redisUrl')) }, 255],
  };
  await Promise.all(
    Object.entries(cases).map(async ([name, [env, code]]) => {
      const failing = spawn(process.execPath, [MAIN], {
        env: { PATH: process.env.PATH, PORT: '0', LOG_LEVEL: 'trace', ...base, ...env },
        stdio: 'pipe',
      });
      const said = Promise.all([text(failing.stdout), text(failing.stderr)]);
      expect([name, ...(await once(failing, 'close'))]).toEqual([name, code, null]);
      const all = (await said).join('\n');
      expect(all).not.toBe('\n');
      expectNoSecret(name, all);
    }),
  );
});
