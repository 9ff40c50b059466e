import { beforeEach, expect, test, vi } from 'vitest';
import { isLoopback, type TargetOptions, targetFinder } from '../../src/endpoint/find-target.ts';
import { releaseServer, ways } from './release-servers.ts';

/** What each name resolves to, look-up by look-up. */
const records = vi.hoisted(() => new Map<string, string[][]>());

vi.mock('node:dns/promises', async (original) => {
  const dns = await original<typeof import('node:dns/promises')>();
  return {
    ...dns,
    lookup: async (name: string, options: object) => {
      const addresses = records.get(name)?.shift();
      if (addresses === undefined) return dns.lookup(name, options);
      return addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
    },
  };
});

beforeEach(() => records.clear());

const finder = (over: Partial<TargetOptions> = {}) =>
  targetFinder({
    ...{ http: undefined, ca: undefined, insecure: false, mine: { host: undefined, yes: false }, fanout: 20 },
    ...over,
  });

test.each(['127.0.0.1', '127.255.255.254', '::1', '::ffff:127.0.0.1'])('%s is this machine', (address) => {
  expect(isLoopback(address)).toBe(true);
});

test.each(['0.0.0.0', '126.255.255.255', '128.0.0.1', '10.0.0.1', '::', '::2', '::ffff:10.0.0.1', 'fe80::1'])(
  '%s is not',
  (address) => {
    expect(isLoopback(address)).toBe(false);
  },
);

test.each([
  'http://192.0.2.1/pay',
  'http://0.0.0.0:3000/pay',
  'http://[::ffff:10.0.0.1]/pay',
  'http://3221225985/pay',
  'https://192.0.2.1/pay',
])('%s is refused, and how to say that it is one’s own is told', async (url) => {
  await expect(finder()(new URL(url))).rejects.toThrow(
    /is not this machine.*--target-is-mine \S+ --yes-race-it/,
  );
});

test.each([
  ['once', { host: '192.0.2.1', yes: false }],
  ['without a name', { host: undefined, yes: true }],
  ['of another host', { host: '192.0.2.2', yes: true }],
  ['of a part of it', { host: '192.0.2', yes: true }],
])('said %s, it is refused as well', async (_how, mine) => {
  await expect(finder({ mine })(new URL('http://192.0.2.1/'))).rejects.toMatchObject({
    code: 'BAD_ARGUMENTS',
  });
});

test('said twice, it is raced, by few', async () => {
  const mine = { host: '192.0.2.1', yes: true };
  const url = new URL('http://192.0.2.1:8080/pay');
  expect(await finder({ mine })(url)).toEqual({ host: '192.0.2.1', port: 8080, http: '1.1' });
  await expect(finder({ mine, fanout: 21 })(url)).rejects.toThrow('--fanout must be at most 20');
});

test('a name is one of this machine only if all its addresses are', async () => {
  records.set('pay.test', [['127.0.0.1', '203.0.113.7']]);
  await expect(finder()(new URL('http://pay.test/'))).rejects.toThrow('pay.test (127.0.0.1, 203.0.113.7)');
});

test('a name is resolved once: who changes it afterwards changes nothing', async () => {
  records.set('pay.test', [['127.0.0.1'], ['203.0.113.7']]);
  const find = finder();
  const first = await find(new URL('http://pay.test:3000/orders/1/pay'));
  const second = await find(new URL('http://pay.test:3000/orders/2/pay'));
  expect(first).toEqual({ host: '127.0.0.1', port: 3000, http: '1.1' });
  expect(second).toBe(first);
});

test('of several addresses, the one at which somebody listens is taken', async () => {
  const { target } = await releaseServer({ http: '1.1', isTls: false }, (_request, response) =>
    response.end(''),
  );
  records.set('pay.test', [['127.0.0.9', '127.0.0.1']]);
  expect((await finder()(new URL(`http://pay.test:${target.port}/`))).host).toBe('127.0.0.1');
  records.set('pay.test', [['127.0.0.9', '127.0.0.8']]);
  expect((await finder()(new URL(`http://pay.test:${target.port}/`))).host).toBe('127.0.0.9');
});

test('a name that is none is a bad argument', async () => {
  await expect(finder()(new URL('http://pay.invalid/'))).rejects.toMatchObject({ code: 'BAD_ARGUMENTS' });
});

test.each(ways)(
  'the version of HTTP is what the server prefers over TLS, else 1.1 (HTTP/$http, TLS $isTls)',
  async (way) => {
    const { url, target } = await releaseServer(way, (_request, response) => response.end(''));
    const find = finder({ ca: target.tls?.ca });
    const found = await find(new URL(url));
    expect(found.http).toBe(way.isTls ? way.http : '1.1');
    expect(found.tls).toEqual(target.tls);
    expect((await finder({ http: '2' })(new URL(url))).http).toBe('2');
  },
);
