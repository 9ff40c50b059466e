import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { type Exchange, monotonicUs, type RaceRequest, type RequestLimits } from './exchange.ts';

/** A request whose last byte is held back. */
export interface HeldRequest<Request extends RaceRequest> {
  /** Resolves when the kernel has every byte but the last, or when the exchange has ended before that. */
  readonly held: Promise<void>;
  /** Writes the last byte, at once; only after `held`. Does nothing when the exchange has ended already. */
  release(): void;
  /** Destroys the connection, unless the exchange has ended. */
  abandon(): void;
  /** Never rejects: whatever goes wrong with the connection is told by the exchange. */
  readonly exchange: Promise<Exchange<Request>>;
}

/**
 * Opens a connection of its own for the request (`Connection: close`, TCP_NODELAY) and sends all of it but the
 * last byte: of the body or, where there is none, of the headers. So no server can have seen a whole request
 * before the release.
 *
 * @throws TypeError, RangeError  Node does not accept the method, path, headers or port; nothing was sent.
 */
export function holdRequest<Request extends RaceRequest>(
  request: Request,
  limits: RequestLimits,
): HeldRequest<Request> {
  const { target, method, path, headers, body } = request;
  const wire = wireOf(connect({ host: target.host, port: target.port, noDelay: true }));
  const held = Promise.withResolvers<void>();
  const exchange = Promise.withResolvers<Exchange<Request>>();
  let releasedAtUs: number | undefined;
  let ended = false;

  const end = (
    answer: { status: number; headers: IncomingHttpHeaders; body: Buffer } | undefined,
    error?: string,
  ) => {
    if (ended) return;
    ended = true;
    clearTimeout(timer);
    wire.stream.destroy();
    const answeredAtUs = monotonicUs();
    exchange.resolve({
      request,
      status: answer?.status,
      headers: answer?.headers ?? {},
      body: answer?.body ?? Buffer.alloc(0),
      releasedAtUs: releasedAtUs ?? answeredAtUs,
      answeredAtUs,
      error: answer !== undefined && releasedAtUs === undefined ? 'early-answer' : error,
    });
    held.resolve();
  };
  const fail = (error: Error) => end(undefined, errorCode(error));

  let timer = setTimeout(end, limits.prepareTimeoutMs, undefined, 'prepare-timeout');
  const collect = (response: IncomingMessage) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > limits.maxAnswerBytes) end(undefined, 'too-large');
      else chunks.push(chunk);
    });
    response.on('end', () =>
      end({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
    );
    response.on('error', fail);
  };
  try {
    httpRequest({
      host: target.host,
      port: target.port,
      method,
      path,
      headers,
      createConnection: () => wire.stream,
    })
      .on('finish', () =>
        wire.sendAllButLast(() => {
          clearTimeout(timer);
          held.resolve();
        }),
      )
      .on('response', collect)
      .on('error', fail)
      .on('close', () => end(undefined, 'reset'))
      .end(body);
  } catch (error) {
    end(undefined, 'rejected');
    throw error;
  }

  return {
    held: held.promise,
    exchange: exchange.promise,
    release() {
      if (ended) return;
      releasedAtUs = monotonicUs();
      wire.sendLast();
      timer = setTimeout(end, limits.answerTimeoutMs, undefined, 'timeout');
    },
    abandon: () => end(undefined, 'aborted'),
  };
}

/**
 * Stands between Node's HTTP client and the socket: the client writes the whole request and waits for the
 * answer, while the bytes wait here. So Node itself builds the request and parses the answer.
 */
function wireOf(socket: Socket) {
  const written: Buffer[] = [];
  let last = Buffer.alloc(0);
  const stream = new Duplex({
    write(chunk: Buffer, _encoding, done) {
      written.push(chunk);
      done();
    },
    read: () => socket.resume(),
    destroy(error, done) {
      socket.destroy();
      done(error);
    },
  });
  socket.on('data', (chunk) => {
    if (!stream.push(chunk)) socket.pause();
  });
  socket.on('end', () => stream.push(null));
  socket.on('error', (error) => stream.destroy(error));
  return {
    stream,
    sendAllButLast(sent: () => void) {
      const bytes = Buffer.concat(written);
      last = bytes.subarray(-1);
      socket.write(bytes.subarray(0, -1), sent);
    },
    sendLast() {
      socket.write(last);
    },
  };
}

function errorCode(error: NodeJS.ErrnoException): string {
  return error.code === undefined || error.code === 'ECONNRESET' || error.code === 'EPIPE'
    ? 'reset'
    : error.code;
}
