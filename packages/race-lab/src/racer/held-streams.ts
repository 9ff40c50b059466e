import type { IncomingHttpHeaders } from 'node:http';
import { type ClientHttp2Stream, connect, constants } from 'node:http2';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { RaceRequest, RequestLimits, Target } from './exchange.ts';
import type { HeldRequest } from './held-request.ts';
import { endsStream, frameReader } from './http2-frames.ts';
import { openConnection } from './open-connection.ts';
import { collectAnswer, errorCode, type PendingExchange, pendingExchange } from './pending-exchange.ts';

const { HTTP2_HEADER_AUTHORITY, HTTP2_HEADER_METHOD, HTTP2_HEADER_PATH, HTTP2_HEADER_SCHEME } = constants;

/**
 * Opens one HTTP/2 connection for all requests, and sends them but for their last frames: the last byte of the body with
 * END_STREAM or, where there is no body, an empty DATA frame with END_STREAM. They are released in one write: over TLS
 * one record, and one TCP packet where it fits (some seventy requests in an Ethernet packet, a hundred on loopback), so that
 * no network can pull them apart.
 *
 * `held` is exact here: the server has answered a PING that was sent after everything else.
 *
 * @throws TypeError, RangeError  Node does not accept the method, path, headers or port; nothing was sent.
 * @see Kettle, "Smashing the state machine: the true potential of web race conditions" (2023)
 */
export function holdStreams<Request extends RaceRequest>(
  target: Target,
  requests: readonly Request[],
  limits: RequestLimits,
): HeldRequest<Request>[] {
  const scheme = target.tls === undefined ? 'http' : 'https';
  const wire = gatheringWire(openConnection(target), () => flushWhenComplete());
  // The wire is connected already: the session takes no more than the scheme from here.
  const session = connect(`${scheme}://localhost`, { createConnection: () => wire.stream });
  const held: StreamOf<Request>[] = [];

  const endAll = (error: string) => {
    for (const { pending } of held) pending.end(undefined, error);
  };
  const oneIsOver = () => {
    if (!held.every(({ pending }) => pending.isOver())) return flushWhenComplete();
    session.destroy();
    wire.stream.destroy();
  };
  const flushWhenComplete = () => {
    const live = held.filter(({ pending }) => !pending.isOver());
    if (live.length === 0 || !live.every(({ stream: { id } }) => id !== undefined && wire.isEnded(id)))
      return;
    for (const { pending } of live) pending.released();
    wire.flush();
  };
  session.on('error', (error) => endAll(errorCode(error)));
  session.on('close', () => endAll('reset'));

  try {
    for (const request of requests) {
      const { host: authority, ...headers } = request.headers;
      const stream = session.request(
        {
          ...headers,
          ...(request.body === '' ? {} : { 'content-length': Buffer.byteLength(request.body) }),
          [HTTP2_HEADER_METHOD]: request.method,
          [HTTP2_HEADER_PATH]: request.path,
          [HTTP2_HEADER_SCHEME]: scheme,
          [HTTP2_HEADER_AUTHORITY]: authority ?? `${target.host}:${target.port}`,
        },
        { endStream: false },
      );
      const pending = pendingExchange(request, limits, oneIsOver);
      held.push({ stream, pending, body: Buffer.from(request.body) });
      read(stream, pending, limits);
    }
  } catch (error) {
    endAll('rejected');
    session.destroy();
    throw error;
  }

  session.once('remoteSettings', ({ maxConcurrentStreams }) => {
    if (maxConcurrentStreams !== undefined && maxConcurrentStreams < requests.length) {
      return endAll('too-few-streams');
    }
    const sent = held.map(
      ({ stream, body }) =>
        new Promise<void>((resolve) => {
          // A stream that is over calls back as well, with an error that its exchange tells.
          if (body.length > 1) stream.write(body.subarray(0, -1), () => resolve());
          else resolve();
        }),
    );
    void Promise.all(sent).then(() => {
      // A PING overtakes what is queued beside it, but not what was sent before the answer to another came.
      if (session.destroyed) return;
      session.ping((error) => {
        if (error !== null || session.destroyed) return;
        session.ping((lost) => {
          if (lost !== null) return;
          for (const { pending } of held) pending.held();
        });
      });
    });
  });

  return held.map(({ stream, pending, body }) => ({
    held: pending.whenHeld,
    exchange: pending.exchange,
    release() {
      if (pending.isOver()) return;
      // Its time runs from now: a server that never grants the room for the last byte would keep us for ever.
      pending.released();
      wire.gather();
      stream.end(body.subarray(-1));
    },
    abandon: () => pending.end(undefined, 'aborted'),
  }));
}

interface StreamOf<Request extends RaceRequest> {
  stream: ClientHttp2Stream;
  pending: PendingExchange<Request>;
  body: Buffer;
}

function read(stream: ClientHttp2Stream, pending: PendingExchange<RaceRequest>, limits: RequestLimits): void {
  let head: { status: number; headers: IncomingHttpHeaders } | undefined;
  stream.on('response', ({ ':status': status = 0, ...headers }) => {
    head = { status, headers: headers as IncomingHttpHeaders };
  });
  // What a reset leaves of an answer ends as a whole one does.
  collectAnswer(stream, limits, pending, () => (stream.aborted || stream.rstCode ? undefined : head));
  stream.on('close', () => pending.end(undefined, 'reset'));
}

/**
 * Stands between Node's HTTP/2 session and the socket. The session writes the head and the content of each frame apart, 40
 * writes for 20 requests: gathered, they are one.
 *
 * @param onEnded  The last frame of a stream has come from the session.
 */
function gatheringWire(socket: Socket, onEnded: () => void) {
  const framesOf = frameReader();
  const ended = new Set<number>();
  let gathered: Buffer[] | undefined;
  const stream = new Duplex({
    write(chunk: Buffer, _encoding, done) {
      const ends = framesOf(chunk).filter(endsStream);
      for (const { streamId } of ends) ended.add(streamId);
      if (gathered === undefined) {
        socket.write(chunk, done);
      } else {
        gathered.push(chunk);
        done();
      }
      if (ends.length > 0) onEnded();
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
  socket.on('close', () => stream.destroy());
  socket.on('error', (error) => stream.destroy(error));
  return {
    stream,
    /** From now on everything waits for `flush`. */
    gather() {
      gathered ??= [];
    },
    flush() {
      if (gathered === undefined) return;
      socket.write(Buffer.concat(gathered));
      gathered = undefined;
    },
    /** Whether the last frame of a stream has come from the session. */
    isEnded: (streamId: number) => ended.has(streamId),
  };
}
