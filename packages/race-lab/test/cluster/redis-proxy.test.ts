import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect, inject, onTestFinished, test } from 'vitest';
import { type RedisAddress, type RedisProxy, startRedisProxy } from '../../src/cluster/redis-proxy.ts';
import { openRedisSession, RedisLostError, type RedisSession } from '../../src/cluster/redis-session.ts';
import { commandBytes, type Reply, replySplitter } from '../../src/cluster/resp.ts';
import { tcpServer } from '../racer/servers.ts';
import { until } from './helpers.ts';

const real = new URL(inject('redisUrl'));

async function testProxy(clients = 1, address?: RedisAddress): Promise<RedisProxy> {
  const proxy = await startRedisProxy(clients, address ?? { host: real.hostname, port: Number(real.port) });
  onTestFinished(() => proxy.close());
  return proxy;
}

/** A connection to the run's Redis, through a proxy or past it. */
async function session(port = Number(real.port)): Promise<RedisSession> {
  const opened = await openRedisSession(Object.assign(new URL(real), { port }).href, 10_000);
  onTestFinished(() => opened.close());
  return opened;
}

/** A connection that listens to channels, and everything that it was told. */
async function listener(port: number, protocol: 2 | 3, ...channels: string[]) {
  const socket = connect({ port, host: '127.0.0.1' });
  onTestFinished(() => void socket.destroy());
  const told: Reply[] = [];
  const split = replySplitter();
  socket.on('data', (chunk) => told.push(...split(chunk).map(({ reply }) => reply)));
  socket.on('error', () => undefined);
  socket.write(commandBytes(['AUTH', real.password]));
  socket.write(commandBytes(['HELLO', protocol]));
  socket.write(commandBytes(['SUBSCRIBE', ...channels]));
  await until(() => told.length >= 2 + channels.length);
  const messages = () =>
    told.filter((one) => Array.isArray(one) && one[0] === 'message').map((one) => (one as Reply[])[2]);
  return { socket, told, messages };
}

const channel = () => `test-${randomBytes(6).toString('hex')}`;

test('what goes through is unchanged, large and binary', async () => {
  const proxy = await testProxy();
  const through = await session(proxy.ports[0]);
  const key = channel();
  const value = 'ä\r\n$5\r\n'.repeat(200_000);
  expect(await through.command('SET', key, value, 'PX', 60_000)).toBe('OK');
  expect(await through.command('GET', key)).toBe(value);
  expect(await (await session()).command('STRLEN', key)).toBe(Buffer.byteLength(value));
  expect(proxy.connections(0)).toBe(1);
});

test.each([2, 3] as const)(
  'messages that are dropped do not arrive, and all others do (RESP%i)',
  async (protocol) => {
    const proxy = await testProxy();
    const [mine, other] = [channel(), channel()];
    const { messages, socket, told } = await listener(proxy.ports[0] ?? 0, protocol, mine, other);
    const publisher = await session();
    expect(proxy.channelsOf(0)).toEqual(new Set([mine, other]));

    const drop = proxy.dropMessages(2, (name) => name === mine);
    for (const text of ['1', '2', '3']) {
      expect(await publisher.command('PUBLISH', mine, text)).toBe(1);
      await publisher.command('PUBLISH', other, `other ${text}`);
    }
    await until(() => messages().length === 4);
    expect(messages()).toEqual(['other 1', 'other 2', '3', 'other 3']);
    expect(drop.dropped).toBe(2);

    const ended = proxy.dropMessages(5, () => true);
    ended.end();
    await publisher.command('PUBLISH', mine, '4');
    await until(() => messages().includes('4'));
    expect(ended.dropped).toBe(0);

    socket.write(commandBytes(['UNSUBSCRIBE', mine]));
    await until(() => told.some((one) => Array.isArray(one) && one[0] === 'unsubscribe'));
    expect(proxy.channelsOf(0)).toEqual(new Set([other]));
  },
);

