import { connect } from 'node:net';
import { commandBytes, RedisReplyError, type Reply, replySplitter } from './resp.ts';

/** A connection to Redis, for what the lab itself has to ask or to order. */
export interface RedisSession {
  /** @throws RedisReplyError  Redis refused it. RedisLostError  The connection was lost; it may have had its effect. */
  command(...parts: readonly (string | number)[]): Promise<Reply>;
  /** Ends the connection at once. */
  close(): void;
}

/** The connection to Redis could not be made, or was lost. */
export class RedisLostError extends Error {
  override readonly name = 'RedisLostError';
  readonly code = 'REDIS_LOST';
}

/**
 * Connects to a Redis.
 *
 * @param url      `redis://:password@host:port/…`
 * @param limitMs  How long any answer may take, in milliseconds; then the connection is given up.
 * @throws RedisLostError, RedisReplyError
 */
export async function openRedisSession(url: string, limitMs: number): Promise<RedisSession> {
  const { hostname, port, password } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  const split = replySplitter();
  const asked: PromiseWithResolvers<Reply>[] = [];
  let lost: RedisLostError | undefined;

  const fail = (cause?: unknown) => {
    lost ??= new RedisLostError(`the connection to Redis on port ${port} was lost`, { cause });
    socket.destroy();
    for (const one of asked.splice(0)) one.reject(lost);
  };
  socket.setTimeout(limitMs, () => {
    if (asked.length > 0) fail('it does not answer');
  });
  socket.on('error', fail);
  socket.on('close', () => fail());
  socket.on('data', (chunk) => {
    try {
      for (const { reply } of split(chunk)) {
        const one = asked.shift();
        if (reply instanceof RedisReplyError) one?.reject(reply);
        else one?.resolve(reply);
      }
    } catch (error) {
      fail(error);
    }
  });

  const command = (...parts: readonly (string | number)[]) => {
    const answer = Promise.withResolvers<Reply>();
    if (lost !== undefined) answer.reject(lost);
    else {
      asked.push(answer);
      socket.write(commandBytes(parts));
    }
    return answer.promise;
  };
  await command('AUTH', decodeURIComponent(password));
  return { command, close: () => void socket.destroy() };
}
