import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import type { Handled, OtherAnswer } from './guarded-route.ts';

/** An answer on its way to being captured. */
export interface CapturedAnswer {
  /** Nothing more will come of the handler. Without effect once it has answered. */
  abandon(): void;
}

export interface Capture {
  /** Told what was answered; gives what is sent in its place, or undefined. */
  readonly end: (handled: Handled) => Promise<OtherAnswer | undefined>;
  /**
   * `end` has thrown, or what it gave could not be sent. The response is as it was before the handler, and whatever is written to
   * it now is sent; or, where its head was out already, it is destroyed. Must not throw.
   */
  readonly failed: (error: unknown) => void;
  /** The answer was a stream, of which no more is wanted. What is piped is destroyed by itself. */
  readonly refused?: () => void;
}

/** What a handler that has been broken off answers: nobody knows what it has done. */
const BROKEN_OFF: Handled = { answer: { status: 500, body: Buffer.of() } };

/** Statuses whose answers have no body, and so no length. */
const BODILESS = new Set([204, 304]);

/**
 * Holds back what is answered by a handler, until it is complete and `end` has decided what is sent. Nothing is sent before, and
 * nothing that the handler says afterwards is heard.
 *
 * Middleware that has wrapped the response before (compression, sessions) is at work on what is sent, also where it is another
 * answer; the headers that were set before stay. Whoever wraps it later works on what is captured.
 *
 * An answer that is piped, or written in parts, is refused as a stream at once: one that is kept has to be there as a whole.
 */
export function captureAnswer(response: ServerResponse, capture: Capture): CapturedAnswer {
  const captured = response as Captured;
  captured[CAPTURES] ??= [];
  const capturing = new Capturing(response, capture);
  const overlays = overlaysAt(captured[CAPTURES].push(capturing) - 1);
  response.on('pipe', overlays.piped);
  Object.assign(response, overlays.methods);
  // Whoever asks has answered.
  Object.defineProperty(response, 'writableEnded', overlays.writableEnded);
  return capturing;
}

const CAPTURES = Symbol('pawl.captures');

/** The captures of a response, the first one at the bottom: several guards may stand at one route. */
type Captured = ServerResponse & { [CAPTURES]?: Capturing[] };

type Name =
  | 'setHeader'
  | 'appendHeader'
  | 'removeHeader'
  | 'writeHead'
  | 'flushHeaders'
  | 'write'
  | 'end'
  | 'destroy';
type Method = (this: ServerResponse, ...args: unknown[]) => unknown;

interface Overlays {
  readonly methods: Readonly<Record<Name, Method>>;
  readonly piped: (this: ServerResponse, source: Readable) => void;
  readonly writableEnded: PropertyDescriptor & ThisType<ServerResponse>;
}

const overlays: Overlays[] = [];

/**
 * What stands on a response in place of its own. The same functions on all of them, so that they have one shape: with closures and an
 * accessor of its own each would have another, which costs more than all else that a capture does.
 */
function overlaysAt(depth: number): Overlays {
  overlays[depth] ??= newOverlays((response) => (response as Captured)[CAPTURES]?.[depth] as Capturing);
  return overlays[depth];
}

function newOverlays(capturingOf: (response: ServerResponse) => Capturing): Overlays {
  const method = (name: Name): Method =>
    function (...args) {
      return capturingOf(this)[name](args);
    };
  return {
    methods: {
      setHeader: method('setHeader'),
      appendHeader: method('appendHeader'),
      removeHeader: method('removeHeader'),
      writeHead: method('writeHead'),
      flushHeaders: method('flushHeaders'),
      write: method('write'),
      end: method('end'),
      destroy: method('destroy'),
    },
    piped(source) {
      capturingOf(this).piped(source);
    },
    writableEnded: {
      configurable: true,
      get() {
        return capturingOf(this).isEnded();
      },
    },
  };
}

class Capturing implements CapturedAnswer, Record<Name, (args: readonly unknown[]) => unknown> {
  readonly #response: ServerResponse;
  readonly #capture: Capture;
  readonly #beneath: Pick<ServerResponse, Name>;
  readonly #before: OutgoingHttpHeaders;
  /** `open`: nothing is captured (any more). */
  #stage: 'handling' | 'settling' | 'sent' | 'open' = 'handling';
  /** Of what is sent. */
  #head: ReturnType<typeof headOf>;
  /** Whether those beneath are at work: what they call is meant. */
  #sending = 0;

