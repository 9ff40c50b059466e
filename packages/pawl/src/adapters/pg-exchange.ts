import { createHash } from 'node:crypto';
import { attached } from '../columns.ts';
import { StoreError } from '../errors.ts';
import type { SqlStatement, SqlValue } from '../ports.ts';
import { momentOf } from '../postgres/batch.ts';

export interface PgResult {
  readonly command: string;
  readonly rowCount: number | null;
  readonly rows: Record<string, unknown>[];
}

/** What an exchange needs of the connection of a client of `pg`: what `pg-cursor` needs of it, and where it writes to. */
export interface PgConnection {
  readonly stream: { readonly writable: boolean; write(bytes: Buffer): unknown; destroy(): unknown };
  parse(statement: { readonly name: string; readonly text: string }): void;
  bind(values: { readonly statement: string; readonly values: readonly (string | Buffer | null)[] }): void;
  describe(what: { readonly type: 'P'; readonly name: string }): void;
  execute(): void;
  close(what: { readonly type: 'S'; readonly name: string }): void;
  sync(): void;
}

/** A client that lends its connection to objects with a `submit`. One that pipelines what it is given does not, and `pg-native` does not. */
export interface ExchangingClient {
  readonly connection: PgConnection;
  query(exchange: Exchange): unknown;
  getTypeParser(type: number, format: 'text'): (text: string) => unknown;
}

export function canExchange(client: object): client is ExchangingClient {
  const pipelines = 'pipeline' in client && client.pipeline === true;
  const { connection } = client as Partial<ExchangingClient>;
  return !pipelines && typeof connection?.parse === 'function';
}

/**
 * Sends statements in one message, and answers theirs when all are there. The server goes no further than the first that fails: not to a
 * COMMIT after it either, and nothing that comes after a BEGIN that failed is carried out by itself.
 *
 * @throws StoreError  `REJECTED`: a value that cannot be sent; nothing was.
 * @throws the driver's error.
 * @see PostgreSQL, "Frontend/Backend Protocol", "Extended Query": what the server does until the Sync
 */
export function exchange(
  client: ExchangingClient,
  statements: readonly SqlStatement[],
  keepsPrepared: boolean,
): Promise<readonly PgResult[]> {
  return new Promise((resolve, reject) => {
    for (const { values } of statements) requireSendable(values);
    const sent = statements.map(({ text, values, prepared }) => ({
      text,
      values: values.map(written),
      name: keepsPrepared && prepared === true ? nameOf(text) : '',
    }));
    client.query(new Exchange(client, sent, resolve, reject));
  });
}

interface Sent {
  readonly name: string;
  readonly text: string;
  readonly values: readonly (string | Buffer | null)[];
}

interface Column {
  readonly name: string;
  readonly parse: (text: string) => unknown;
}

/**
 * What the server has prepared in a session: the columns that it answers with, which do not change, since the server refuses a statement
 * whose would. Null: it was sent and something failed, so that nobody knows.
 */
type Prepared = Map<string, readonly Column[] | null>;

/** By the connection: one session may be had by several clients, such as one of a classified pool. */
const preparedIn = new WeakMap<PgConnection, Prepared>();

/** What the client calls while the connection is lent. */
class Exchange {
  /** The client wraps it, to end its watch over the time. */
  callback: (error: unknown, results?: readonly PgResult[]) => void;
  readonly #client: ExchangingClient;
  readonly #statements: readonly Sent[];
  readonly #prepared: Prepared;
  /** Those that are prepared by this message. */
  readonly #preparing = new Map<string, readonly Column[]>();
  readonly #results: PgResult[] = [];
  #columns: readonly Column[] = [];
  #rows: Record<string, unknown>[] = [];
  /** A parser of a type failed, in the middle of what the server sends. */
  #failed: { readonly error: unknown } | undefined;

