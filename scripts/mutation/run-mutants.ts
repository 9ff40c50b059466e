import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Mutant } from '../../packages/pawl/mutants/mutant.ts';
import { mutate } from './mutate.ts';
import { runTests, TEST_LIMIT_MS, type TestResult, type Workplace } from './run-tests.ts';

/**
 * `killed`: the named test fails with the mutation in place, and passes without it. `killed-by-time`: it came to its time
 * limit, of which it needs a small part without the mutation. `survived`: nothing was noticed. `unproved`: it cannot be said.
 */
export type Verdict =
  | { readonly verdict: 'killed' | 'killed-by-time' | 'survived' }
  | { readonly verdict: 'unproved'; readonly why: string };

export interface Judged {
  readonly mutant: Mutant;
  /** 0 where the line was not found. */
  readonly lineNumber: number;
  readonly verdict: Verdict;
  readonly durationMs: number;
}

/** A time-out proves something when the test needs at most one part in so many of its limit. */
const FAR_BELOW = 3;

/**
 * Tries every mutant in one of the workplaces: first all the named tests on the code as it is, then each on its mutation,
 * which is taken back afterwards.
 *
 * @param folder  That of the package, from the root of the checkout.
 * @param report  Is told of each as it is judged, which is not the order of the list.
 * @throws what the workplaces' signal was aborted with.
 */
export async function runMutants(
  workplaces: readonly Workplace[],
  folder: string,
  mutants: readonly Mutant[],
  report: (judged: Judged) => void,
): Promise<void> {
  const unmutated = new Map<string, TestResult>();
  const files = [...new Set(mutants.map(({ test }) => test.file))];
  await share(workplaces, files, async (workplace, file) => {
    const names = new Set(mutants.filter(({ test }) => test.file === file).map(({ test }) => test.name));
    const results = await runTests(workplace, join(folder, file), [...names]);
    for (const [name, result] of results) unmutated.set(testId({ file, name }), result);
  });

  await share(workplaces, mutants, async (workplace, mutant) => {
    const startMs = performance.now();
    const tried = await tryOne(workplace, folder, mutant, unmutated.get(testId(mutant.test)));
    report({ mutant, ...tried, durationMs: performance.now() - startMs });
  });
}

async function tryOne(
  workplace: Workplace,
  folder: string,
  mutant: Mutant,
  unmutated: TestResult | undefined,
): Promise<Pick<Judged, 'lineNumber' | 'verdict'>> {
  const file = join(workplace.folder, folder, mutant.file);
  const { file: testFile, name } = mutant.test;
  const text = await readFile(file, 'utf8');
  const mutated = mutate(text, mutant);
  if ('problem' in mutated) return { lineNumber: 0, verdict: unproved(`the line is ${mutated.problem}`) };
  const { lineNumber } = mutated;
  const broken = whyBroken(unmutated);
  if (broken !== undefined) return { lineNumber, verdict: unproved(broken) };
  await writeFile(file, mutated.text);
  try {
    const results = await runTests(workplace, join(folder, testFile), [name]);
    return { lineNumber, verdict: judge(unmutated, results.get(name)) };
  } finally {
    await writeFile(file, text);
  }
}

/** What a test says of a mutation, by what became of it without (it passed) and with it. */
export function judge(unmutated: TestResult | undefined, mutated: TestResult | undefined): Verdict {
  const broken = whyBroken(unmutated);
  if (broken !== undefined) return unproved(broken);
  if (mutated === undefined || mutated.state === 'absent') {
    return unproved(`with the mutation the test does not run. ${mutated?.why}`);
  }
  if (mutated.state === 'passed') return { verdict: 'survived' };
  if (mutated.state === 'failed' && mutated.durationMs < TEST_LIMIT_MS) return { verdict: 'killed' };
  const neededMs = unmutated !== undefined && 'durationMs' in unmutated ? unmutated.durationMs : 0;
  if (neededMs * FAR_BELOW <= TEST_LIMIT_MS) return { verdict: 'killed-by-time' };
  return unproved(
    `the test came to its time limit, and needs ${Math.round(neededMs)} ms without the mutation`,
  );
}

function whyBroken(unmutated: TestResult | undefined): string | undefined {
  switch (unmutated?.state) {
    case 'passed':
      return undefined;
    case 'failed':
      return 'the test fails without the mutation too';
    case 'hung':
      return 'the test hangs without the mutation too';
    default:
      return `there is no such test, or it does not run. ${unmutated?.why}`;
  }
}

function unproved(why: string): Verdict {
  return { verdict: 'unproved', why: why.trim() };
}

function testId({ file, name }: Mutant['test']): string {
  return `${file} ${name}`;
}

/** Gives the work to the workplaces, each of which takes the next when it is done with one. */
async function share<Work>(
  workplaces: readonly Workplace[],
  works: readonly Work[],
  does: (workplace: Workplace, work: Work) => Promise<void>,
): Promise<void> {
  const queue = works.values();
  await Promise.all(
    workplaces.map(async (workplace) => {
      for (const work of queue) await does(workplace, work);
    }),
  );
}
