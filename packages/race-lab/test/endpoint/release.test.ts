import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { barrier, until } from '../../../../test/barrier.ts';
import { DEFAULT_LIMITS, type Target } from '../../src/racer/exchange.ts';
import { holdRequest } from '../../src/racer/held-request.ts';
import { holdStreams } from '../../src/racer/held-streams.ts';
import { raceGroups, raceRequests } from '../../src/racer/race.ts';
import { tcpServer } from '../racer/servers.ts';
import { pay, releaseServer, ways, wholeBody } from './release-servers.ts';

const FANOUT = 20;
const members = Array.from({ length: FANOUT }, (_, index) => index + 1);

describe.each(ways)('over HTTP/$http, TLS $isTls', (way) => {
  /** Answers nobody before `FANOUT` whole requests are being handled. */
  const barrierServer = () => {
    const arrive = barrier(FANOUT);
    return releaseServer(way, async (request, response) => {
      const body = await wholeBody(request);
      await arrive();
      response.end(`${request.method} ${request.url} ${request.headers['content-length'] ?? '-'} ${body}`);
    });
  };

  test('released together, all are being handled before one is answered', async () => {
    const { target } = await barrierServer();
    const exchanges = await raceRequests(members.map((n) => pay(target, n)));
    expect(exchanges.map(({ status, error }) => [status, error])).toEqual(
      members.map(() => [200, undefined]),
    );
    expect(exchanges[7]?.body.toString()).toBe('POST /pay?n=8 20 {"pay":"once","n":8}');
  });

  test('sent one after the other, the first is never answered', async () => {
    const { target } = await barrierServer();
    const exchanges = await raceGroups([[pay(target, 1)], [pay(target, 2)]], {
      ...{ maxGroupsInFlight: 1, spacingMs: 0, answerTimeoutMs: 50 },
    });
    expect(exchanges.flat().map(({ error }) => error)).toEqual(['timeout', 'timeout']);
  });

  test('requests without a body are held and released as well', async () => {
    const { target } = await barrierServer();
    const exchanges = await raceRequests(
      members.map((n) => pay(target, n, { method: n % 2 ? 'GET' : 'DELETE', body: '' })),
    );
    expect(exchanges.map(({ body }) => body.toString())).toEqual(
      members.map((n) => `${n % 2 ? 'GET' : 'DELETE'} /pay?n=${n} - `),
    );
  });

  test.each(['GET', 'DELETE', 'OPTIONS', 'HEAD'])(
    '%s with a body is held, and arrives whole',
    async (method) => {
      const arrive = barrier(2);
      const bodies: string[] = [];
      const { target } = await releaseServer(way, async (request, response) => {
        bodies.push(`${request.method} ${await wholeBody(request)}`);
        await arrive();
        response.end('');
      });
      const exchanges = await raceRequests([1, 2].map((n) => pay(target, n, { method })));
      expect(exchanges.map(({ status, error }) => [status, error])).toEqual([
        [200, undefined],
        [200, undefined],
      ]);
      expect(bodies.toSorted()).toEqual([1, 2].map((n) => `${method} {"pay":"once","n":${n}}`));
    },
  );

  test('until the release no request is whole', async () => {
    const whole: string[] = [];
    const { target, sockets } = await releaseServer(way, async (request, response) => {
      whole.push(await wholeBody(request).catch(() => 'cut off'));
      response.end('');
    });
    const controller = new AbortController();
    const reason = new Error('enough');
    const race = raceGroups([[pay(target, 1)], [pay(target, 2)]], {
      ...{ maxGroupsInFlight: 1, spacingMs: 3_600_000, signal: controller.signal },
      onProgress: () => setImmediate(() => controller.abort(reason)),
    });
    await expect(race).rejects.toBe(reason);
    await until(() => sockets.length === 2 && sockets.every(({ destroyed }) => destroyed));
    expect(whole.filter((body) => body !== 'cut off')).toEqual(['{"pay":"once","n":1}']);
  });

  test('an answer that does not wait for the whole request is marked', async () => {
    const { target } = await releaseServer(way, (_request, response) => {
      response.statusCode = 413;
      response.end('too large');
    });
    const request = pay(target, 1);
    const one =
      way.http === '2'
        ? holdStreams(target, [request], DEFAULT_LIMITS)[0]
        : holdRequest(request, DEFAULT_LIMITS);
    expect(await one?.exchange).toMatchObject({ status: 413, error: 'early-answer' });
  });

  test('a body of half a megabyte arrives whole', async () => {
    const { target } = await releaseServer(way, async (request, response) => {
      response.end(String((await wholeBody(request)).length));
    });
    const exchanges = await raceRequests([1, 2].map((n) => pay(target, n, { body: 'x'.repeat(500_001) })));
    expect(exchanges.map(({ body }) => body.toString())).toEqual(['500001', '500001']);
  });

  test('a connection that is lost, and nobody there, are told', async () => {
    const { target, sockets } = await releaseServer(way, async (request) => {
      await wholeBody(request);
      for (const socket of sockets) socket.resetAndDestroy();
    });
    const lost = await raceRequests([pay(target, 1)]);
    const gone = { ...target, port: 1 };
    const refused = await raceRequests([pay(gone, 1), pay(gone, 2)]);
    expect([...lost, ...refused].map(({ status, error }) => [status, error])).toEqual([
      [undefined, 'reset'],
      ...[1, 2].map(() => [undefined, 'ECONNREFUSED']),
    ]);
  });
});

