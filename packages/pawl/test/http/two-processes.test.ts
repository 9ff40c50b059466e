import { type ChildProcess, fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { together } from '../../../../test/barrier.ts';
import { type OpenSqlIdempotencyStore, openSqlIdempotencyStore } from '../idempotency-stores.ts';
import { endConnections, type Received, send } from './client.ts';

/*
 * The snippets of README.md, as they stand there, in two processes on one database: what they guard happens once, and the answer is
 * the same from both, also when they have been started again.
 */

const PACKAGE = resolve(import.meta.dirname, '../..');
const README = readFileSync(join(PACKAGE, 'README.md'), 'utf8');

/** A service of the README's, and the few lines that it leaves out: a port, and who asks. */
interface Service {
  readonly store: 'postgres' | 'mariadb';
  readonly snippet: string;
  readonly port: string;
  readonly main: string;
  /** The route without its guard: each part of the snippet, and what stands there instead. */
  readonly unguarded: Readonly<Record<string, string>>;
}

const MEMBER = 'Bearer kim';

const ATTEMPT = { 'leaseOf(keys, request)?.attempt ?? 1': '1' };

const services: Readonly<Record<string, Service>> = {
  'Express and PostgreSQL': {
    store: 'postgres',
    snippet: 'express-route.ts',
    port: 'open-postgres.ts',
    main: `
      const authenticated = ({ headers }, response, next) => {
        response.locals.member = headers.authorization;
        next();
      };
      const { app } = payments({ url, authenticated, charge: provider(openPostgres(url).sql) });
      const server = app.listen(0, '127.0.0.1', () => tell({ port: server.address().port }));`,
    unguarded: { 'authenticated, once,': 'authenticated,', ...ATTEMPT },
  },
  'Fastify and MariaDB': {
    store: 'mariadb',
    snippet: 'fastify-route.ts',
    port: 'open-mysql.ts',
    main: `
      const authenticated = async (request) => request.setDecorator('member', request.headers.authorization);
      const { app } = await payments({ url, authenticated, charge: provider(openMysql(url).sql) });
      await app.listen({ port: 0, host: '127.0.0.1' });
      tell({ port: app.server.address().port });`,
    unguarded: { 'config: { idempotent: true }': 'config: {}', ...ATTEMPT },
  },
};

/** A provider whose every charge is a row, and that stands still in the first attempt at an order that says so. */
const PROVIDER = `
  import { randomUUID } from 'node:crypto';
  export const url = process.argv[2];
  export const tell = (message) => process.send(message);
  export const provider = (sql) => async (order, attempt) => {
    await sql.execute({ text: \`INSERT INTO charge_made VALUES (\${attempt})\`, values: [] });
    if (order.standsStill && attempt === 1) {
      tell('in the middle');
      await new Promise(() => undefined);
    }
    return randomUUID();
  };
  process.on('disconnect', () => process.exit());`;

/** @returns what the README shows of a file. */
function shown(file: string): string {
  const [, code] = README.split(`[examples/${file}](examples/${file})\n\n\`\`\`ts\n`);
  if (code === undefined) throw new Error(`README.md does not show ${file}`);
  return code.slice(0, code.indexOf('```\n'));
}

/** What names the library, or what comes of it. */
const GUARD =
  /pawl|keepRawBody|idempotencyKeys|idempotentRoutes?|idempotent:|leaseOf|\bonce\b|\bguarded\b|\bGuard\b|\battempt\b/;

describe.each(Object.entries(services))('%s', (_, service) => {
  let folder: string;
  let opened: OpenSqlIdempotencyStore;
  let processes: readonly Process[];

  beforeAll(async () => {
    opened = await openSqlIdempotencyStore(service.store, { connections: 2 });
    await opened.database.query('CREATE TABLE charge_made (attempt INTEGER)');
    folder = mkdtempSync(join(tmpdir(), 'pawl-route-'));
    // As where the library is installed.
    symlinkSync(resolve(PACKAGE, '../../node_modules'), join(folder, 'node_modules'));
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    writeService('guarded', shown(service.snippet));
    const unguarded = Object.entries(service.unguarded).reduce((code, [guard, none]) => {
      expect(code).toContain(guard);
      return code.replace(guard, none);
    }, shown(service.snippet));
    writeService('unguarded', unguarded);
    processes = await startTwo('guarded');
  });

  afterEach(() => opened.database.query('DELETE FROM charge_made'));
  afterAll(async () => {
    endConnections();
    await Promise.all(processes.map(kill));
    await opened.close();
    rmSync(folder, { recursive: true });
  });

  function writeService(name: string, code: string): void {
    const own = join(folder, name);
    mkdirSync(own);
    writeFileSync(join(own, service.snippet), code);
    writeFileSync(join(own, service.port), shown(service.port));
    writeFileSync(join(own, 'provider.ts'), PROVIDER);
    const [, opener] = /export function (\w+)/.exec(shown(service.port)) ?? [];
    const imports = `
      import { ${opener} } from './${service.port}';
      import { payments } from './${service.snippet}';
      import { provider, tell, url } from './provider.ts';`;
    writeFileSync(join(own, 'main.ts'), imports + service.main);
  }

  function startTwo(name: string): Promise<Process[]> {
    return together(2, () => start(join(folder, name, 'main.ts'), opened.database.url));
  }

  /** Of each charge that the provider was asked for, which attempt it was. */
  async function charges(): Promise<number[]> {
    const { rows } = await opened.database.query('SELECT attempt FROM charge_made ORDER BY attempt');
    return rows.map(({ attempt }) => Number(attempt));
  }

  test('is protected in at most fifteen lines', () => {
    const lines = shown(service.snippet).split('\n');
    const guarding = lines.filter((line) => GUARD.test(line));
    expect(guarding.length).toBeGreaterThan(5);
    expect(guarding.length).toBeLessThanOrEqual(15);
  });

  test('without its guard, fifty identical requests over two processes charge fifty times', async () => {
    const unguarded = await startTwo('unguarded');
    const received = await fifty(unguarded, newRequest());
    await Promise.all(unguarded.map(kill));
    expect(new Set(received.map(textOf)).size).toBe(50);
    expect(await charges()).toHaveLength(50);
  });

  test('with it they charge once, and all get the same bytes, also after both were killed and started again', async () => {
    const request = newRequest();
    const received = await fifty(processes, request);
    await Promise.all(processes.map(kill));
    processes = await startTwo('guarded');
    received.push(...(await fifty(processes, request)));

    expect(new Set(received.map(textOf)).size).toBe(1);
    expect(new Set(received.map(({ headers }) => headers.location)).size).toBe(1);
    expect(received.every(({ status }) => status === 201)).toBe(true);
    expect(received.filter(({ headers }) => headers['idempotency-replayed'] === undefined)).toHaveLength(1);
    expect(await charges()).toEqual([1]);
  });

  test('a process that is killed in the middle of a charge: the other answers 409 until the lease is over, then it goes on', async () => {
    const [first, second] = processes as [Process, Process];
    const request = newRequest('{"standsStill":true}');
    const lost = expect(sendTo(first, request)).rejects.toMatchObject({ code: 'ECONNRESET' });
    await first.inTheMiddle;
    await kill(first);
    await lost;

    const meanwhile = await sendTo(second, request);
    expect(meanwhile.status).toBe(409);
    expect(Number(meanwhile.headers['retry-after'])).toBeGreaterThanOrEqual(1);
    expect(await charges()).toEqual([1]);

    await opened.endLease({ scope: JSON.stringify(['member', MEMBER, 'POST /payments']), key: request.key });
    const received = await fifty([second, second], request);
    expect(new Set(received.map(textOf)).size).toBe(1);
    expect(received[0]?.status).toBe(201);
    expect(await charges()).toEqual([1, 2]);
  });
});

interface Process {
  readonly child: ChildProcess;
  readonly port: number;
  /** Resolves when an order stands still in the middle of its charge. */
  readonly inTheMiddle: Promise<unknown>;
}

async function start(main: string, url: string): Promise<Process> {
  const child = fork(main, [url], { execPath: process.execPath, execArgv: [] });
  const [{ port }] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`${main} ended with ${code}`))),
  ]);
  return { child, port, inTheMiddle: once(child, 'message') };
}

async function kill({ child }: Process): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

const newRequest = (body = '{"order":7}') => ({ key: randomUUID(), body });

function sendTo({ port }: Process, request: ReturnType<typeof newRequest>): Promise<Received> {
  return send(port, { ...request, path: '/payments' });
}

/** The same request fifty times at once, to both in turn. */
function fifty(
  [first, second]: readonly Process[],
  request: ReturnType<typeof newRequest>,
): Promise<Received[]> {
  if (first === undefined || second === undefined) throw new Error('there are two processes');
  return together(50, (index) => sendTo(index % 2 === 0 ? first : second, request));
}

const textOf = ({ body }: Received) => body.toString('latin1');
