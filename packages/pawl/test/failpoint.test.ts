import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { until } from '../../../test/barrier.ts';
import { isStopped } from '../../race-lab/src/cluster/process-tree.ts';
import { type FailpointName, failpointNames } from '../src/failpoint/names.ts';

const VISITOR = fileURLToPath(new URL('./failpoint-visitor.ts', import.meta.url));
const SOURCES = join(import.meta.dirname, '../src');

const A: FailpointName = 'durable-call.claim.before';
const B: FailpointName = 'durable-call.claim.after';
const C: FailpointName = 'compensation.end.within';

let folder: string;
let visitors = 0;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pawl-failpoints-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

interface VisitorOptions {
  readonly names: readonly FailpointName[];
  /** `PAWL_FAILPOINT` */
  readonly strikes?: string;
  /** `PAWL_FAILPOINT_LOG`; absent: a new file. */
  readonly log?: string;
  readonly armed?: boolean;
}

/** A process that visits `names` in turn, as Node runs it under `--conditions=failpoints` where it is `armed`. */
function start({ names, strikes, log: chosen, armed = true }: VisitorOptions) {
  const id = ++visitors;
  const trace = join(folder, `${id}-trace`);
  const log = chosen ?? join(folder, `${id}-log`);
  const conditions = armed ? ['--conditions=failpoints'] : [];
  const child = spawn(process.execPath, [...conditions, VISITOR, trace, ...names], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      PATH: process.env.PATH,
      ...(strikes === undefined ? {} : { PAWL_FAILPOINT: strikes }),
      PAWL_FAILPOINT_LOG: log,
    },
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const { pid } = child;
  if (pid === undefined) throw new Error('the visitor did not start');
  let err = '';
  child.stderr.on('data', (text) => {
    err += text;
  });
  const ended = once(child, 'close').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null,
    err,
  }));
  return {
    child,
    pid,
    log,
    ended,
    /** The names that it has come past. */
    past: () => linesOf(trace),
    logged: () => linesOf(log).map((line) => JSON.parse(line)),
  };
}

function linesOf(file: string): string[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8').split('\n').slice(0, -1);
}

describe('without the condition', () => {
  test('a process passes the failpoint that its environment names, and writes no log', async () => {
    const visitor = start({ names: [A, B], strikes: A, armed: false });
    expect(await visitor.ended).toEqual({ code: 0, signal: null, err: '' });
    expect(visitor.past()).toEqual([A, B]);
    expect(existsSync(visitor.log)).toBe(false);
  });

  test('not even a value that nobody understands matters', async () => {
    const visitor = start({ names: [A], strikes: 'no-such-failpoint', log: folder, armed: false });
    expect(await visitor.ended).toEqual({ code: 0, signal: null, err: '' });
  });
});