describe('over HTTP/2', () => {
  const clear = { http: '2', isTls: false } as const;

  /** What the client sends passes through here, piece by piece as it arrives. */
  async function tapOf(target: Target) {
    const pieces: Buffer[] = [];
    const tap = await tcpServer((near) => {
      const far = connect({ ...target, noDelay: true });
      near.on('data', (piece) => {
        pieces.push(piece);
        far.write(piece);
      });
      far.pipe(near);
      for (const end of [near, far]) end.on('error', () => end.destroy()).on('close', () => far.destroy());
    });
    return { pieces, target: { ...tap.target, http: '2' } satisfies Target };
  }

  test('when it is held the server has all but the last byte, and all the rest arrives in one piece', async () => {
    const begun: string[] = [];
    const ended: string[] = [];
    let bytes = 0;
    const { target: server } = await releaseServer(clear, async (request, response) => {
      begun.push(request.url ?? '');
      for await (const chunk of request) bytes += chunk.length;
      ended.push(request.url ?? '');
      response.end('');
    });
    const { pieces, target } = await tapOf(server);
    const requests = members.map((n) => pay(target, n));
    const held = holdStreams(target, requests, DEFAULT_LIMITS);
    await Promise.all(held.map((one) => one.held));

    const before = requests.reduce((total, { body }) => total + body.length - 1, 0);
    expect({ begun: begun.length, ended: ended.length, bytes }).toEqual({
      begun: FANOUT,
      ended: 0,
      bytes: before,
    });

    pieces.length = 0;
    for (const one of held) one.release();
    const exchanges = await Promise.all(held.map(({ exchange }) => exchange));
    expect(endedStreams(pieces[0])).toBe(FANOUT);
    expect(exchanges.map(({ status }) => status)).toEqual(members.map(() => 200));
  });

  test('a server that allows fewer at once is told, and gets nothing whole', async () => {
    let whole = 0;
    const { target } = await releaseServer(
      clear,
      async (request, response) => {
        await wholeBody(request).then(
          () => (whole += 1),
          () => undefined,
        );
        response.end('');
      },
      { maxConcurrentStreams: FANOUT - 1 },
    );
    const exchanges = await raceRequests(members.map((n) => pay(target, n)));
    expect(new Set(exchanges.map(({ error }) => error))).toEqual(new Set(['too-few-streams']));
    const fewer = await raceRequests(members.slice(1).map((n) => pay(target, n)));
    expect(fewer.map(({ status }) => status)).toEqual(members.slice(1).map(() => 200));
    expect(whole).toBe(FANOUT - 1);
  });

  test('who is silent, or speaks something else, ends the preparation', async () => {
    const silent = await tcpServer((socket) => void socket.resume());
    const other = await releaseServer({ http: '1.1', isTls: false }, (_request, response) =>
      response.end(''),
    );
    const ask = async (target: Target, limits = {}) =>
      (await raceRequests([pay({ ...target, http: '2' }, 1)], limits)).map(({ error }) => error);
    expect(await ask(silent.target, { prepareTimeoutMs: 50 })).toEqual(['prepare-timeout']);
    expect(await ask(other.target)).toEqual(['ERR_HTTP2_ERROR']);
  });

  test('one that is answered early does not hold up the others', async () => {
    const { target } = await releaseServer(clear, async (request, response) => {
      if (request.url === '/early') return response.end('early');
      return response.end(await wholeBody(request));
    });
    const requests = [pay(target, 1, { path: '/early' }), pay(target, 2), pay(target, 3)];
    const held = holdStreams(target, requests, DEFAULT_LIMITS);
    await Promise.all([...held.map((one) => one.held), held[0]?.exchange]);
    for (const one of held) one.release();
    const exchanges = await Promise.all(held.map((one) => one.exchange));
    expect(exchanges.map(({ error, status }) => [status, error])).toEqual([
      [200, 'early-answer'],
      [200, undefined],
      [200, undefined],
    ]);
  });

  test('one that is never answered does not hold up the others', async () => {
    const { target } = await releaseServer(clear, async (request, response) => {
      await wholeBody(request);
      if (request.url !== '/silent') response.end('');
    });
    const held = holdStreams(target, [pay(target, 1, { path: '/silent' }), pay(target, 2)], DEFAULT_LIMITS);
    await Promise.all(held.map((one) => one.held));
    for (const one of held) one.release();
    expect(await held[1]?.exchange).toMatchObject({ status: 200, error: undefined });
    held[0]?.abandon();
    expect(await held[0]?.exchange).toMatchObject({ status: undefined, error: 'aborted' });
  });

  test('a header that breaks the line is refused at once', async () => {
    const { target } = await tcpServer((socket) => void socket.resume());
    const headers = { connection: 'upgrade' };
    await expect(
      raceRequests([pay(target, 1), pay({ ...target, http: '2' }, 2, { headers })]),
    ).rejects.toThrow(expect.objectContaining({ code: 'ERR_HTTP2_INVALID_CONNECTION_HEADERS' }));
  });
});

