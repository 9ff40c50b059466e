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
  const watch = new AnswerWatch(commandTimeoutMs);
  return {
    async command(name, ...args) {
      const notReady = driver.notReady();
      if (notReady !== undefined) {
        throw new StoreError('UNAVAILABLE', 'none', `Redis is not connected (${notReady})`);
      }
      try {
        return await watch.within(driver.send(name, args), (reject) => {
          reject(new StoreError('CONNECTION_LOST', 'unknown', `no answer within ${commandTimeoutMs} ms`));
          driver.replaceConnection();
        });
      } catch (error) {
        if (error instanceof StoreError) throw error;
        if (error instanceof Error && driver.isErrorReply(error)) throw classifyErrorReply(error, name);
        const message = error instanceof Error ? error.message : String(error);
        throw new StoreError('CONNECTION_LOST', 'unknown', message, { cause: error });
      }
    },
  };
}

/** A command that has not been answered. */
interface Unanswered {
  looks: number;
  giveUp(): void;
}

/** How often it is looked, in one time-out, whether commands have been answered. */
const LOOKS = 4;

/**
 * Gives up what is not answered in time: after the time-out, and before a quarter more of it. One timer looks after all
 * commands, since one for each would cost as much as the command.
 */
class AnswerWatch {
  readonly #everyMs: number;
  readonly #unanswered = new Set<Unanswered>();
  #timer: NodeJS.Timeout | undefined;

  constructor(limitMs: number) {
    this.#everyMs = limitMs / LOOKS;
  }

  within<T>(answer: Promise<T>, giveUp: (reject: (error: StoreError) => void) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      const command: Unanswered = { looks: 0, giveUp: () => giveUp(reject) };
      this.#unanswered.add(command);
      this.#timer ??= this.#later();
      answer.then(
        (value) => {
          this.#unanswered.delete(command);
          resolve(value);
        },
        (error: unknown) => {
          this.#unanswered.delete(command);
          reject(error);
        },
      );
    });
  }

  #later(): NodeJS.Timeout {
    return setTimeout(() => this.#look(), this.#everyMs).unref();
  }

  /**
   * By looks, and not by the clock: after a standstill of this process (F02, F03) an overdue timer runs before the answer is
   * read that has arrived meanwhile. However long it was, it counts as one look.
   */
  #look(): void {
    this.#timer = undefined;
    for (const command of this.#unanswered) {
      // The first came at any time after it was sent.
      if (++command.looks <= LOOKS) continue;
      this.#unanswered.delete(command);
      command.giveUp();
    }
    if (this.#unanswered.size > 0) this.#timer = this.#later();
  }
}
