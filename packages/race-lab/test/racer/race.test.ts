import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { answerOf, type PurchaseRequest, resultOf } from '../../src/history/answer.ts';
import { monotonicUs } from '../../src/racer/exchange.ts';
import { raceGroups, raceRequests } from '../../src/racer/race.ts';
import { httpServer, post, tcpServer, until, wholeBody } from './servers.ts';

const groupOf = <Item>(size: number, make: (index: number) => Item) =>
  Array.from({ length: size }, (_, i) => make(i));

/** A server that counts what has begun and what is whole, and leaves the answer to the test. */
async function watchingServer(onWhole: (path: string, response: ServerResponse) => void) {
  const seen = { begun: [] as string[], whole: [] as string[] };
  const server = await httpServer((request: IncomingMessage, response) => {
    const path = request.url ?? '';
    seen.begun.push(path);
    wholeBody(request).then(
      () => {
        seen.whole.push(path);
        onWhole(path, response);
      },
      () => response.destroy(),
    );
  });
  return { ...server, seen };
}

test('all requests of a race are whole before any of them is answered', async () => {
  const waiting: ServerResponse[] = [];
  // A barrier: were the requests sent one after the other, the first would wait for its answer for ever.
  const { target } = await watchingServer((_path, response) => {
    waiting.push(response);
    if (waiting.length === 5) for (const one of waiting) one.end('together');
  });
  const exchanges = await raceRequests(groupOf(5, () => post(target)));
  expect(exchanges.map(({ status, body }) => [status, body.toString()])).toEqual(
    Array(5).fill([200, 'together']),
  );
});

test('answers come in the order of the requests, not of their arrival', async () => {
  const waiting: [string, ServerResponse][] = [];
  const { target } = await watchingServer((path, response) => {
    waiting.push([path, response]);
    if (waiting.length === 4) for (const [name, one] of waiting.reverse()) one.end(name);
  });
  const requests = groupOf(4, (index) => post(target, '{}', `/${index}`));
  const exchanges = await raceRequests(requests);
  expect(exchanges.map(({ body }) => body.toString())).toEqual(['/0', '/1', '/2', '/3']);
  expect(exchanges.map(({ request }) => request)).toEqual(requests);
});

test('nobody is released before the slowest is held', async () => {
  const { target, seen } = await watchingServer((_path, response) => response.end());
  const slow = await tcpServer((socket) => {
    socket.pause().on('data', (chunk) => {
      if (chunk.at(-1) === 'y'.charCodeAt(0)) socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    });
  });
  const race = raceRequests([
    ...groupOf(4, () => post(target)),
    post(slow.target, `${'x'.repeat(16_000_000)}y`),
  ]);
  await until(() => seen.begun.length === 4 && slow.sockets.length === 1);
  // Many turns of the event loop, in each of which a racer that did not wait would have written.
  for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(seen.whole).toEqual([]);
  slow.sockets[0]?.resume();
  const exchanges = await race;
  expect(exchanges.map(({ status }) => status)).toEqual(Array(5).fill(200));
});

test('the last bytes are written in one tick: no turn of the event loop lies between them', async () => {
  const { target } = await watchingServer((_path, response) => response.end());
  const turnsAtUs: number[] = [];
  let racing = true;
  const turn = () => {
    turnsAtUs.push(monotonicUs());
    if (racing) setImmediate(turn);
  };
  turn();
  const exchanges = await raceRequests(groupOf(20, () => post(target)));
  racing = false;
  const releases = exchanges.map(({ releasedAtUs }) => releasedAtUs);
  const first = Math.min(...releases);
  const last = Math.max(...releases);
  expect(last).toBeGreaterThan(first);
  expect(turnsAtUs.filter((atUs) => atUs > first && atUs < last)).toEqual([]);
  expect(turnsAtUs.some((atUs) => atUs < first) && turnsAtUs.some((atUs) => atUs > last)).toBe(true);
});

test('one race spreads over several targets', async () => {
  const servers = await Promise.all(
    groupOf(2, (n) => watchingServer((_path, response) => response.end(`${n}`))),
  );
  const exchanges = await raceRequests(servers.flatMap(({ target }) => [post(target), post(target)]));
  expect(exchanges.map(({ body }) => body.toString())).toEqual(['0', '0', '1', '1']);
});

test('one that is refused, reset or silent does not hold up the others', async () => {
  const good = await watchingServer((_path, response) => response.end());
  const bad = await watchingServer((path, response) => {
    if (path === '/reset') response.destroy();
  });
  const exchanges = await raceRequests(
    [
      post(good.target),
      post({ ...good.target, port: 1 }),
      post(bad.target, '{}', '/reset'),
      post(bad.target, '{}', '/silent'),
      post(good.target),
    ],
    { answerTimeoutMs: 200 },
  );
  expect(exchanges.map(({ status, error }) => status ?? error)).toEqual([
    200,
    'ECONNREFUSED',
    'reset',
    'timeout',
    200,
  ]);
});

