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
  const watch = new AnswerWatch(commandTimeoutMs, (reject) => {
    reject(new StoreError('CONNECTION_LOST', 'unknown', `no answer within ${commandTimeoutMs} ms`));
    driver.replaceConnection();
  });
  return {
    command(name, ...args) {
      const notReady = driver.notReady();
      if (notReady !== undefined) {
        return Promise.reject(new StoreError('UNAVAILABLE', 'none', `Redis is not connected (${notReady})`));
      }
      return new Promise((resolve, reject) => {
        const unanswered = watch.begin(reject);
        const failed = (error: unknown) => {
          watch.end(unanswered);
          reject(storeErrorOf(error, name));
        };
        try {
          driver.send(name, args).then((value) => {
            watch.end(unanswered);
            resolve(value);
          }, failed);
        } catch (error) {
          failed(error);
        }
      });
    },
  };

  function storeErrorOf(error: unknown, command: string): StoreError {
    if (error instanceof Error && driver.isErrorReply(error)) return classifyErrorReply(error, command);
    const message = error instanceof Error ? error.message : String(error);
    return new StoreError('CONNECTION_LOST', 'unknown', message, { cause: error });
  }
}

type Reject = (error: StoreError) => void;

/** A command that has not been answered. */
interface Unanswered {
  looks: number;
  /** Its place among the others. */
  index: number;
  readonly reject: Reject;
}

/** How often it is looked, in one time-out, whether commands have been answered. */
const LOOKS = 4;

/**
 * Gives up what is not answered in time: after the time-out, and before a quarter more of it. One timer looks after all
 * commands, since one for each would cost as much as the command.
 */
class AnswerWatch {
  readonly #everyMs: number;
  readonly #giveUp: (reject: Reject) => void;
  /**
   * In no order: the last takes the place of one that goes. A `Set` that is added to and taken from all the time leaves table after
   * table behind, each with what was in it: a third of the time of a busy process went into copying them as garbage.
   */
  readonly #unanswered: Unanswered[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(limitMs: number, giveUp: (reject: Reject) => void) {
    this.#everyMs = limitMs / LOOKS;
    this.#giveUp = giveUp;
  }

  begin(reject: Reject): Unanswered {
    const command = { looks: 0, index: this.#unanswered.length, reject };
    this.#unanswered.push(command);
    this.#timer ??= this.#later();
    return command;
  }

  /** It is answered; or had been given up, which is nothing more. */
  end(command: Unanswered): void {
    if (this.#unanswered[command.index] !== command) return;
    const last = this.#unanswered.pop();
    if (last === undefined || last === command) return;
    last.index = command.index;
    this.#unanswered[command.index] = last;
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
    for (const command of this.#unanswered.slice()) {
      // The first came at any time after it was sent.
      if (++command.looks <= LOOKS) continue;
      this.end(command);
      this.#giveUp(command.reject);
    }
    if (this.#unanswered.length > 0) this.#timer ??= this.#later();
  }
}
