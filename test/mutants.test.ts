import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { mutants } from '../packages/pawl/mutants/index.ts';
import type { Mutant } from '../packages/pawl/mutants/mutant.ts';
import { startGuardian } from '../packages/race-lab/src/cluster/guardian.ts';
import { copyCheckout } from '../scripts/mutation/checkout-copy.ts';
import { mutate } from '../scripts/mutation/mutate.ts';
import { type Judged, judge, runMutants } from '../scripts/mutation/run-mutants.ts';
import { TEST_LIMIT_MS, type Workplace } from '../scripts/mutation/run-tests.ts';
import { until } from './barrier.ts';

const ROOT = join(import.meta.dirname, '..');

const LOCK = `export function enter(taken: boolean): string {
  if (taken) return 'refused';
  return 'entered';
}
export const unused = 1;
`;

const LOCK_TEST = `import { describe, expect, test } from 'vitest';
import { enter } from '../src/lock.ts';
describe('lock (v1.0)', () => {
  test('who comes second is refused', () => expect(enter(true)).toBe('refused'));
  test('who comes second is refused, and more', () => expect(enter(true)).toBe('entered'));
});
`;

const REFUSES = 'lock (v1.0) > who comes second is refused';
const FAILS = 'lock (v1.0) > who comes second is refused, and more';
const CHECK = `  if (taken) return 'refused';\n`;

function mutant(line: string, name = REFUSES, replacement = ''): Mutant {
  return { file: 'src/lock.ts', line, replacement, why: '', test: { file: 'test/lock.test.ts', name } };
}

/** A checkout with one package, and a copy of it to work in. */
async function workplace(signal = new AbortController().signal): Promise<Workplace & { original: string }> {
  const original = mkdtempSync(join(tmpdir(), 'mutants-test-'));
  onTestFinished(() => rmSync(original, { recursive: true }));
  for (const folder of ['lib/src', 'lib/test', 'node_modules/@here']) {
    mkdirSync(join(original, folder), { recursive: true });
  }
  const files = {
    '.gitignore': 'node_modules/\n',
    'package.json': '{ "type": "module" }',
    'lib/package.json': '{ "type": "module" }',
    'lib/src/lock.ts': LOCK,
    'lib/test/lock.test.ts': LOCK_TEST,
  };
  for (const [file, text] of Object.entries(files)) writeFileSync(join(original, file), text);
  symlinkSync('../../lib', join(original, 'node_modules/@here/lib'));
  symlinkSync(join(ROOT, 'node_modules/vitest'), join(original, 'node_modules/vitest'));
  execFileSync('git', ['init', '--quiet'], { cwd: original });

  const guardian = await startGuardian();
  onTestFinished(async () => void (await guardian.end()));
  const folder = join(guardian.directory, 'copy');
  await copyCheckout(original, folder);
  return { name: 'copy', original, folder, guardian, env: {}, signal };
}

async function verdictsOn(place: Workplace, list: readonly Mutant[]): Promise<Judged['verdict'][]> {
  const judged = new Map<Mutant, Judged['verdict']>();
  await runMutants([place], 'lib', list, ({ mutant, verdict }) => judged.set(mutant, verdict));
  return list.flatMap((one) => judged.get(one) ?? []);
}

test('a mutant whose test fails is killed, and one whose test passes is reported', async () => {
  const place = await workplace();
  const verdicts = await verdictsOn(place, [
    mutant(CHECK),
    mutant('export const unused = 1;'),
    mutant(CHECK),
  ]);
  // The third shows that the second began with the code as it was.
  expect(verdicts).toEqual([{ verdict: 'killed' }, { verdict: 'survived' }, { verdict: 'killed' }]);
  expect(readFileSync(join(place.folder, 'lib/src/lock.ts'), 'utf8')).toBe(LOCK);
  expect(readFileSync(join(place.original, 'lib/src/lock.ts'), 'utf8')).toBe(LOCK);
});

test('what proves nothing is unproved: a lost line, a test that is not there or fails anyway, code that does not load', async () => {
  const verdicts = await verdictsOn(await workplace(), [
    mutant('if (busy)'),
    mutant('return'),
    mutant(CHECK, `${REFUSES} twice`),
    mutant(CHECK, FAILS),
    mutant(CHECK, REFUSES, 'no code {'),
  ]);
  expect(verdicts).toEqual([
    { verdict: 'unproved', why: 'the line is not in the file' },
    { verdict: 'unproved', why: 'the line is more than once in the file' },
    { verdict: 'unproved', why: expect.stringMatching(/^there is no such test/) },
    { verdict: 'unproved', why: 'the test fails without the mutation too' },
    { verdict: 'unproved', why: expect.stringMatching(/^with the mutation the test does not run/) },
  ]);
});

test('a time-out kills only where the test otherwise needs a small part of the time', () => {
  const atLimit = { state: 'failed', durationMs: TEST_LIMIT_MS } as const;
  for (const mutated of [atLimit, { state: 'hung' } as const]) {
    expect(judge({ state: 'passed', durationMs: 20 }, mutated)).toEqual({ verdict: 'killed-by-time' });
    const slow = { state: 'passed', durationMs: TEST_LIMIT_MS / 2 } as const;
    expect(judge(slow, mutated)).toMatchObject({ verdict: 'unproved' });
  }
  expect(judge({ state: 'hung' }, atLimit)).toMatchObject({ verdict: 'unproved' });
});

test('an interruption ends it, and the run that is under way', async () => {
  const interrupted = new AbortController();
  const place = await workplace(interrupted.signal);
  const running = runMutants([place], 'lib', [mutant(CHECK)], () => undefined);
  await until(() => place.guardian.processes().length > 0);
  interrupted.abort('SIGINT');
  await expect(running).rejects.toBe('SIGINT');
  expect(place.guardian.processes()).toEqual([]);
});

test('a workspace among the packages of a copy is the copy’s own, and installed packages are the original’s', async () => {
  const { folder } = await workplace();
  expect(realpathSync(join(folder, 'node_modules/@here/lib'))).toBe(realpathSync(join(folder, 'lib')));
  expect(realpathSync(join(folder, 'node_modules/vitest'))).toBe(
    realpathSync(join(ROOT, 'node_modules/vitest')),
  );
});

test('every line of the list is in the library, once, and every mutant changes it', () => {
  const lost = mutants.flatMap((one) => {
    const text = readFileSync(join(ROOT, 'packages/pawl', one.file), 'utf8');
    const mutated = mutate(text, one);
    if ('problem' in mutated) return [`${one.file}: ${one.line} is ${mutated.problem}`];
    return mutated.text === text ? [`${one.file}: ${one.line} is not changed`] : [];
  });
  expect(lost).toEqual([]);
});