  constructor(response: ServerResponse, capture: Capture) {
    const { setHeader, appendHeader, removeHeader, writeHead, flushHeaders, write, end, destroy } = response;
    this.#response = response;
    this.#capture = capture;
    this.#beneath = { setHeader, appendHeader, removeHeader, writeHead, flushHeaders, write, end, destroy };
    this.#before = response.getHeaders();
    this.#head = headOf(response);
  }

  setHeader(args: readonly unknown[]): unknown {
    return this.#changeHeader('setHeader', args);
  }

  appendHeader(args: readonly unknown[]): unknown {
    return this.#changeHeader('appendHeader', args);
  }

  removeHeader(args: readonly unknown[]): unknown {
    return this.#changeHeader('removeHeader', args);
  }

  writeHead(args: readonly unknown[]): unknown {
    const response = this.#response;
    if (this.#isThrough()) return this.#through('writeHead', args);
    // Beneath, a session may be saved before the head is written; meanwhile others may have set another status.
    if (this.#stage === 'sent' && !response.headersSent) {
      Object.assign(response, this.#head);
      return this.#through('writeHead', [this.#head.statusCode]);
    }
    if (this.#stage === 'handling') rememberHead(response, args);
    return response;
  }

  flushHeaders(args: readonly unknown[]): unknown {
    if (this.#isThrough()) return this.#through('flushHeaders', args);
    if (this.#stage === 'handling') this.#refuseStream();
    return undefined;
  }

  write(args: readonly unknown[]): unknown {
    if (this.#isThrough()) return this.#through('write', args);
    if (this.#stage === 'handling') this.#refuseStream();
    const callback = args.find(isCallback);
    if (callback !== undefined) process.nextTick(callback);
    return true;
  }

  end(args: readonly unknown[]): unknown {
    const response = this.#response;
    if (this.#isThrough()) return this.#through('end', args);
    const callback = args.find(isCallback);
    if (callback !== undefined) response.once('finish', callback);
    if (this.#stage !== 'handling') return response;
    const [chunk, encoding] = args.filter((arg) => !isCallback(arg));
    const body = bytesOf(chunk, encoding);
    // Those who wait for the head have their last word.
    response.writeHead(response.statusCode);
    const headers = asText(response.getHeaders());
    const asGiven = isJoinedText(chunk, encoding) ? [chunk, encoding] : undefined;
    void this.#settle({ answer: { status: response.statusCode, headers, body } }, asGiven);
    return response;
  }

  destroy(args: readonly unknown[]): unknown {
    if (this.#stage === 'handling') this.abandon();
    // A pipeline destroys both its ends when its source is stopped; the answer in place of the stream is still to be sent.
    else if (!this.#isThrough() && !this.#response.writableFinished) return this.#response;
    return this.#through('destroy', args);
  }

  piped(source: Readable): void {
    if (this.#isThrough()) return;
    if (this.#stage === 'handling') this.#refuseStream();
    source.unpipe(this.#response);
    source.destroy();
  }

  isEnded(): boolean {
    return this.#stage === 'open' ? this.#response.finished : this.#stage !== 'handling';
  }

  abandon(): void {
    if (this.#stage === 'handling') void this.#settle(BROKEN_OFF);
  }

  /** @param asGiven  What the handler gave to `end`, where that may be sent in place of its bytes. */
  async #settle(handled: Handled, asGiven?: readonly unknown[]): Promise<void> {
    const response = this.#response;
    this.#stage = 'settling';
    this.#head = headOf(response);
    try {
      const other = await this.#capture.end(handled);
      this.#sending++;
      // Changed meanwhile by whoever went on after the answer, as an error handler does.
      if (other === undefined) Object.assign(response, this.#head);
      else replaceHead(response, this.#before, other);
      this.#head = headOf(response);
      const bytes = other === undefined && 'answer' in handled ? handled.answer.body : other?.body;
      const own = other === undefined ? asGiven : undefined;
      Reflect.apply(this.#beneath.end, response, own ?? [bytes ?? Buffer.of(), 'utf8']);
      this.#sending--;
      this.#stage = 'sent';
    } catch (error) {
      this.#sending = 0;
      this.#stage = 'open';
      // Beneath, it may have failed when a part was sent.
      if (response.headersSent) response.destroy();
      else restoreHeaders(response, this.#before);
      this.#capture.failed(error);
    }
  }

  #refuseStream(): void {
    void this.#settle({ unstorable: 'streaming-answer' });
    this.#capture.refused?.();
  }

  #changeHeader(name: 'setHeader' | 'appendHeader' | 'removeHeader', args: readonly unknown[]): unknown {
    return this.#isThrough() || this.#stage === 'handling' ? this.#through(name, args) : this.#response;
  }

  #isThrough(): boolean {
    return this.#sending > 0 || this.#stage === 'open';
  }

  /** Calls what stood there before. */
  #through(name: Name, args: readonly unknown[]): unknown {
    this.#sending++;
    try {
      return Reflect.apply(this.#beneath[name], this.#response, args);
    } finally {
      this.#sending--;
    }
  }
}

/** Whether somebody has answered: whatever else is said is not sent. */
export function isAnswered({ headersSent, writableEnded }: ServerResponse): boolean {
  return headersSent || writableEnded;
}

/** Sends an answer on a response whose handler does not run. The headers that have been set stay. */
export function sendAnswer(response: ServerResponse, answer: OtherAnswer): void {
  setHead(response, answer);
  response.end(answer.body);
}

/** What `writeHead` would write, as if it had been set before. */
function rememberHead(response: ServerResponse, args: readonly unknown[]): void {
  const [status, ...rest] = args;
  response.statusCode = Number(status);
  if (typeof rest[0] === 'string') response.statusMessage = rest[0];
  const headers = rest.find((arg) => typeof arg === 'object' && arg !== null);
  for (const [name, value] of pairs(headers)) response.setHeader(name, value);
}

/** The headers of `writeHead`: an object, a list of pairs, or names and values in turn, where a name may come twice. */
function pairs(headers: unknown): Iterable<readonly [string, string | string[]]> {
  if (!Array.isArray(headers))
    return Object.entries(headers ?? {}).filter(([, value]) => value !== undefined);
  const listed: [string, string][] = Array.isArray(headers[0])
    ? headers
    : headers.flatMap((name, index) => (index % 2 === 0 ? [[name, headers[index + 1]]] : []));
  const values = Map.groupBy(listed, ([name]) => name);
  return [...values].map(([name, all]) => [
    name,
    all.length === 1 ? (all[0]?.[1] ?? '') : all.map(([, value]) => value),
  ]);
}

function headOf({ statusCode, statusMessage }: ServerResponse) {
  return { statusCode, statusMessage };
}

function replaceHead(response: ServerResponse, before: OutgoingHttpHeaders, answer: OtherAnswer): void {
  restoreHeaders(response, before);
  setHead(response, answer);
}

function restoreHeaders(response: ServerResponse, before: OutgoingHttpHeaders): void {
  for (const name of response.getHeaderNames()) if (before[name] === undefined) response.removeHeader(name);
  for (const [name, value] of Object.entries(before))
    if (value !== undefined) response.setHeader(name, value);
}

function setHead(response: ServerResponse, { status, headers, body }: OtherAnswer): void {
  response.statusCode = status;
  response.statusMessage = '';
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  // In so many words: after a length has been removed, Node would send the body in chunks.
  if (BODILESS.has(status) || response.req.method === 'HEAD') response.removeHeader('content-length');
  else response.setHeader('content-length', body.byteLength);
}

/** Text that Node sends with its head in one piece, as it does not send bytes. */
function isJoinedText(chunk: unknown, encoding: unknown): boolean {
  return (
    typeof chunk === 'string' && (encoding === undefined || encoding === 'utf8' || encoding === 'latin1')
  );
}

function isCallback(arg: unknown): arg is () => void {
  return typeof arg === 'function';
}

/** A copy: whoever answered may use his buffer again. @throws TypeError as `end` does, for what is neither text nor bytes. */
function bytesOf(chunk: unknown, encoding: unknown): Uint8Array {
  if (chunk === undefined || chunk === null) return Buffer.of();
  if (typeof chunk === 'string') return Buffer.from(chunk, (encoding ?? 'utf8') as BufferEncoding);
  return Buffer.from(chunk as Uint8Array);
}

function asText(headers: OutgoingHttpHeaders): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const name in headers) {
    const value = headers[name];
    texts[name] = Array.isArray(value) ? value.join(', ') : String(value);
  }
  return texts;
}
