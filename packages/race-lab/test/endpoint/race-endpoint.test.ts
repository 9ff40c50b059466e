import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, inject, onTestFinished, test, vi } from 'vitest';
import { barrier } from '../../../../test/barrier.ts';
import { BadArgumentsError } from '../../src/commands/arguments.ts';
import type { EndpointArguments } from '../../src/commands/endpoint-arguments.ts';
import { endpointOf, parseRaceSubject } from '../../src/commands/endpoint-options.ts';
import { raceEndpointCommand } from '../../src/commands/race-endpoint.ts';
import type { Terminal } from '../../src/commands/terminal.ts';
import { never, temporaryDirectory } from '../cluster/helpers.ts';
import { run, start } from '../lab-command.ts';
import { type Handler, releaseServer, ways, wholeBody } from './release-servers.ts';

/** The command in this process, with what it prints. */
async function race(words: readonly string[], given: EndpointArguments = {}, signal = never) {
  const lines: string[] = [];
  const terminal: Terminal = { print: (...more) => void lines.push(...more), progress: () => undefined };
  const [first = '', url] = words;
  const subject = endpointOf(parseRaceSubject(first), url);
  if (subject === undefined) throw new Error('no endpoint');
  const code = await raceEndpointCommand(subject, given, terminal, signal);
  return { code, out: lines.join('\n') };
}

function raceFile(source: string): string {
  const file = join(temporaryDirectory(), 'x.race.mjs');
  writeFileSync(file, source);
  return file;
}

/**
 * Pays each order once. Nobody is answered before all requests of a round have looked whether it is paid; the naive one notes
 * that it is only then.
 */
function shop(isNaive: boolean, fanout = 20): Handler {
  const paid = new Set<string>();
  const looked = new Map<string, () => Promise<void>>();
  return async (request, response) => {
    const order = `${request.url} ${await wholeBody(request)}`;
    const isPaid = paid.has(order);
    if (!isNaive) paid.add(order);
    const all = looked.get(order) ?? barrier(fanout);
    looked.set(order, all);
    await all();
    paid.add(order);
    response.statusCode = isPaid ? 409 : 200;
    response.end('');
  };
}

describe.each(ways)('over HTTP/$http, TLS $isTls', (way) => {
  test.each([
    ['a naive endpoint is caught', true, 1, 'CAUGHT in round 1: '],
    ['one that looks and acts at once is not', false, 0, 'NOT CAUGHT: 5 rounds of 20 requests'],
  ])('%s', async (_name, isNaive, code, says) => {
    const { url, target } = await releaseServer(way, shop(isNaive));
    const ended = await race(['POST', `${url}/pay`], {
      ...{ data: '{"order":{round}}', rounds: 5, http: way.http },
      ...(target.tls === undefined ? {} : { insecure: true }),
    });
    expect(ended.out).toContain(says);
    expect(ended.out).toContain(`over HTTP/${way.http}${way.isTls ? ' and TLS' : ''}`);
    expect(ended.code).toBe(code);
  });
});

const clear = { http: '1.1', isTls: false } as const;

test('{round} and {n} are replaced in the URL, the headers and the body, also of a file', async () => {
  const asked: unknown[] = [];
  const { url } = await releaseServer(clear, async (request, response) => {
    const { 'x-key': key, 'content-type': type } = request.headers;
    asked.push([request.method, request.url, key, type, await wholeBody(request)]);
    if (!request.url?.endsWith('?n=1')) response.statusCode = 409;
    response.end('');
  });
  const file = join(temporaryDirectory(), 'body');
  writeFileSync(file, 'member={n}&order={round}');
  const { code } = await race(['PUT', `${url}/orders/{round}?n={n}`], {
    ...{
      data: `@${file}`,
      header: ['X-Key: {round}-{n}'],
      fanout: 2,
      rounds: 2,
      firstRound: 5,
      expectAtMost: 1,
    },
  });
  const type = 'application/x-www-form-urlencoded';
  expect(asked.toSorted()).toEqual(
    [5, 6].flatMap((round) =>
      [1, 2].map((n) => [
        'PUT',
        `/orders/${round}?n=${n}`,
        `${round}-${n}`,
        type,
        `member=${n}&order=${round}`,
      ]),
    ),
  );
  expect(code).toBe(0);
});

