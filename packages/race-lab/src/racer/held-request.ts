import { request as httpRequest } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { Exchange, RaceRequest, RequestLimits } from './exchange.ts';
import { openConnection } from './open-connection.ts';
import { collectAnswer, errorCode, pendingExchange } from './pending-exchange.ts';

/** A request whose last byte is held back. */
export interface HeldRequest<Request extends RaceRequest> {
  /**
   * Resolves when every byte but the last is sent (over HTTP/1.1 the kernel has them, over HTTP/2 the server has
   * confirmed them), or when the exchange has ended before that.
   */
  readonly held: Promise<void>;
  /**
   * Writes the last byte, at once; only after `held`. Does nothing when the exchange has ended already. Those that
   * share a connection are written together, when the last of them is released.
   */
  release(): void;
  /** Destroys the connection, unless the exchange has ended. */
  abandon(): void;
  /** Never rejects: whatever goes wrong with the connection is told by the exchange. */
  readonly exchange: Promise<Exchange<Request>>;
}

/**
 * Opens a connection of its own for the request (`Connection: close`, TCP_NODELAY) and sends all of it but the
 * last byte: of the body or, where there is none, of the headers. So no server can have seen a whole request
 * before the release. Over TLS the last byte is a record of its own.
 *
 * @throws TypeError, RangeError  Node does not accept the method, path, headers or port; nothing was sent.
 */
export function holdRequest<Request extends RaceRequest>(
  request: Request,
  limits: RequestLimits,
): HeldRequest<Request> {
  const { target, method, path, headers, body } = request;
  const wire = wireOf(openConnection(target));
  const pending = pendingExchange(request, limits, () => wire.stream.destroy());
  const fail = (error: Error) => pending.end(undefined, errorCode(error));
  try {
    httpRequest({
      host: target.host,
      port: target.port,
      method,
      path,
      // Of its own accord Node frames no body of GET, HEAD, DELETE or OPTIONS: a server would take the request as whole.
      headers: body === '' ? headers : { ...headers, 'content-length': Buffer.byteLength(body) },
      createConnection: () => wire.stream,
    })
      .on('finish', () => wire.sendAllButLast(pending.held))
      .on('response', (response) =>
        collectAnswer(response, limits, pending, () => ({
          status: response.statusCode ?? 0,
          headers: response.headers,
        })),
      )
      .on('error', fail)
      .on('close', () => pending.end(undefined, 'reset'))
      .end(body);
  } catch (error) {
    pending.end(undefined, 'rejected');
    throw error;
  }

  return {
    held: pending.whenHeld,
    exchange: pending.exchange,
    release() {
      if (pending.isOver()) return;
      pending.released();
      wire.sendLast();
    },
    abandon: () => pending.end(undefined, 'aborted'),
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
