import { StoreError } from '../errors.ts';
import { closesSession } from '../mysql/errors.ts';
import { mysql } from '../mysql/index.ts';
import type { SqlValue } from '../ports.ts';
import { leavesTraces, MysqlTransaction } from './mysql-transaction.ts';
import { transactionIsOver } from './transaction-handle.ts';
import { endsTransaction } from './transaction-text.ts';

type Answer = (error: unknown, result?: unknown) => void;

export interface Mysql2Query {
  readonly sql: string;
  readonly values?: SqlValue[] | null;
  readonly timeout?: number;
}

/** What this adapter needs of a pooled connection of `mysql2` (not of `mysql2/promise`). */
export interface Mysql2Connection {
  query(statement: Mysql2Query, answer: Answer): unknown;
  execute(statement: Mysql2Query, answer: Answer): unknown;
  release(): void;
  destroy(): void;
  on(event: 'error', listener: (error: Error) => void): unknown;
  readonly config: object;
  readonly stream?: { destroy(): unknown };
}

type Mysql2Command = 'query' | 'execute';

/**
 * One connection of `mysql2`: its statements run one after the other, each with a time-out, and their errors are
 * `StoreError`s.
 *
 * In turn, and not as `mysql2` queues them: of two statements in flight in one transaction the second would already be
 * on its way when the first ends the transaction (1213), and would commit by itself.
 */
export class Mysql2Session {
  readonly #connection: Mysql2Connection;
  #queryTimeoutMs: number;
  readonly #transaction = new MysqlTransaction();
  #lastTurn: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  /** Fails the statement in flight, which mysql2 never answers when its connection is destroyed. */
  #failInFlight: ((error: StoreError) => void) | undefined;
  #ending = false;
  /** Why the connection is of no use any more. */
  #lost: StoreError | undefined;
  #onLost: ((cause: unknown) => void) | undefined;