test('redirects are never followed, and count as failures', async () => {
  const { url } = await releaseServer(clear, async (request, response) => {
    if (request.url !== '/pay') throw new Error('followed');
    await wholeBody(request);
    response.statusCode = 307;
    response.setHeader('location', '/elsewhere');
    response.end('');
  });
  const { code, out } = await race(['POST', `${url}/pay`], { rounds: 1 });
  expect(out).toContain('Answers: 307 ×20.');
  expect(out).toContain('Redirects were not followed');
  expect(code).toBe(2);
});

test('a certificate that nobody trusts makes it unknown, and what would help is said', async () => {
  const { url } = await releaseServer({ http: '2', isTls: true }, (_request, response) => response.end(''));
  const { code, out } = await race(['GET', url]);
  expect(out).toContain('UNKNOWN: nothing answered in round 1: DEPTH_ZERO_SELF_SIGNED_CERT ×20');
  expect(out).toContain('--insecure');
  expect(code).toBe(2);
});

describe('a server that charges on every request, and answers one and fails the others', () => {
  const charging = () => {
    let charges = 0;
    return {
      count: () => charges,
      handler: (async (request, response) => {
        await wholeBody(request);
        charges += 1;
        response.statusCode = charges % 20 === 1 ? 200 : 500;
        response.end('');
      }) satisfies Handler,
    };
  };

  test('is not acquitted without a check', async () => {
    const { url } = await releaseServer(clear, charging().handler);
    const { code, out } = await race(['POST', `${url}/{round}`], { rounds: 3 });
    expect(out).toContain('1/0/19 ×3');
    expect(out).toContain(
      'UNKNOWN: in 3 rounds requests failed that may have taken effect all the same.\n' +
        '57 requests failed: whether they took effect is not known; a check in a race file can tell.',
    );
    expect(code).toBe(2);
  });

  test('is caught with one', async () => {
    const { count, handler } = charging();
    const { url } = await releaseServer(clear, handler);
    vi.stubGlobal('charges', count);
    onTestFinished(() => void vi.unstubAllGlobals());
    const check = `check: () => (globalThis.charges() > 1 ? ['charged ' + globalThis.charges() + ' times'] : [])`;
    const { code, out } = await race([raceFile(`export default { request: { url: '${url}' }, ${check} };`)]);
    expect(out).toContain('CAUGHT in round 1: charged 20 times.');
    expect(code).toBe(1);
  });
});