test.each(['1.1', '2'] as const)(
  'over TLS and HTTP/%s a certificate that is not trusted is told',
  async (http) => {
    const { target } = await releaseServer({ http, isTls: true }, async (request, response) => {
      await wholeBody(request);
      response.end('');
    });
    const ask = async (tls: Partial<NonNullable<Target['tls']>>) => {
      const settings = { name: 'localhost', insecure: false, ...tls };
      const [exchange] = await raceRequests([pay({ ...target, tls: settings }, 1)]);
      return exchange?.status ?? exchange?.error;
    };
    const { ca = '' } = target.tls ?? {};
    expect(await ask({})).toBe('DEPTH_ZERO_SELF_SIGNED_CERT');
    expect(await ask({ ca })).toBe(200);
    expect(await ask({ ca, name: 'pay.example' })).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
    expect(await ask({ ca, name: '127.0.0.1' })).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
    expect(await ask({ insecure: true })).toBe(200);
  },
);

/** How many streams end in the frames of one piece. */
function endedStreams(piece: Buffer | undefined): number {
  let ended = 0;
  for (let at = 0; piece !== undefined && at < piece.length; at += 9 + piece.readUIntBE(at, 3)) {
    if (piece[at + 3] === 0 && ((piece[at + 4] ?? 0) & 1) === 1) ended += 1;
  }
  return ended;
}
