import { createServer, type Server } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { startNodeService } from '../../src/cluster/node-service.ts';
import { fixedPort, freePort, type PortChoice } from '../../src/cluster/ports.ts';
import { type ServerPlan, startServer } from '../../src/cluster/start-server.ts';
import { never, STAND_IN, standInRequest, testGuardian } from './helpers.ts';

async function occupiedPort(): Promise<number> {
  const server: Server = createServer((socket) => socket.destroy());
  const port = await freePort.next();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  onTestFinished(() => new Promise((resolve) => server.close(() => resolve())));
  return port;
}

const service = { name: 'service', main: STAND_IN, port: freePort, signal: never };

test('free ports lie below the range of outgoing connections and are free, and no two are the same', async () => {
  const ports = await Promise.all(Array.from({ length: 50 }, () => freePort.next()));
  expect(new Set(ports).size).toBe(50);
  for (const port of ports) expect(port).toSatisfy((it: number) => it >= 20_000 && it < 32_000);
});

test('a service is ready when it answers, and sees its settings and nothing of the lab', async () => {
  const { guardian } = await testGuardian();
  process.env.DATABASE_URL = 'postgres://somebody-else';
  onTestFinished(() => void delete process.env.DATABASE_URL);
  const { baseUrl, startMs } = await startNodeService(guardian, { ...service, env: { SERVER_NAME: 'mine' } });
  const { data } = (await (await fetch(`${baseUrl}/env`)).json()) as { data: Record<string, string> };
  expect(data).toMatchObject({ SERVER_NAME: 'mine', HOST: '127.0.0.1', PORT: new URL(baseUrl).port });
  expect(data).not.toHaveProperty('DATABASE_URL');
  expect(data).not.toHaveProperty('NODE_CHANNEL_FD');
  expect(startMs).toBeGreaterThan(0);
});

test('a server whose port is taken between test and use is started on another one', async () => {
  const { guardian } = await testGuardian();
  const taken = await occupiedPort();
  const candidates = [taken, taken, await freePort.next()];
  const port: PortChoice = { next: async () => candidates.shift() ?? 0 };
  const started = await startNodeService(guardian, { ...service, port, env: {} });
  expect(candidates).toEqual([]);
  expect(started.port).not.toBe(taken);
});

test('it is tried a bounded number of times', async () => {
  const { guardian } = await testGuardian();
  const taken = await occupiedPort();
  let tries = 0;
  const port: PortChoice = {
    next: async () => {
      tries++;
      return taken;
    },
  };
  await expect(startNodeService(guardian, { ...service, port, env: {} })).rejects.toMatchObject({
    code: 'SERVER_ENDED',
    logTail: expect.stringContaining('EADDRINUSE'),
  });
  expect(tries).toBe(5);
});

test('a fixed port that is taken is a named error that says which, and what changes it', async () => {
  const taken = await occupiedPort();
  await expect(fixedPort(taken, '--port').next()).rejects.toMatchObject({
    name: 'PortTakenError',
    code: 'PORT_TAKEN',
    port: taken,
    message: `port ${taken} is taken by another process; choose another with --port`,
  });
});

test('a fixed port that is taken after its test is the same error, and not another port', async () => {
  const { guardian } = await testGuardian();
  const taken = await occupiedPort();
  const port: PortChoice = { fixedBy: '--port', next: async () => taken };
  await expect(startNodeService(guardian, { ...service, port, env: {} })).rejects.toMatchObject({
    code: 'PORT_TAKEN',
    port: taken,
  });
});

test('a server that dies at start shows its log', async () => {
  const { guardian } = await testGuardian();
  const starting = startNodeService(guardian, { ...service, env: { DIE: 'DATABASE_URL must be set' } });
  await expect(starting).rejects.toMatchObject({
    code: 'SERVER_ENDED',
    server: 'service',
    logTail: 'DATABASE_URL must be set',
    message: expect.stringMatching(/exit code 3.*\n {2}DATABASE_URL must be set$/s),
  });
  expect(guardian.processes()).toEqual([]);
});

test('a server that is not ready within its limit is ended', async () => {
  const { guardian } = await testGuardian();
  const plan: ServerPlan = {
    port: freePort,
    startLimitMs: 500,
    command: () => standInRequest(guardian, 'slow'),
    probe: () => Promise.reject(new Error('not yet')),
  };
  await expect(startServer(guardian, plan, never)).rejects.toMatchObject({
    code: 'START_TIMED_OUT',
    message: expect.stringContaining('slow was not ready after 0.5 s'),
    cause: { message: 'not yet' },
  });
  expect(guardian.processes()).toEqual([]);
});

test('a probe that answers for a server that has ended is not believed', async () => {
  const { guardian } = await testGuardian();
  const plan: ServerPlan = {
    port: freePort,
    startLimitMs: 10_000,
    command: () => standInRequest(guardian, 'dead', { DIE: 'gone' }),
    // As if a stranger's server answered, but only once ours has ended.
    probe: async () => {
      await guardian.processes()[0]?.exited;
    },
  };
  await expect(startServer(guardian, plan, never)).rejects.toMatchObject({ code: 'SERVER_ENDED' });
});

test('an abort ends the server before the reason is thrown', async () => {
  const { guardian } = await testGuardian();
  const abort = new AbortController();
  const plan: ServerPlan = {
    port: freePort,
    startLimitMs: 10_000,
    command: () => standInRequest(guardian, 'unwanted'),
    probe: async () => {
      abort.abort(new Error('changed my mind'));
      throw new Error('not yet');
    },
  };
  await expect(startServer(guardian, plan, abort.signal)).rejects.toThrow('changed my mind');
  expect(guardian.processes()).toEqual([]);
});

test('a guardian that dies during a start is reported as that', async () => {
  const { guardian } = await testGuardian();
  const plan: ServerPlan = {
    port: freePort,
    startLimitMs: 10_000,
    command: () => standInRequest(guardian, 'orphan'),
    probe: async () => {
      process.kill(guardian.pid, 'SIGKILL');
      throw new Error('not yet');
    },
  };
  await expect(startServer(guardian, plan, never)).rejects.toMatchObject({ code: 'GUARDIAN_LOST' });
});