describe('a race file', () => {
  const service = (fanout?: number) => releaseServer(clear, shop(false, fanout));

  test('prepares each round, asks for each member, checks, and is closed', async () => {
    const { url } = await service(3);
    const file = raceFile(`
      const log = (globalThis.raced = []);
      export default {
        prepare: async ({ round }) => ({ order: 'a' + round }),
        request: ({ order }, { n }) => ({ method: 'PUT', url: '${url}/' + order, json: { order }, headers: { 'x-n': String(n) } }),
        classify: ({ status }) => (status === 409 ? 'refusal' : undefined),
        check: ({ order }, { answers }) => { log.push([order, answers.map(({ n }) => n)]); return []; },
        close: () => log.push('closed'),
        fanout: 3, rounds: 2, seconds: 60,
      };`);
    const { code, out } = await race([file]);
    expect(out).toContain('2 rounds of 3 simultaneous requests, of which 1 may succeed');
    expect(out).toContain('1/2/0 ×2');
    expect((globalThis as { raced?: unknown }).raced).toEqual([
      ['a1', [1, 2, 3]],
      ['a2', [1, 2, 3]],
      'closed',
    ]);
    expect(code).toBe(0);
  });

  describe('of a server that turns everybody away', () => {
    const closedShop = () =>
      releaseServer(clear, async (request, response) => {
        await wholeBody(request);
        response.statusCode = 401;
        response.end('');
      });

    test('what its check misses is no race: 2', async () => {
      const { url } = await closedShop();
      const { code, out } = await race([
        raceFile(`export default { request: { url: '${url}' }, check: () => ['charges: 0, expected 1'] };`),
      ]);
      expect(out).toContain('1 round of 20 simultaneous requests');
      expect(out).toContain(
        'UNKNOWN: nothing succeeded in round 1, and the check says: charges: 0, expected 1.',
      );
      expect(code).toBe(2);
    });

    test.each([
      [
        'fewer than expected',
        `SELECT 0`,
        1,
        2,
        'UNKNOWN: nothing succeeded in round 1, and the check says: the',
      ],
      [
        'no row',
        `SELECT 1 WHERE false`,
        1,
        2,
        'UNKNOWN: nothing succeeded in round 1, and the check says: the',
      ],
      ['another word', `SELECT 'WAITING'`, 'PAID', 2, 'UNKNOWN: nothing succeeded in round 1, and the check'],
      [
        'more than expected',
        `SELECT 2`,
        1,
        1,
        'CAUGHT in round 1: the check answered 2 where 1 was expected',
      ],
      ['more, by its number', `SELECT 10`, '9', 1, 'CAUGHT in round 1: the check answered 10 where 9 was'],
      ['what is expected', `SELECT 1`, 1, 2, 'UNKNOWN: nothing ever succeeded'],
    ])('%s in the database is judged by its number', async (_what, sql, expected, verdict, says) => {
      const { url } = await closedShop();
      const check = JSON.stringify({ url: inject('postgresUrl'), sql, expect: expected });
      const { code, out } = await race(
        [raceFile(`export default { request: { url: '${url}' }, check: ${check} };`)],
        { rounds: 1, fanout: 2 },
      );
      expect(out).toContain(says);
      expect(code).toBe(verdict);
    });
  });

  test('what its check says is a violation', async () => {
    const { url } = await service();
    const file = raceFile(
      `export default { request: { url: '${url}' }, check: () => ['the money left twice'] };`,
    );
    const { code, out } = await race([file]);
    expect(out).toContain('CAUGHT in round 1: the money left twice.');
    expect(code).toBe(1);
  });

  test.each([
    [
      'prepare',
      'prepare: () => { throw new TypeError("no shop") }',
      'prepare of round 1 failed: TypeError: no shop',
    ],
    [
      'check',
      'check: async () => { throw new Error("no database") }',
      'check of round 1 failed: Error: no database',
    ],
    [
      'its answer',
      'check: () => 1',
      'check of round 1 failed: TypeError: the check must return an array of texts',
    ],
    [
      'classify',
      'classify: () => "luck"',
      'classify of round 1 failed: ClassError: classify must answer success',
    ],
    [
      'the database',
      'check: { url: "postgres://u:secret@127.0.0.1:1/x", sql: "SELECT 1", expect: 1 }',
      'check of round 1 failed: ',
    ],
  ])('when %s fails, nobody can say: 2', async (_what, field, says) => {
    const { url } = await service();
    const { code, out } = await race([raceFile(`export default { request: { url: '${url}' }, ${field} };`)]);
    expect(out).toContain(`UNKNOWN: ${says}`);
    expect(out).not.toContain('secret');
    expect(code).toBe(2);
  });

  test('what was caught stays caught when the check then fails', async () => {
    const { url } = await releaseServer(clear, shop(true));
    const check = 'check: () => { throw new Error("no database") }';
    const { code, out } = await race([raceFile(`export default { request: { url: '${url}' }, ${check} };`)]);
    expect(out).toContain('requests succeeded where 1 may; check of round 1 failed: Error: no database.');
    expect(code).toBe(1);
  });

  test.each([
    ['that throws', 'throw new Error("too early")', 'failed: Error: too early'],
    ['that is no program', 'export default {', 'failed: '],
    ['that imports what is not there', 'import "./nothing.ts"', 'failed: Error'],
    ['without a race', 'export const race = {}', 'does not export a race'],
    ['without a request', 'export default {}', 'request is missing'],
    ['with a word that is unknown', 'export default { request: () => 1, fanuot: 3 }', 'fanuot is not known'],
    [
      'with a fan-out that is text',
      'export default { request: () => 1, fanout: "3" }',
      'fanout must be a whole number',
    ],
    [
      'with two expectations',
      'export default { request: () => 1, expect: { successes: 1, atMost: 2 } }',
      'expect must be',
    ],
    ['with a check of nothing', 'export default { request: () => 1, check: { sql: "x" } }', 'check must be'],
  ])('%s is a bad argument', async (_what, source, says) => {
    await expect(race([raceFile(source)])).rejects.toMatchObject({
      ...{ code: 'BAD_ARGUMENTS', message: expect.stringContaining(says) },
    });
  });

  test.each([
    ['another machine', `url: 'http://192.0.2.1/'`, '192.0.2.1 (192.0.2.1) is not this machine'],
    ['no URL', `url: 'pay'`, 'a race needs an http:// or https:// URL'],
    ['a password in a URL', `url: 'http://u:p@127.0.0.1/'`, 'give the header authorization'],
    ['two bodies', `url: 'http://127.0.0.1/', json: 1, body: '1'`, 'a body or json, not both'],
    ['no method', `url: 'http://127.0.0.1/', method: 'pay'`, 'the method must be one of HTTP'],
    [
      'a header that breaks the line',
      `url: 'http://127.0.0.1/', headers: { a: 'b\\r\\nc: d' }`,
      'cannot be sent',
    ],
    ...['Content-Length', 'Proxy-Connection', 'HTTP2-Settings', 'Upgrade', 'TE'].map((name) => [
      `a header ${name} of its own`,
      `url: 'http://127.0.0.1/', headers: { '${name}': '1' }`,
      `the header ${name} is not for a race to set`,
    ]),
  ])('with a request for %s is a bad argument, and closed', async (_what, request, says) => {
    const closed = vi.fn();
    vi.stubGlobal('closed', closed);
    onTestFinished(() => void vi.unstubAllGlobals());
    const source = `export default { request: () => ({ ${request} }), close: () => globalThis.closed() };`;
    await expect(race([raceFile(source)])).rejects.toMatchObject({
      ...{ code: 'BAD_ARGUMENTS', message: expect.stringContaining(says) },
    });
    expect(closed).toHaveBeenCalledOnce();
  });

  describe('whose functions never come back', () => {
    const reason = new Error('enough');
    const interruption = () => {
      const controller = new AbortController();
      vi.stubGlobal('interrupt', () => controller.abort(reason));
      onTestFinished(() => void vi.unstubAllGlobals());
      return controller.signal;
    };

    test.each([
      [
        'prepare',
        `prepare: () => { globalThis.interrupt(); return new Promise(() => undefined); }, request: () => undefined`,
      ],
      ['request', `request: () => { globalThis.interrupt(); return new Promise(() => undefined); }`],
    ])('%s is left when the race is aborted, and the file is closed', async (_what, fields) => {
      const closed = vi.fn();
      vi.stubGlobal('closed', closed);
      const file = raceFile(`export default { ${fields}, close: () => globalThis.closed() };`);
      await expect(race([file], {}, interruption())).rejects.toBe(reason);
      expect(closed).toHaveBeenCalledOnce();
    });

    test('its loading is left when the race is aborted', async () => {
      const file = raceFile('globalThis.interrupt(); await new Promise(() => undefined);');
      await expect(race([file], {}, interruption())).rejects.toBe(reason);
    });

    test('close is left after five seconds, and told', async () => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      onTestFinished(() => void vi.useRealTimers());
      const closing = Promise.withResolvers<void>();
      vi.stubGlobal('closing', closing.resolve);
      const file = raceFile(`export default {
        prepare: () => { throw new Error('no shop'); },
        request: () => undefined,
        close: () => { globalThis.closing(); return new Promise(() => undefined); },
      };`);
      const ended = race([file]);
      await closing.promise;
      await vi.advanceTimersByTimeAsync(5_000);
      const { code, out } = await ended;
      expect(out).toContain('close took longer than 5 s');
      expect(code).toBe(2);
    });
  });
});