test('a message that comes byte by byte is dropped whole, and holds nothing else up', async () => {
  const upstream = await tcpServer((socket) => {
    const text =
      '*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n' +
      '*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nfirst\r\n' +
      '*3\r\n$7\r\nmessage\r\n$1\r\nd\r\n$6\r\nsecond\r\n+OK\r\n';
    socket.setNoDelay(true);
    void (async () => {
      for (const byte of text) {
        socket.write(byte);
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
  });
  const proxy = await testProxy(1, upstream.target);
  const drop = proxy.dropMessages(9, (name) => name === 'c');
  const socket = connect({ port: proxy.ports[0] ?? 0, host: '127.0.0.1' }).setEncoding('utf8');
  onTestFinished(() => void socket.destroy());
  let seen = '';
  socket.on('data', (text: string) => {
    seen += text;
  });
  await until(() => seen.endsWith('+OK\r\n'));
  expect(seen).toContain('second');
  expect(seen).not.toContain('first');
  expect(drop.dropped).toBe(1);
});

test('an array of values that looks like a message is none', async () => {
  const proxy = await testProxy();
  const through = await session(proxy.ports[0]);
  proxy.dropMessages(9, () => true);
  expect(await through.command('EVAL', "return {'message', 'c', 'x'}", 0)).toEqual(['message', 'c', 'x']);
});

test('only those are cut that are meant: those who listen, those of one client, all', async () => {
  const proxy = await testProxy(2);
  const [first = 0, second = 0] = proxy.ports;
  const [commands, others] = await Promise.all([session(first), session(second)]);
  const [mine, theirs] = [await listener(first, 2, 'c'), await listener(second, 2, 'c')];
  const isClosed = ({ socket }: { socket: Socket }) => socket.destroyed;

  expect(proxy.cut({ kind: 'subscribers', client: 0 })).toBe(1);
  await until(() => isClosed(mine));
  expect(proxy.channelsOf(0)).toEqual(new Set());
  expect(await commands.command('PING')).toBe('PONG');
  expect(isClosed(theirs)).toBe(false);

  expect(proxy.cut({ kind: 'subscribers' })).toBe(1);
  await until(() => isClosed(theirs));

  const unanswered = commands.command('BLPOP', channel(), 0);
  expect(proxy.cut({ kind: 'all', client: 0 })).toBe(1);
  await expect(unanswered).rejects.toThrow(RedisLostError);
  await expect(commands.command('PING')).rejects.toThrow(RedisLostError);
  expect(await others.command('PING')).toBe('PONG');
  expect([proxy.connections(0), proxy.connections(1)]).toEqual([0, 1]);
  expect(proxy.cut({ kind: 'all' })).toBe(1);
});

test('where it leads can be changed: new connections go there, and those that are open stay', async () => {
  const other = await tcpServer((socket) => socket.write('+another\r\n'));
  const proxy = await testProxy();
  const port = proxy.ports[0] ?? 0;
  const before = await session(port);
  proxy.leadTo(other.target);
  const socket = connect({ port, host: '127.0.0.1' });
  onTestFinished(() => void socket.destroy());
  const [greeting] = await once(socket, 'data');
  expect(String(greeting)).toBe('+another\r\n');
  expect(await before.command('PING')).toBe('PONG');
});

test('where nobody listens, a connection ends at once; so it does when the server ends it', async () => {
  const ending = await tcpServer((socket) => socket.destroy());
  for (const address of [{ host: '127.0.0.1', port: 1 }, ending.target]) {
    const proxy = await testProxy(1, address);
    const socket = connect({ port: proxy.ports[0] ?? 0, host: '127.0.0.1' }).on('error', () => undefined);
    await once(socket, 'close');
    expect(proxy.connections(0)).toBe(0);
  }
});

test('a wrong password is Redis’ own refusal, and a server that is no Redis is a lost connection', async () => {
  const wrong = Object.assign(new URL(real), { password: 'guessed' }).href;
  await expect(openRedisSession(wrong, 5_000)).rejects.toMatchObject({
    name: 'RedisReplyError',
    code: 'WRONGPASS',
  });
  const web = await tcpServer((socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'));
  await expect(openRedisSession(`redis://:x@127.0.0.1:${web.target.port}`, 5_000)).rejects.toThrow(
    RedisLostError,
  );
  const silent = await tcpServer(() => undefined);
  await expect(openRedisSession(`redis://:x@127.0.0.1:${silent.target.port}`, 50)).rejects.toThrow(
    RedisLostError,
  );
});
