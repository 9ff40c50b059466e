import { Readable, Transform, type TransformCallback } from 'node:stream';

/** A body of which a copy is kept on its way to its parser. */
export interface CopiedBody {
  /** What the parser reads. */
  readonly payload: Readable;
  /** Undefined: not all of it has been read, or it is more than is copied. */
  bytes(): Buffer | undefined;
}

/**
 * Sees from now on what Node gives a request of its body: a stream between the two costs several times what the parser does.
 *
 * @param limit  The most that is copied, in bytes: a parser that sets itself no limit may take more.
 */
export function watchBody(request: Watched, limit: number): void {
  const { readableLength, readableDidRead, readableEnded, push } = request;
  // Where a hook took its time, some of it has come already.
  const isToCome = readableLength === 0 && !readableDidRead && !readableEnded;
  // Somebody else has put himself there, and may give it other bytes.
  if (!isToCome || push !== Readable.prototype.push) return;
  request[COPY] = new Copy(limit);
  request.push = watchedPush;
}

/** The copy of a body that was watched, or of what a hook has made of it, as it is read. */
export function copiedBody(payload: Watched, limit: number): CopiedBody {
  const copy = payload[COPY];
  if (copy === undefined) return new PipedBody(payload, limit);
  return { payload, bytes: () => copy.of(payload) };
}

class Copy {
  readonly #limit: number;
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(chunk: Uint8Array): void {
    this.#bytes += chunk.byteLength;
    if (this.#bytes <= this.#limit) this.#chunks.push(chunk);
  }

  /** As `bytes` of a copied body. That it has been read, and not only come, does not depend on how soon it comes. */
  of({ readableEnded }: Readable): Buffer | undefined {
    return readableEnded && this.#bytes <= this.#limit ? Buffer.concat(this.#chunks) : undefined;
  }
}

const COPY = Symbol('pawl.copy');

type Watched = Readable & { [COPY]?: Copy };

/** @param chunk  Text, where a test injects it. */
function watchedPush(this: Watched, chunk: Buffer | string | null, encoding?: BufferEncoding): boolean {
  if (chunk !== null) this[COPY]?.add(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk);
  return Readable.prototype.push.call(this, chunk, encoding);
}

/** The body on its way through a stream of its own. */
class PipedBody extends Transform implements CopiedBody {
  readonly #source: Readable & { readonly receivedEncodedLength?: number };
  readonly #copy: Copy;

  constructor(source: Readable, limit: number) {
    super();
    this.#source = source;
    this.#copy = new Copy(limit);
    source.on('error', (error) => this.destroy(error));
    source.pipe(this);
  }

  get payload(): Readable {
    return this;
  }

  /** What Fastify compares with the `Content-Length` where a hook has inflated the body. */
  get receivedEncodedLength(): number | undefined {
    return this.#source.receivedEncodedLength;
  }

  bytes(): Buffer | undefined {
    return this.#copy.of(this);
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    this.#copy.add(chunk);
    done(null, chunk);
  }
}
