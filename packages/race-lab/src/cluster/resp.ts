/** What Redis answered, or told of its own accord. A map is the list of its keys and values. */
export type Reply = string | number | null | RedisReplyError | readonly Reply[];

/** Redis refused a command. It had no effect, unless it is a script that failed on its way. */
export class RedisReplyError extends Error {
  override readonly name = 'RedisReplyError';
  /** The first word of the refusal: `NOAUTH`, `LOADING`, … */
  readonly code: string;

  constructor(text: string) {
    super(text);
    this.code = text.split(' ', 1)[0] ?? '';
  }
}

/** A stream is not one of Redis. Nothing can be said about what follows in it. */
export class NotRedisError extends Error {
  override readonly name = 'NotRedisError';
  readonly code = 'NOT_REDIS';
}

const CR = 13;
const EMPTY = Buffer.alloc(0);

/**
 * Reads the reply that begins at `from`; undefined when it is not there to its end.
 *
 * @throws NotRedisError  There is no reply.
 * @see the specifications of RESP2 and RESP3, of which Redis sends neither streamed strings nor streamed aggregates
 */
export function readReply(bytes: Buffer, from = 0): { reply: Reply; end: number } | undefined {
  const lineEnd = bytes.indexOf('\r\n', from);
  if (lineEnd < 0) return undefined;
  const line = bytes.toString('latin1', from + 1, lineEnd);
  const next = lineEnd + 2;
  const type = String.fromCharCode(bytes[from] ?? 0);
  switch (type) {
    case '+':
    case '(':
    case ',':
    case '#':
      return { reply: line, end: next };
    case '-':
      return { reply: new RedisReplyError(line), end: next };
    case ':':
      return { reply: Number(line), end: next };
    case '_':
      return { reply: null, end: next };
    case '$':
    case '!':
    case '=': {
      const length = lengthOf(line);
      if (length < 0) return { reply: null, end: next };
      const end = next + length + 2;
      if (bytes.length < end) return undefined;
      if (bytes[end - 2] !== CR) throw new NotRedisError(`a string of ${length} bytes does not end there`);
      const text = bytes.toString('utf8', next, next + length);
      return { reply: type === '!' ? new RedisReplyError(text) : text, end };
    }
    case '*':
    case '~':
    case '>':
      return readSeveral(bytes, next, lengthOf(line));
    case '%':
      return readSeveral(bytes, next, 2 * lengthOf(line));
    case '|': {
      // Attributes stand before the reply that they belong to.
      const attributes = readSeveral(bytes, next, 2 * lengthOf(line));
      return attributes && readReply(bytes, attributes.end);
    }
    default:
      throw new NotRedisError(`no reply begins with byte ${bytes[from]}`);
  }
}

function readSeveral(bytes: Buffer, from: number, count: number): { reply: Reply; end: number } | undefined {
  if (count < 0) return { reply: null, end: from };
  const replies: Reply[] = [];
  let end = from;
  while (replies.length < count) {
    const one = readReply(bytes, end);
    if (one === undefined) return undefined;
    replies.push(one.reply);
    end = one.end;
  }
  return { reply: replies, end };
}

function lengthOf(line: string): number {
  if (!/^(-1|\d{1,10})$/.test(line))
    throw new NotRedisError(`no length: ${JSON.stringify(line.slice(0, 20))}`);
  return Number(line);
}

/** One reply and the bytes that it was sent as. */
export interface SentReply {
  reply: Reply;
  bytes: Buffer;
}

/**
 * Takes a stream of replies apart, however it is cut into chunks: each call answers those that are complete now.
 *
 * A reply that comes in many chunks is read anew with each: it is for small ones.
 */
export function replySplitter(): (chunk: Buffer) => SentReply[] {
  let rest: Buffer = EMPTY;
  return (chunk) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const replies: SentReply[] = [];
    let from = 0;
    while (from < bytes.length) {
      const one = readReply(bytes, from);
      if (one === undefined) break;
      replies.push({ reply: one.reply, bytes: bytes.subarray(from, one.end) });
      from = one.end;
    }
    rest = bytes.subarray(from);
    return replies;
  };
}

/** A command as it is sent. */
export function commandBytes(parts: readonly (string | number)[]): Buffer {
  const strings = parts.map((part) => `$${Buffer.byteLength(String(part))}\r\n${part}\r\n`);
  return Buffer.from(`*${parts.length}\r\n${strings.join('')}`);
}