test('an abort in flight rejects with its reason and destroys every connection', async () => {
  const { target, sockets, seen } = await watchingServer(() => undefined);
  const controller = new AbortController();
  const reason = new Error('the user pressed Ctrl-C');
  const race = raceRequests(
    groupOf(5, () => post(target)),
    { signal: controller.signal },
  );
  await until(() => seen.whole.length === 5);
  controller.abort(reason);
  await expect(race).rejects.toBe(reason);
  await until(() => sockets.length === 5 && sockets.every(({ destroyed }) => destroyed));
});

test('an abort while connecting releases nothing', async () => {
  const { target, seen, sockets } = await watchingServer((_path, response) => response.end());
  const deaf = await tcpServer((socket) => socket.pause());
  const controller = new AbortController();
  const requests = [...groupOf(3, () => post(target)), post(deaf.target, 'x'.repeat(16_000_000))];
  const race = raceRequests(requests, { signal: controller.signal });
  await until(() => seen.begun.length === 3);
  controller.abort();
  await expect(race).rejects.toBe(controller.signal.reason);
  await until(() => sockets.every(({ destroyed }) => destroyed));
  expect(seen.whole).toEqual([]);
});

test('an abort before the start opens nothing', async () => {
  const { target, sockets } = await watchingServer((_path, response) => response.end());
  await expect(raceRequests([post(target)], { signal: AbortSignal.abort() })).rejects.toMatchObject({
    name: 'AbortError',
  });
  // A connection of our own shows that the server has accepted everything that came before it.
  await raceRequests([post(target)]);
  expect(sockets).toHaveLength(1);
});

test('a request that Node does not accept rejects the race, and the others are not released', async () => {
  const { target, seen } = await watchingServer((_path, response) => response.end());
  const race = raceRequests([post(target), { ...post(target), path: '/a b' }]);
  await expect(race).rejects.toMatchObject({ code: 'ERR_UNESCAPED_CHARACTERS' });
  await raceRequests([post(target, '{}', '/after')]);
  expect(seen.whole).toEqual(['/after']);
});

test('groups in flight stay within their bound, reach it, and the next one is held meanwhile', async () => {
  const total = 7;
  const bound = 3;
  const size = 2;
  const inFlight = new Map<string, ServerResponse[]>();
  let most = 0;
  const { target, seen } = await watchingServer((path, response) => {
    inFlight.set(path, [...(inFlight.get(path) ?? []), response]);
    most = Math.max(most, inFlight.size);
  });
  const progress: [number, number][] = [];
  const race = raceGroups(
    groupOf(total, (group) => groupOf(size, () => post(target, '{}', `/${group}`))),
    { maxGroupsInFlight: bound, spacingMs: 0, onProgress: (...step) => progress.push(step) },
  );
  for (let answered = 0; answered < total; answered += 1) {
    const released = Math.min(total, answered + bound);
    const begun = Math.min(total, released + 1);
    await until(() => seen.whole.length === released * size && seen.begun.length === begun * size);
    const path = `/${answered}`;
    for (const response of inFlight.get(path) ?? []) response.end(path);
    inFlight.delete(path);
  }
  const groups = await race;
  expect(most).toBe(bound);
  expect(groups.map((group) => group.map(({ body }) => body.toString()))).toEqual(
    groupOf(total, (group) => Array(size).fill(`/${group}`)),
  );
  expect(progress).toEqual(groupOf(total, (index) => [index + 1, total]));
});

test('releases keep their distance', async () => {
  const { target } = await watchingServer((_path, response) => response.end());
  const startedAtUs = monotonicUs();
  const groups = await raceGroups(
    groupOf(5, () => [post(target)]),
    { maxGroupsInFlight: 5, spacingMs: 40 },
  );
  for (const [index, [exchange]] of groups.entries()) {
    expect((exchange?.releasedAtUs ?? 0) - startedAtUs).toBeGreaterThanOrEqual(index * 40_000);
  }
});

test('no groups are raced in no time, and an empty group has no answers', async () => {
  expect(await raceGroups([], { maxGroupsInFlight: 1, spacingMs: 0 })).toEqual([]);
  expect(await raceGroups([[], []], { maxGroupsInFlight: 1, spacingMs: 0 })).toEqual([[], []]);
});

test('an abort between many groups ends all of them', async () => {
  const { target, sockets, seen } = await watchingServer(() => undefined);
  const controller = new AbortController();
  const race = raceGroups(
    groupOf(50, (group) => groupOf(2, () => post(target, '{}', `/${group}`))),
    { maxGroupsInFlight: 3, spacingMs: 0, signal: controller.signal },
  );
  await until(() => seen.whole.length === 6 && seen.begun.length === 8);
  controller.abort();
  await expect(race).rejects.toBe(controller.signal.reason);
  await until(() => sockets.every(({ destroyed }) => destroyed));
  expect(sockets).toHaveLength(8);
});