  constructor(connection: Mysql2Connection, queryTimeoutMs: number) {
    this.#connection = connection;
    this.#queryTimeoutMs = queryTimeoutMs;
    // One that breaks between two statements of a transaction would end the process: the pool listens once only.
    connection.on('error', (error) => {
      if (this.#failInFlight !== undefined) return; // Its statement is told.
      this.#lose(new StoreError('CONNECTION_LOST', 'none', error.message, { cause: error }));
    });
  }

  /** @throws StoreError */
  run(command: Mysql2Command, statement: Mysql2Query): Promise<unknown> {
    return this.#inTurn(command, statement, [statement.sql]);
  }

  /**
   * Sends several statements without values as one, over a connection with `multipleStatements`, and answers theirs in order. The
   * server goes no further than the first that fails.
   *
   * @throws StoreError
   */
  async runTogether(texts: readonly string[]): Promise<readonly unknown[]> {
    // Null, and not absent: then the driver does not look through the text for marks.
    return (await this.#inTurn('query', { sql: texts.join(';\n'), values: null }, texts)) as unknown[];
  }

  async #inTurn(command: Mysql2Command, statement: Mysql2Query, texts: readonly string[]): Promise<unknown> {
    for (const text of texts) this.#refuseWhileEnding(text);
    const ends = texts.some(endsTransaction);
    if (ends) this.#ending = true;
    this.#waiting++;
    const turn = this.#lastTurn.then(() => this.#take(command, statement, texts));
    this.#lastTurn = turn.catch(() => undefined);
    try {
      return await turn;
    } finally {
      this.#waiting--;
      if (ends) this.#ending = false;
    }
  }

  /** A statement whose rows are read one by one, and whose errors are its reader's. */
  stream(command: Mysql2Command, statement: unknown, ...rest: unknown[]): unknown {
    const text = typeof statement === 'string' ? statement : (statement as Mysql2Query).sql;
    this.#refuseWhileEnding(text);
    this.#transaction.check(text);
    const reading = Reflect.apply(this.#connection[command], this.#connection, [statement, ...rest]) as {
      on?(event: 'error', listener: (error: unknown) => void): unknown;
    };
    reading.on?.('error', (error) => this.#transaction.failed(mysql.classifyError(error)));
    return reading;
  }

  /** How long to wait for the answer to each statement from now on, in milliseconds. */
  limitAnswers(queryTimeoutMs: number): void {
    this.#queryTimeoutMs = queryTimeoutMs;
  }

  /** `told` is called, once, when the connection is lost; at the next turn where it is lost already. */
  onLost(told: ((cause: unknown) => void) | undefined): void {
    this.#onLost = told;
    const lost = this.#lost;
    if (lost !== undefined && told !== undefined) queueMicrotask(() => told(lost));
  }

  release(): void {
    const unfit = this.#lost !== undefined || this.#waiting > 0 || this.#transaction.leavesTraces;
    if (unfit) this.cut();
    else this.#connection.release();
  }

  /** Ends the connection, and with it what the server still does in it. */
  cut(): void {
    this.#connection.destroy();
    // That only says goodbye, which a server that has fallen silent does not hear.
    this.#connection.stream?.destroy();
    this.#failInFlight?.(new StoreError('CONNECTION_LOST', 'unknown', 'the connection was cut'));
  }

  #lose(error: StoreError): void {
    if (this.#lost !== undefined) return;
    this.#lost = error;
    this.#onLost?.(error);
  }

  /** What comes after a COMMIT or ROLLBACK that is on its way would commit by itself. */
  #refuseWhileEnding(text: string): void {
    if (this.#ending && !endsTransaction(text)) throw transactionIsOver();
  }

  async #take(command: Mysql2Command, statement: Mysql2Query, texts: readonly string[]): Promise<unknown> {
    // The same answer as to the statement that lost it: a ROLLBACK after a COMMIT must not make little of it.
    if (this.#lost !== undefined) throw this.#lost;
    try {
      // Where this fails, the connection is not lent again, and the server rolls back with it.
      if (this.#transaction.mustRollBack(statement.sql)) {
        await this.#send('query', { sql: 'ROLLBACK' }).catch(() => undefined);
      }
      for (const text of texts) this.#transaction.check(text);
      // Of several that fail nobody knows how far they came: those that leave something behind may have succeeded.
      const [first, others] = texts.length === 1 ? [[], texts] : partition(texts, leavesTraces);
      for (const text of first) this.#transaction.succeeded(text);
      const result = await this.#send(command, statement);
      for (const text of others) this.#transaction.succeeded(text);
      return result;
    } catch (error) {
      const failure = mysql.classifyError(error);
      this.#transaction.failed(failure);
      if (closesSession(failure)) {
        // At once: whatever is sent after a statement that was given up would wait behind it.
        this.#lose(failure);
        this.cut();
      }
      throw failure;
    }
  }

  /** With a time-out of its own: that of mysql2 watches neither a PREPARE nor what waits behind another statement. */
  #send(command: Mysql2Command, statement: Mysql2Query): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const settle = (error: unknown, result?: unknown) => {
        clearTimeout(limit);
        this.#failInFlight = undefined;
        if (error) reject(error);
        else resolve(result);
      };
      const message = `no answer within ${this.#queryTimeoutMs} ms`;
      const gaveUp = () => settle(new StoreError('CONNECTION_LOST', 'unknown', message));
      const limit = setTimeout(gaveUp, this.#queryTimeoutMs);
      this.#failInFlight = settle;
      try {
        this.#connection[command](statement, settle);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        // The driver would not take it: a value that cannot be sent.
        settle(new StoreError('REJECTED', 'none', message, { cause: error }));
      }
    });
  }
}

function partition<T>(all: readonly T[], isFirst: (one: T) => boolean): [T[], T[]] {
  return [all.filter(isFirst), all.filter((one) => !isFirst(one))];
}