/** Leaves something open, as a client of a database does that nobody closes. */
const OPEN = 'setInterval(() => undefined, 1_000);';

test('Ctrl-C ends the command, whatever a race file keeps open: 130', async () => {
  const { url } = await releaseServer(clear, shop(false));
  const file = raceFile(`${OPEN}
    export default {
      prepare: ({ round }) => (round === 1 ? undefined : new Promise(() => console.error('hanging'))),
      request: { url: '${url}' },
    };`);
  const { lab, shows, ended } = start('race', file);
  await shows('hanging');
  lab.kill('SIGINT');
  const { code, err } = await ended;
  expect(err).toContain('Ended by SIGINT; nothing is left running.');
  expect(code).toBe(130);
});

test('a verdict ends the command, whatever a race file keeps open, and is written whole', async () => {
  const { url } = await releaseServer(clear, shop(true));
  const { code, out } = await run('race', raceFile(`${OPEN} export default { request: { url: '${url}' } };`));
  expect(out).toContain('CAUGHT in round 1: ');
  expect(out).toContain('Again: npm run race -- ');
  expect(code).toBe(1);
});

test('a file that opens something and is no race ends the command: 254', async () => {
  const { code, err } = await run('race', raceFile(`${OPEN} export default {};`));
  expect(err).toContain('request is missing');
  expect(code).toBe(254);
});