describe('under the condition', () => {
  test('a process that nothing names a failpoint for passes them all', async () => {
    const visitor = start({ names: [A, B] });
    expect(await visitor.ended).toEqual({ code: 0, signal: null, err: '' });
    expect(visitor.past()).toEqual([A, B]);
  });

  test('a process dies at the very line, on its first visit', async () => {
    const visitor = start({ names: [B, A, C], strikes: A });
    expect(await visitor.ended).toEqual({ code: null, signal: 'SIGKILL', err: '' });
    expect(visitor.past()).toEqual([B]);
  });

  test('visits are counted for each name, and the one that is asked for is struck', async () => {
    const visitor = start({ names: [A, B, A, B, B, A], strikes: `${A}:3` });
    expect(await visitor.ended).toMatchObject({ signal: 'SIGKILL' });
    expect(visitor.past()).toEqual([A, B, A, B, B]);
  });

  test('a process stands still at the line, and goes on from it after a SIGCONT', async () => {
    const visitor = start({ names: [A, B, C], strikes: `${B}=stop` });
    await until(() => isStopped(visitor.pid));
    expect(visitor.past()).toEqual([A]);
    visitor.child.kill('SIGCONT');
    expect(await visitor.ended).toEqual({ code: 0, signal: null, err: '' });
    expect(visitor.past()).toEqual([A, B, C]);
  });

  test('of several strikes each has its own visit and action', async () => {
    const visitor = start({ names: [A, A, B, A], strikes: `${A}=stop,${C},${A}:2=stop,${B}:1=kill` });
    for (const past of [0, 1]) {
      await until(() => isStopped(visitor.pid) && visitor.past().length === past);
      visitor.child.kill('SIGCONT');
    }
    expect(await visitor.ended).toMatchObject({ signal: 'SIGKILL' });
    expect(visitor.past()).toEqual([A, A]);
  });

  test('the log has the first visit of each name and every strike, the one that killed it too', async () => {
    const visitor = start({ names: [A, A, B, A, B], strikes: `${B}:2` });
    expect(await visitor.ended).toMatchObject({ signal: 'SIGKILL' });
    const { pid } = visitor;
    expect(visitor.logged()).toEqual([
      { name: A, visit: 1, pid, struck: false },
      { name: B, visit: 1, pid, struck: false },
      { name: B, visit: 2, pid, struck: true },
    ]);
  });

  test('processes may share a log', async () => {
    const log = join(folder, 'shared-log');
    const dies = start({ names: [A, B], strikes: A, log });
    const lives = start({ names: [A, B], log });
    await Promise.all([dies.ended, lives.ended]);
    const of = ({ pid }: { pid: number }) => dies.logged().filter((line) => line.pid === pid);
    expect(of(dies)).toEqual([{ name: A, visit: 1, pid: dies.pid, struck: true }]);
    expect(of(lives)).toEqual([
      { name: A, visit: 1, pid: lives.pid, struck: false },
      { name: B, visit: 1, pid: lives.pid, struck: false },
    ]);
    expect(dies.logged()).toHaveLength(3);
  });

  test.each([
    ['no-such-failpoint', 'PAWL_FAILPOINT names "no-such-failpoint", which is none of the failpoints'],
    [`${A},toString`, 'PAWL_FAILPOINT names "toString", which is none of the failpoints'],
    [`${A}:2,${A}:2=stop`, `PAWL_FAILPOINT names ${A}:2 twice`],
    ...[
      `${A}:0`,
      `${A}:01`,
      `${A}:-1`,
      `${A}:1.5`,
      `${A}:`,
      `${A}=`,
      `${A}=pause`,
      `${A}=kill:2`,
      ` ${A}:x`,
      ':1',
    ].map((strike) => [
      strike,
      `PAWL_FAILPOINT must be name[:visit][=kill|stop], got ${JSON.stringify(strike)}`,
    ]),
    [`${A},`, 'PAWL_FAILPOINT must be name[:visit][=kill|stop], got ""'],
  ])('a process does not start with %j', async (strikes, problem) => {
    const visitor = start({ names: [B], strikes });
    expect(await visitor.ended).toEqual({ code: 254, signal: null, err: `${problem}\n` });
    expect(visitor.past()).toEqual([]);
  });

  test('a process does not start with a log that cannot be written', async () => {
    const visitor = start({ names: [A], log: join(folder, 'no-such-folder/log') });
    const err = 'PAWL_FAILPOINT_LOG cannot be written: ENOENT\n';
    expect(await visitor.ended).toEqual({ code: 254, signal: null, err });
    expect(visitor.past()).toEqual([]);
  });
});

describe('the list of failpoints', () => {
  const files = globSync('**/*.ts', { cwd: SOURCES, exclude: ['failpoint/**'] });
  const sources = files.map((file) => ({ file, text: readFileSync(join(SOURCES, file), 'utf8') }));

  test('names each once, as guard, step and when', () => {
    expect(new Set(failpointNames).size).toBe(failpointNames.length);
    for (const name of failpointNames) expect(name).toMatch(/^[a-z-]+\.[a-z-]+\.(before|within|after)$/);
  });

  test('has every failpoint of the library, and each is at one place', () => {
    const placed = sources.flatMap(({ text }) =>
      [...text.matchAll(/\bfailpoint\('([^']*)'\)/g)].map(([, name = '']) => name),
    );
    expect(placed.toSorted()).toEqual([...failpointNames].toSorted());
  });

  test('cannot be evaded: a name is written where it is visited, and whatever is visited can be armed', () => {
    for (const { file, text } of sources) {
      const calls = text.match(/\bfailpoint\(/g)?.length ?? 0;
      expect(text.match(/\bfailpoint\('/g)?.length ?? 0, file).toBe(calls);
      if (calls > 0) expect(text, file).toContain("import { failpoint } from '#failpoint';");
      expect(text, file).not.toMatch(/failpoint\/(armed|none)\.ts/);
    }
  });
});