test('an abort does not wait for the spacing', async () => {
  const { target } = await watchingServer((_path, response) => response.end());
  const controller = new AbortController();
  const reason = new Error('enough');
  const race = raceGroups([[post(target)], [post(target)]], {
    maxGroupsInFlight: 1,
    spacingMs: 3_600_000,
    signal: controller.signal,
    onProgress: () => setImmediate(() => controller.abort(reason)),
  });
  await expect(race).rejects.toBe(reason);
});

test('a progress display that throws ends the race with its error', async () => {
  const { target, sockets } = await watchingServer((_path, response) => response.end());
  const broken = new Error('no terminal');
  const race = raceGroups(
    groupOf(3, () => [post(target)]),
    {
      maxGroupsInFlight: 1,
      spacingMs: 0,
      onProgress: () => {
        throw broken;
      },
    },
  );
  await expect(race).rejects.toBe(broken);
  await until(() => sockets.every(({ destroyed }) => destroyed));
});

test.each([
  ['maxGroupsInFlight', 0],
  ['maxGroupsInFlight', 1.5],
  ['spacingMs', -1],
  ['spacingMs', Number.NaN],
  ['answerTimeoutMs', 0],
  ['answerTimeoutMs', 2 ** 31],
  ['prepareTimeoutMs', Number.POSITIVE_INFINITY],
  ['maxAnswerBytes', -5],
])('%s = %s is refused by name', async (name, value) => {
  const race = raceGroups([], { maxGroupsInFlight: 1, spacingMs: 0, [name]: value });
  await expect(race).rejects.toMatchObject({ name: 'RaceSettingsError', code: 'BAD_RACE_SETTINGS' });
  await expect(race).rejects.toThrow(
    new RegExp(`^${name} must be a whole number from [01] to .*, got ${value}$`),
  );
});

test('an answer of a purchase is read from its exchange', async () => {
  const { target } = await watchingServer((path, response) => {
    if (path === '/silent') return;
    response.setHeader('X-Server-Name', 'lotto-back-2');
    response.setHeader('X-Arrived-At-Us', path === '/odd' ? '12e3' : String(monotonicUs()));
    if (path === '/replay') response.setHeader('Idempotency-Replayed', 'true');
    if (path === '/odd') response.writeHead(502).end('<html>');
    else response.writeHead(path === '/refused' ? 400 : 200).end('{"code":"in-progress"}');
  });
  const purchase = (path: string): PurchaseRequest => ({
    ...post(target, '{}', path),
    orderId: 'order-a',
    paymentKey: 'key-a',
    requestId: `request of ${path}`,
  });
  const [ok, replay, refused, odd, silent] = (
    await raceRequests(['/ok', '/replay', '/refused', '/odd', '/silent'].map(purchase), {
      answerTimeoutMs: 200,
    })
  ).map(answerOf);

  expect(ok).toMatchObject({
    orderId: 'order-a',
    paymentKey: 'key-a',
    requestId: 'request of /ok',
    instance: 'lotto-back-2',
    result: 'ok',
    status: 200,
    code: 'in-progress',
    replayed: false,
    bodyDigest: createHash('sha256').update('{"code":"in-progress"}').digest('hex'),
    error: undefined,
  });
  expect(ok?.arrivedAtUs).toBeGreaterThanOrEqual(ok?.releasedAtUs ?? Number.NaN);
  expect(ok?.answeredAtUs).toBeGreaterThanOrEqual(ok?.arrivedAtUs ?? Number.NaN);
  expect(ok?.latencyMs).toBeCloseTo(((ok?.answeredAtUs ?? 0) - (ok?.releasedAtUs ?? 0)) / 1000);
  expect(replay).toMatchObject({ result: 'ok', replayed: true, bodyDigest: ok?.bodyDigest });
  expect(refused).toMatchObject({
    result: 'fail',
    status: 400,
    code: 'in-progress',
    bodyDigest: ok?.bodyDigest,
  });
  expect(odd).toMatchObject({ result: 'info', status: 502, code: undefined, arrivedAtUs: undefined });
  expect(odd?.bodyDigest).not.toBe(ok?.bodyDigest);
  expect(silent).toMatchObject({
    result: 'info',
    status: undefined,
    code: undefined,
    instance: undefined,
    bodyDigest: undefined,
    error: 'timeout',
  });
});

test('only 200 is a success and only a 4xx a refusal; of everything else the effect is unknown', () => {
  const results = [200, 400, 404, 413, 422, 499, 201, 202, 204, 302, 399, 500, 503, undefined].map(resultOf);
  expect(results).toEqual(['ok', ...Array(5).fill('fail'), ...Array(8).fill('info')]);
});
