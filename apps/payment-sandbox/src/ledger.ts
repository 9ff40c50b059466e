import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Readable } from 'node:stream';
import { Compile } from 'typebox/compile';
import type { Clock } from './clock.ts';
import { type EventDraft, type LedgerEvent, LedgerEventSchema } from './events.ts';

export type LedgerErrorCode =
  /** A line before the last cannot be what this program wrote. Nothing was changed. */
  | 'CORRUPT'
  /** A write or a sync failed: what was in flight may or may not be in the file. */
  | 'WRITE_FAILED'
  /** Somebody else changed the file while it was open here. */
  | 'FOREIGN_WRITE'
  | 'CLOSED';

export class LedgerError extends Error {
  override readonly name = 'LedgerError';
  readonly code: LedgerErrorCode;

  constructor(code: LedgerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** One decision: what it appends stands or falls together, and bears one time. */
export interface Decision {
  /** When the decision falls, in milliseconds since the epoch; never before that of an earlier one. */
  readonly atMs: number;
  /** Stamps the event and applies it to the state at once; the line follows when the decision is complete. */
  append(draft: EventDraft): void;
}

export interface Ledger {
  /**
   * Runs `decide` in one go. Its lines are on their way to the disk when this returns, not yet on it: nobody
   * may be told of the outcome before `synced()`.
   *
   * @throws LedgerError  The ledger has failed or is closed; `decide` did not run.
   */
  write<T>(decide: (decision: Decision) => T): T;
  /**
   * Resolves when everything written so far is on the disk.
   * @throws LedgerError  That can no longer be promised.
   */
  synced(): Promise<void>;
  /** The synced lines after `seq`, as the bytes of the file. */
  read(afterSeq: number): Readable | undefined;
  /** What ended it for good, if anything did. */
  failure(): LedgerError | undefined;
  /** Syncs what was written, then releases the file. */
  close(): Promise<void>;
}

export interface LedgerOptions {
  file: string;
  clock: Clock;
  /** Receives every event exactly once, in order: those of the file first, then each one as it is decided. */
  apply(event: LedgerEvent): void;
  /** Told once, when the ledger fails. */
  onFailure(error: LedgerError): void;
}

interface Batch {
  readonly lines: string[];
  readonly done: PromiseWithResolvers<void>;
}

const eventChecker = Compile(LedgerEventSchema);

/**
 * Opens an append-only file of JSON lines, and continues it.
 *
 * The lines of one decision carry `more` on all but the last, so that a crash in mid-write is told from a
 * complete file: a torn last line, and the lines of its decision, are cut off; nobody was told of them.
 *
 * @throws LedgerError  `CORRUPT`, with the number of the line.
 */
export async function openLedger(options: LedgerOptions): Promise<Ledger> {
  const handle = await open(options.file, 'a+');
  try {
    const past = await replay(options);
    if ((await handle.stat()).size > past.bytes) await handle.truncate(past.bytes);
    await handle.datasync();
    await syncFolder(options.file);
    return continueLedger(handle, past, options);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

interface Past {
  /** Where each line ends: `ends[seq - 1]`, in bytes. */
  readonly ends: number[];
  readonly bytes: number;
  readonly lastAtMs: number;
}

async function replay({ file, apply }: LedgerOptions): Promise<Past> {
  const ends: number[] = [];
  let lastAtMs = 0;
  let undecided: { event: LedgerEvent; end: number }[] = [];
  for await (const { text, end } of completeLines(file)) {
    const seq = ends.length + undecided.length + 1;
    try {
      const event: unknown = JSON.parse(text);
      if (!eventChecker.Check(event)) throw new Error('not an event of this ledger');
      if (event.seq !== seq) throw new Error(`expected seq ${seq}, got ${event.seq}`);
      undecided.push({ event, end });
      if (event.more) continue;
      for (const line of undecided) {
        apply(line.event);
        ends.push(line.end);
      }
      undecided = [];
      lastAtMs = Date.parse(event.at);
    } catch (cause) {
      throw new LedgerError('CORRUPT', `${file}, line ${seq}: ${String(cause)}`, { cause });
    }
  }
  return { ends, bytes: ends.at(-1) ?? 0, lastAtMs };
}

async function* completeLines(file: string): AsyncGenerator<{ text: string; end: number }> {
  let rest = Buffer.alloc(0);
  let start = 0;
  for await (const chunk of createReadStream(file)) {
    rest = Buffer.concat([rest, chunk]);
    let from = 0;
    for (let at = rest.indexOf(10); at !== -1; at = rest.indexOf(10, from)) {
      yield { text: rest.toString('utf8', from, at), end: start + at + 1 };
      from = at + 1;
    }
    start += from;
    rest = rest.subarray(from);
  }
}

/** A new file survives a power cut only if its folder's entry was synced too (which Windows does not offer). */
async function syncFolder(file: string): Promise<void> {
  if (process.platform === 'win32') return;
  const folder = await open(dirname(file), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function continueLedger(handle: FileHandle, past: Past, options: LedgerOptions): Ledger {
  const { ends } = past;
  let { lastAtMs } = past;
  let syncedBytes = past.bytes;
  let failure: LedgerError | undefined;
  // While one batch is being synced, the next one fills: appends that arrive meanwhile share one sync.
  let filling: Batch | undefined;
  let syncing: Batch | undefined;

  function fail(code: LedgerErrorCode, cause: unknown): LedgerError {
    if (failure === undefined) {
      failure = new LedgerError(code, `${options.file}: ${String(cause)}`, { cause });
      options.onFailure(failure);
    }
    return failure;
  }

  async function drain(): Promise<void> {
    while (filling !== undefined) {
      syncing = filling;
      filling = undefined;
      if (failure === undefined) await sync(syncing.lines);
      syncing.done.resolve();
      syncing = undefined;
    }
  }

  async function sync(lines: string[]): Promise<void> {
    const bytes = Buffer.from(lines.join(''));
    try {
      await handle.appendFile(bytes);
      // Two sandboxes on one file would each number their own lines and answer from half of the truth.
      const { size } = await handle.stat();
      if (size !== syncedBytes + bytes.length) {
        fail('FOREIGN_WRITE', `expected ${syncedBytes + bytes.length} bytes, found ${size}`);
        return;
      }
      await handle.datasync();
      syncedBytes = size;
    } catch (cause) {
      fail('WRITE_FAILED', cause);
    }
  }

  function enqueue(events: readonly LedgerEvent[]): void {
    filling ??= { lines: [], done: Promise.withResolvers() };
    for (const [index, event] of events.entries()) {
      const line = `${JSON.stringify(index < events.length - 1 ? { ...event, more: true } : event)}\n`;
      filling.lines.push(line);
      ends.push((ends.at(-1) ?? 0) + Buffer.byteLength(line));
    }
    if (syncing === undefined) void drain();
  }

  async function synced(): Promise<void> {
    await (filling ?? syncing)?.done.promise;
    if (failure !== undefined) throw failure;
  }

  return {
    write(decide) {
      if (failure !== undefined) throw failure;
      lastAtMs = Math.max(lastAtMs, options.clock.nowMs());
      const at = new Date(lastAtMs).toISOString();
      const events: LedgerEvent[] = [];
      const append = (draft: EventDraft) => {
        const event: LedgerEvent = { seq: ends.length + events.length + 1, at, ...draft };
        events.push(event);
        options.apply(event);
      };
      try {
        return decide({ atMs: lastAtMs, append });
      } catch (cause) {
        if (events.length === 0) throw cause;
        // The state now holds half of a decision, which the file will never hold.
        throw fail('WRITE_FAILED', cause);
      } finally {
        if (events.length > 0 && failure === undefined) enqueue(events);
      }
    },
    synced,
    read(afterSeq) {
      const start = afterSeq === 0 ? 0 : (ends[afterSeq - 1] ?? syncedBytes);
      if (start >= syncedBytes) return undefined;
      return createReadStream(options.file, { start, end: syncedBytes - 1 });
    },
    failure: () => failure,
    async close() {
      await (filling ?? syncing)?.done.promise;
      failure ??= new LedgerError('CLOSED', `${options.file} was closed`);
      await handle.close();
    },
  };
}
