import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';

const RUN_SERVICE = new URL('../src/run-service.ts', import.meta.url).href;

/** A process that runs this service. */
function run(start: string) {
  const script = `
    import { runService } from '${RUN_SERVICE}';
    const stays = () => setInterval(() => undefined, 1_000);
    const say = (what) => process.stdout.write(what);
    await runService(${start});`;
  const service = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void service.kill('SIGKILL'));
  let said = '';
  for (const stream of [service.stdout, service.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      said += text;
    });
  }
  const end = once(service, 'close').then(([code, killedBy]) => ({ code, killedBy, said }));
  return { service, end };
}

/** One that has said that it is there. */
async function processOf(start: string) {
  const { service, end } = run(start);
  await once(service.stdout, 'data');
  return {
    /** How it ends then, and what it has said by then. */
    endsBy(signal: NodeJS.Signals) {
      service.kill(signal);
      return end;
    },
  };
}

const DEAD_SERVER = `await new Promise((resolve, reject) => {
  import('node:net').then(({ connect }) => connect({ host: '127.0.0.1', port: 1 }).on('error', reject));
})`;

test.each([
  ['a server that is not there', DEAD_SERVER],
  ['one behind a wrapper', `try { ${DEAD_SERVER} } catch (cause) { throw new Error('wrapped', { cause }); }`],
])('%s is told in a line', async (_name, start) => {
  expect(await run(`async () => { ${start} }`).end).toEqual({
    code: 255,
    killedBy: null,
    said: 'connect ECONNREFUSED 127.0.0.1:1\n',
  });
});

test('one whose name has two addresses is told in a line for each', async () => {
  const addresses = ['127.0.0.1', '127.0.0.2'].map((address) => ({ address, family: 4 }));
  const twice = DEAD_SERVER.replace(
    "host: '127.0.0.1'",
    `host: 'twice', lookup: (name, options, found) => found(null, ${JSON.stringify(addresses)})`,
  );
  expect(await run(`async () => { ${twice} }`).end).toMatchObject({
    code: 255,
    said: 'connect ECONNREFUSED 127.0.0.1:1\nconnect ECONNREFUSED 127.0.0.2:1\n',
  });
});

test('what only the code explains is told with its place in the code', async () => {
  const { code, said } = await run(`async () => { throw new TypeError('a defect'); }`).end;
  expect(code).toBe(255);
  expect(said).toMatch(/^TypeError: a defect\n {4}at /u);
});

// A process that is killed by the signal had no handler: as the first of a container it would not even notice.
test.each(['SIGTERM', 'SIGINT'] as const)(
  '%s while it starts ends it, as it was asked to',
  async (signal) => {
    const service = await processOf(`async () => { stays(); say('starting'); await new Promise(() => {}); }`);
    expect(await service.endsBy(signal)).toEqual({ code: 0, killedBy: null, said: 'starting' });
  },
);

test('a signal once it runs lets it close, and its end is that of its close', async () => {
  const running = (close: string) => `async () => {
    stays();
    setImmediate(() => say('running'));
    return { close: async () => { say(', closed'); ${close} } };
  }`;
  const [closed, failed] = await Promise.all([processOf(running('')), processOf(running('throw 7'))]);
  expect(await closed.endsBy('SIGTERM')).toEqual({ code: 0, killedBy: null, said: 'running, closed' });
  expect(await failed.endsBy('SIGTERM')).toEqual({
    code: 255,
    killedBy: null,
    said: 'running, closedshutdown failed: 7\n',
  });
});