  constructor(
    client: ExchangingClient,
    statements: readonly Sent[],
    resolve: (results: readonly PgResult[]) => void,
    reject: (error: unknown) => void,
  ) {
    this.#client = client;
    this.#statements = statements;
    this.#prepared = preparedIn.get(client.connection) ?? new Map();
    preparedIn.set(client.connection, this.#prepared);
    this.callback = (error, results) => (results === undefined ? reject(error) : resolve(results));
  }

  submit(connection: PgConnection): void {
    const { message, pieces } = gathering(connection);
    for (const { name, text, values } of this.#statements) {
      const columns = this.#columnsOf(name);
      if (columns === undefined) {
        if (this.#prepared.get(name) === null) message.close({ type: 'S', name });
        message.parse({ name, text });
        if (name !== '') {
          this.#preparing.set(name, []);
          this.#prepared.set(name, null);
        }
      }
      message.bind({ statement: name, values });
      if (columns === undefined) message.describe({ type: 'P', name: '' });
      message.execute();
    }
    message.sync();
    // In one piece: each would wake the server, and cost as much as the whole.
    if (connection.stream.writable) connection.stream.write(Buffer.concat(pieces));
    pieces.length = 0;
    this.#begin();
  }

  handleRowDescription({ fields }: { readonly fields: readonly PgField[] }): void {
    this.#columns = fields.map(({ name, dataTypeID }) => ({
      name,
      parse: this.#client.getTypeParser(dataTypeID, 'text'),
    }));
    const { name } = this.#current;
    if (name !== '') this.#preparing.set(name, this.#columns);
  }

  handleDataRow({ fields }: { readonly fields: readonly (string | null)[] }): void {
    const row: Record<string, unknown> = {};
    try {
      for (let index = 0; index < this.#columns.length; index++) {
        const { name, parse } = this.#columns[index] as Column;
        const text = fields[index] ?? null;
        row[name] = text === null ? null : parse(text);
      }
      this.#rows.push(row);
    } catch (error) {
      this.#failed ??= { error };
    }
  }

  /** Such as `UPDATE 3`, `INSERT 0 3` or `COMMIT`: what comes last is the number of rows. */
  handleCommandComplete({ text }: { readonly text: string }): void {
    const [command = '', ...others] = text.split(' ');
    const last = others.at(-1);
    const rowCount = last === undefined || Number.isNaN(Number(last)) ? null : Number(last);
    this.#complete({ command, rowCount, rows: this.#rows });
  }

  handleEmptyQuery(): void {
    this.#complete({ command: '', rowCount: null, rows: [] });
  }

  /** The server takes no Sync while it waits for what is copied: it would wait for ever. */
  handleCopyInResponse({ stream }: PgConnection): void {
    stream.destroy();
  }

  handleCopyData(): void {
    // It is not read: the server ends such a statement by itself.
  }

  handleError(error: unknown): void {
    const { name = '' } = this.#statements[this.#results.length] ?? {};
    const mayGoAgain = name !== '' && !this.#preparing.has(name) && isStale(error);
    // Prepared for columns that had another type then: it is closed, and prepared anew, where it is sent again.
    if (mayGoAgain || isOfTypes(error)) {
      for (const { name: sent } of this.#statements) if (sent !== '') this.#prepared.set(sent, null);
    }
    this.callback(mayGoAgain ? stale(error) : error);
  }

  handleReadyForQuery(): void {
    for (const [name, columns] of this.#preparing) this.#prepared.set(name, columns);
    if (this.#failed === undefined) this.callback(null, this.#results);
    else this.callback(this.#failed.error);
  }

  get #current(): Sent {
    return this.#statements[this.#results.length] as Sent;
  }

  /** Of a statement that need not be sent again. */
  #columnsOf(name: string): readonly Column[] | undefined {
    return name === '' ? undefined : (this.#preparing.get(name) ?? this.#prepared.get(name) ?? undefined);
  }

  #complete(result: PgResult): void {
    this.#results.push(result);
    if (this.#results.length < this.#statements.length) this.#begin();
  }

  /** The next answer is that of another statement. */
  #begin(): void {
    this.#rows = [];
    this.#columns = this.#columnsOf(this.#current.name) ?? [];
  }
}

/**
 * A statement that is kept is of no use any more: the server does not have it, or it would answer with other columns than before. Whoever
 * tries the transaction again has it prepared anew.
 */
function isStale(error: unknown): boolean {
  return isForgotten(error) || codeOf(error) === '0A000';
}

/** Whoever has made the session forget what was prepared has made it forget its settings too (`DISCARD ALL`). */
export function isForgotten(error: unknown): boolean {
  return codeOf(error) === '26000';
}

function stale(cause: unknown): StoreError {
  return new StoreError('SERIALIZATION_FAILURE', 'none', 'a prepared statement was of no use any more', {
    cause,
  });
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** Whether values did not fit: a data exception, or a type that is another than was expected. */
function isOfTypes(error: unknown): boolean {
  const code = codeOf(error);
  // 22012 is what a check of ours fails with.
  return (code.startsWith('22') && code !== '22012') || code === '42804';
}

/** Another of the same class, which writes what it is told to write into `pieces`: until those are sent, one exchange's alone. */
interface Gathering {
  readonly message: PgConnection;
  readonly pieces: Buffer[];
}

const gatheringFor = new WeakMap<PgConnection, Gathering>();

function gathering(connection: PgConnection): Gathering {
  let known = gatheringFor.get(connection);
  if (known === undefined) {
    const pieces: Buffer[] = [];
    const stream = { writable: true, write: (piece: Buffer) => pieces.push(piece) };
    const message = Object.create(Object.getPrototypeOf(connection), { stream: { value: stream } });
    known = { message, pieces };
    gatheringFor.set(connection, known);
  }
  known.pieces.length = 0;
  return known;
}

interface PgField {
  readonly name: string;
  readonly dataTypeID: number;
}

/** By text; they are few. */
const names = new Map<string, string>();

function nameOf(text: string): string {
  let name = names.get(text);
  if (name === undefined) {
    name = `pawl_${createHash('sha256').update(text).digest('hex').slice(0, 24)}`;
    names.set(text, name);
  }
  return name;
}

/** As the driver sends it. @throws StoreError  `REJECTED`: an object that is no moment and no bytes. */
function written(value: SqlValue): string | Buffer | null {
  if (value === null) return null;
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
    case 'bigint':
    case 'boolean':
      return String(value);
    default:
      if (value instanceof Date) return momentOf(value);
      if (Buffer.isBuffer(value)) return value;
      if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      throw new StoreError('REJECTED', 'none', `a ${typeof value} that cannot be sent`);
  }
}

/**
 * What the driver would fail over when it writes it, and tell as an error that is none of the server's, as if the connection had been lost.
 * A `toPostgres` that throws is not seen.
 *
 * @throws StoreError  `REJECTED`: nothing was sent.
 */
export function requireSendable(values: readonly unknown[]): void {
  try {
    for (const value of values) {
      if (typeof value !== 'object' || value === null) continue;
      if (Array.isArray(value)) requireSendable(value);
      else if (value instanceof Date) momentOf(value);
      else if (ArrayBuffer.isView(value)) attached(value);
      else if (!('toPostgres' in value)) JSON.stringify(value);
    }
  } catch (cause) {
    throw unsendable(cause);
  }
}

function unsendable(cause: unknown): StoreError {
  if (cause instanceof StoreError) return cause;
  return new StoreError('REJECTED', 'none', 'a value that cannot be sent', { cause });
}
