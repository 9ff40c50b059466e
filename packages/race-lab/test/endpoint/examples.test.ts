import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { newDatabase } from '../../../../test/stores.ts';
import { withDatabase } from '../../src/cluster/database-session.ts';
import type { EndpointReport } from '../../src/endpoint/endpoint-report.ts';
import { temporaryDirectory } from '../cluster/helpers.ts';
import { run } from '../lab-command.ts';

const examples = fileURLToPath(new URL('../../examples/', import.meta.url));
const RACE_FILE = join(examples, 'pay.race.ts');

interface Service {
  url: string;
  databaseUrl: string;
}

const names = ['express-naive', 'drizzle-transaction', 'pawl-protected'] as const;
const services = new Map<string, Service>();
/** All that were begun: one that is left would keep the run from ending. */
const begun: ChildProcess[] = [];

beforeAll(async () => {
  const starting = names.map(async (name) => void services.set(name, await startService(name)));
  await Promise.allSettled(starting);
  await Promise.all(starting);
});

afterAll(async () => {
  for (const service of begun) {
    if (service.exitCode !== null || service.signalCode !== null) continue;
    const exited = once(service, 'exit');
    service.kill('SIGKILL');
    await exited;
  }
});

async function startService(name: string): Promise<Service> {
  const databaseUrl = await newDatabase();
  const service = spawn(process.execPath, [join(examples, name, 'server.ts')], {
    env: { ...process.env, DATABASE_URL: databaseUrl, PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  begun.push(service);
  const ended = once(service, 'exit').then(([code]) => {
    throw new Error(`${name} ended before it listened, with ${code}`);
  });
  const [line] = (await Promise.race([once(service.stdout.setEncoding('utf8'), 'data'), ended])) as [string];
  return { url: line.trim().replace('listening on ', ''), databaseUrl };
}

function serviceOf(name: (typeof names)[number]): Service {
  const service = services.get(name);
  if (service === undefined) throw new Error(`${name} was not started`);
  return service;
}

async function race(...args: string[]) {
  const json = join(temporaryDirectory(), 'report.json');
  const ended = await run('race', ...args, '--json', json);
  const [report]: EndpointReport[] = JSON.parse(readFileSync(json, 'utf8'));
  if (report === undefined) throw new Error('no report');
  return { ...ended, report };
}

function raceFile(name: (typeof names)[number], ...args: string[]) {
  const { url, databaseUrl } = serviceOf(name);
  vi.stubEnv('SERVICE_URL', url);
  vi.stubEnv('DATABASE_URL', databaseUrl);
  return race(RACE_FILE, ...args);
}

/** Orders 1 to `count` are there, and nobody has paid one of them. */
async function freshOrders(name: (typeof names)[number], count: number): Promise<Service> {
  const service = serviceOf(name);
  await withDatabase(service.databaseUrl, 10_000, async (query) => {
    await query('TRUNCATE example_charges, example_orders RESTART IDENTITY');
    await query(`INSERT INTO example_orders (status) SELECT 'WAITING' FROM generate_series(1, ${count})`);
  });
  return service;
}

test('the README shows the race file as it is', () => {
  const readme = readFileSync(join(examples, '../README.md'), 'utf8');
  expect(readme).toContain(`\`\`\`ts\n${readFileSync(RACE_FILE, 'utf8')}\`\`\``);
});

describe('with a race file', () => {
  test.each(['express-naive', 'drizzle-transaction'] as const)('%s is caught within 10 s', async (name) => {
    const { code, out, report } = await raceFile(name);
    expect(report).toMatchObject({
      schema: 'race-lab/1',
      experiment: 'endpoint',
      fanout: 20,
      expect: { successes: 1 },
      verdict: 'caught',
      endedBy: 'caught',
      unknownBecause: null,
    });
    expect(report.durationMs).toBeLessThan(10_000);
    const { caught } = report;
    expect(caught?.counts.success).toBeGreaterThan(1);
    expect(caught?.violations[0]).toBe(`${caught?.counts.success} requests succeeded where 1 may`);
    // The provider was asked as often as customers were told that they had paid.
    expect(caught?.violations[1]).toContain(
      `the check answered ${caught?.counts.success} where 1 was expected`,
    );
    expect(caught?.members).toHaveLength(20);
    expect(out).toContain(`CAUGHT in round ${caught?.round}: `);
    expect(out.match(/▕.*█.*▏/g)).toHaveLength(20);
    expect(code).toBe(1);
  });

  test('pawl-protected passes, and the report says what that proves', async () => {
    const { code, out, report } = await raceFile('pawl-protected', '--rounds', '15');
    expect(report).toMatchObject({
      rounds: { raced: 15, withSuccess: 15, overlapping: 15 },
      patterns: { '1/19/0': 15 },
      responses: { 200: 15, 409: 285 },
      violations: [],
      caught: null,
      verdict: 'not-caught',
      endedBy: 'rounds',
    });
    expect(out).toContain('the race was not observed.\nThis does not prove that it cannot happen');
    expect(code).toBe(0);
  });
});

describe('with a URL', () => {
  test('express-naive is caught', async () => {
    const { url } = await freshOrders('express-naive', 200);
    const { code, report } = await race('POST', `${url}/orders/{round}/pay`, '--expect-one-success');
    expect(report).toMatchObject({ subject: `POST ${url}/orders/{round}/pay`, verdict: 'caught' });
    expect(code).toBe(1);
  });

  test('pawl-protected passes with an order for each round, from the first that is named', async () => {
    const { url, databaseUrl } = await freshOrders('pawl-protected', 10);
    const { code, out, report } = await race(
      ...[
        'POST',
        `${url}/orders/{round}/pay?token=secret&card={n}#top`,
        '-d',
        '{"secret":{n}}',
        '-H',
        'authorization: Bearer secret',
      ],
      // Few enough that on a busy machine no answers seem to come one by one.
      ...['--fanout', '3', '--rounds', '4', '--first-round', '7'],
    );
    expect(report).toMatchObject({ patterns: { '1/2/0': 4 }, verdict: 'not-caught' });
    expect(out + JSON.stringify(report)).not.toContain('secret');
    expect(report.again).toBe(
      `npm run race -- POST '${url}/orders/{round}/pay?token=…&card={n}' --data '…' -H 'authorization: …' --fanout 3 --rounds 4 --first-round 7`,
    );
    const paid = await withDatabase(databaseUrl, 10_000, (query) =>
      query('SELECT order_id FROM example_charges ORDER BY order_id'),
    );
    expect(paid.map(({ order_id }) => order_id)).toEqual([7, 8, 9, 10]);
    expect(code).toBe(0);
  });

  test('one order for all rounds is told, and not raced again and again', async () => {
    const { url } = await freshOrders('pawl-protected', 1);
    const { code, out, report } = await race('POST', `${url}/orders/1/pay`);
    expect(report).toMatchObject({
      rounds: { raced: 2, withSuccess: 1 },
      endedBy: 'spent',
      verdict: 'not-caught',
    });
    expect(out).toContain('The rounds were not fresh: all after the first could only see refusals.');
    expect(code).toBe(0);
  });

  test('an order that is paid already proves nothing: 2', async () => {
    const { url } = await freshOrders('pawl-protected', 1);
    await fetch(`${url}/orders/1/pay`, { method: 'POST' });
    const { code, out, report } = await race('POST', `${url}/orders/1/pay`, '--rounds', '3');
    expect(report).toMatchObject({ verdict: 'unknown', rounds: { withSuccess: 0 } });
    expect(out).toContain('UNKNOWN: nothing ever succeeded');
    expect(code).toBe(2);
  });
});