test.each([
  ['a request without a url', '() => undefined', 'a request needs a url'],
  ['a body that is no text', `{ url: 'http://127.0.0.1:1/', body: { a: 1 } }`, 'json takes any value'],
  [
    'what cannot be too much',
    `{ url: 'http://127.0.0.1:1/' }, fanout: 3, expect: { atMost: 3 }`,
    '3 of 3 requests',
  ],
])('%s in a race file is a bad argument', async (_name, request, message) => {
  const racing = race([raceFile(`export default { request: ${request} };`)]);
  await expect(racing).rejects.toThrow(message);
  await expect(racing).rejects.toThrow(BadArgumentsError);
});

test.each([
  ['a target that is not this machine', ['POST', 'http://192.0.2.1/'], 'is not this machine'],
  ['a method alone', ['POST'], 'POST needs the URL that is to be raced'],
  ['a URL alone', ['http://127.0.0.1/'], 'experiment must be one of purchase'],
  ['an experiment with a URL', ['coupon', 'http://127.0.0.1/'], 'with a method before it'],
  [
    'a store of an endpoint',
    ['GET', 'http://127.0.0.1/', '--store', 'mariadb'],
    '--store has no meaning in a race of an endpoint',
  ],
  ['data of an experiment', ['purchase', '-d', 'x'], '--data has no meaning in the experiment purchase'],
  ['a hundred purchases at once', ['--fanout', '51'], '--fanout must be a whole number from 2 to 50'],
  ['a file that is not there', ['./no.race.ts'], 'there is no race file ./no.race.ts'],
])('%s is a bad argument: 254', async (_name, args, message) => {
  const { code, out, err } = await run('race', ...args);
  expect(err).toContain(message);
  expect(out).toBe('');
  expect(code).toBe(254);
});

test.each<[string, string[], EndpointArguments, string]>([
  [
    'headers beside a race file',
    ['./x.race.ts'],
    { header: ['a: b'] },
    '--header has no meaning with a race file',
  ],
  [
    'two expectations',
    ['GET', 'http://127.0.0.1/'],
    { expectOneSuccess: true, expectAtMost: 2 },
    'exclude each other',
  ],
  [
    'a header without a colon',
    ['GET', 'http://127.0.0.1/'],
    { header: ['a'] },
    '--header must be "name: value"',
  ],
  [
    'a body that is not there',
    ['GET', 'http://127.0.0.1/'],
    { data: '@/no/such' },
    '--data: /no/such cannot be read: ENOENT',
  ],
  [
    'a certificate that is not there',
    ['GET', 'http://127.0.0.1/'],
    { ca: '/no/such' },
    '--ca: /no/such cannot be read: ENOENT',
  ],
])('%s: a bad argument', async (_name, words, given, says) => {
  await expect(race(words, given)).rejects.toMatchObject({
    ...{ code: 'BAD_ARGUMENTS', message: expect.stringContaining(says) },
  });
});
