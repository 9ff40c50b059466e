import { expect, test } from 'vitest';
import {
  commandBytes,
  NotRedisError,
  RedisReplyError,
  type Reply,
  readReply,
  replySplitter,
} from '../../src/cluster/resp.ts';

const replies: [sent: string, reply: Reply][] = [
  ['+OK\r\n', 'OK'],
  [':-12\r\n', -12],
  ['$5\r\na\r\nb\r\r\n', 'a\r\nb\r'],
  ['$0\r\n\r\n', ''],
  ['$-1\r\n', null],
  ['*-1\r\n', null],
  ['_\r\n', null],
  ['*0\r\n', []],
  ['*2\r\n*1\r\n:1\r\n$1\r\nx\r\n', [[1], 'x']],
  ['>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n', ['message', 'c', 'hi']],
  ['~1\r\n+a\r\n', ['a']],
  ['%1\r\n+a\r\n:1\r\n', ['a', 1]],
  ['|1\r\n+ttl\r\n:9\r\n+OK\r\n', 'OK'],
  ['#t\r\n', 't'],
  [',1.5\r\n', '1.5'],
  ['(123456789012345678901\r\n', '123456789012345678901'],
  ['=7\r\ntxt:abc\r\n', 'txt:abc'],
];

test.each(replies)('%j is one reply, and no beginning of it is', (sent, reply) => {
  const bytes = Buffer.from(sent);
  expect(readReply(bytes)).toEqual({ reply, end: bytes.length });
  for (let length = 0; length < bytes.length; length++) {
    expect(readReply(bytes.subarray(0, length))).toBeUndefined();
  }
});

test('a refusal is an error with its first word as the code', () => {
  for (const sent of ['-NOAUTH Authentication required.\r\n', '!31\r\nNOAUTH Authentication required.\r\n']) {
    const { reply } = readReply(Buffer.from(sent)) ?? {};
    expect(reply).toBeInstanceOf(RedisReplyError);
    expect(reply).toMatchObject({ code: 'NOAUTH', message: expect.stringContaining('required') });
  }
});

test('a stream is taken apart however it is cut, and nothing of it is lost', () => {
  const stream = Buffer.from(replies.map(([sent]) => sent).join(''));
  for (const size of [1, 2, 3, 7, stream.length]) {
    const split = replySplitter();
    const found = [];
    for (let from = 0; from < stream.length; from += size)
      found.push(...split(stream.subarray(from, from + size)));
    expect(found.map(({ reply }) => reply)).toEqual(replies.map(([, reply]) => reply));
    expect(Buffer.concat(found.map(({ bytes }) => bytes)).equals(stream)).toBe(true);
  }
});

test.each(['HTTP/1.1 400 Bad Request\r\n', '$x\r\n', '$1\r\nabc', '*-2\r\n'])('%j is not Redis', (sent) => {
  expect(() => readReply(Buffer.from(sent))).toThrow(NotRedisError);
});

test('a command is counted in bytes', () => {
  expect(commandBytes(['SET', 'ä', 1]).toString()).toBe('*3\r\n$3\r\nSET\r\n$2\r\nä\r\n$1\r\n1\r\n');
});
