import { StoreError } from '../errors.ts';
import type { RedisPort } from '../ports.ts';
import { classifyErrorReply } from '../redis/errors.ts';
import { requireTimeouts } from './timeouts.ts';

export interface RedisPortOptions {
  /**
   * How long to wait for the answer to a command, in milliseconds. Then `CONNECTION_LOST`: it may take effect. The connection
   * is replaced, because whatever is sent on it would wait as well; what others have in flight on it is lost with it.
   */
  readonly commandTimeoutMs: number;
}

/** What the port needs of a driver. */
export interface RedisDriver {
  /** Why nothing can be sent at this moment; undefined when a command would be sent at once. */
  notReady(): string | undefined;
  send(name: string, args: readonly (string | number)[]): Promise<unknown>;
  /** Whether `send` rejected with what the server answered, and not with what became of the connection. */
  isErrorReply(error: Error): boolean;
  /** Drops the connection, and with it every command that has not been answered, and opens another. */
  replaceConnection(): void;
}

/** @throws MisuseError  The time-out is none. */
export function redisPort(driver: RedisDriver, { commandTimeoutMs }: RedisPortOptions): RedisPort {
  requireTimeouts({ commandTimeoutMs });
  return {
    async command(name, ...args) {
      const notReady = driver.notReady();
      if (notReady !== undefined) {
        throw new StoreError('UNAVAILABLE', 'none', `Redis is not connected (${notReady})`);
      }
      try {
        return await answerWithin(commandTimeoutMs, driver.send(name, args), driver.replaceConnection);
      } catch (error) {
        if (error instanceof StoreError) throw error;
        if (error instanceof Error && driver.isErrorReply(error)) throw classifyErrorReply(error, name);
        const message = error instanceof Error ? error.message : String(error);
        throw new StoreError('CONNECTION_LOST', 'unknown', message, { cause: error });
      }
    },
  };
}

function answerWithin(limitMs: number, answer: Promise<unknown>, giveUp: () => void): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const tooLate = () => {
      reject(new StoreError('CONNECTION_LOST', 'unknown', `no answer within ${limitMs} ms`));
      giveUp();
    };
    // In two halves: after a standstill of this process (F02, F03) an overdue timer runs before the answer is read that has
    // arrived meanwhile. The second half begins only when the process is back.
    let limit = setTimeout(() => {
      limit = setTimeout(tooLate, limitMs / 2);
    }, limitMs / 2);
    void answer.then(resolve, reject).finally(() => clearTimeout(limit));
  });
}
