import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Counts } from './counts.ts';
import type { Broken } from './explore.ts';
import type { Mutant } from './mutant.ts';
import { mutants } from './mutants/index.ts';
import {
  brokenText,
  type Exploration,
  explorationText,
  isAsExpected,
  type MutantSearch,
  mutantsText,
  type Report,
  searched,
} from './report.ts';
import { type Task, Workers } from './workers.ts';

/**
 * `npm run model`: random schedules of the durable purchase, which must violate nothing; then the same with one rule taken back
 * at a time, each of which must be found.
 */
const PROCESSES = 2;
const BATCH = 5_000;
/** For each mutant, at most. */
const MUTANT_SCHEDULES = 200_000;
const PROGRESS_EVERY_MS = 5_000;

const USAGE = `npm run model -- [--schedules N] [--seed N] [--only-mutants] [--mutant TEXT] [--json FILE]

  --schedules N   of the rules as they are; default 1000000
  --seed N        another seed, other schedules; default 1
  --only-mutants  the rules as they are are left out
  --mutant TEXT   only the mutants whose name contains TEXT, with the schedule that shows each
  --json FILE     the report as JSON
`;

interface Arguments {
  readonly schedules: number;
  readonly seed: number;
  readonly onlyMutants: boolean;
  readonly mutant: string | undefined;
  readonly json: string | undefined;
}

function parse(): Arguments | undefined {
  try {
    const { values } = parseArgs({
      options: {
        schedules: { type: 'string', default: '1000000' },
        seed: { type: 'string', default: '1' },
        'only-mutants': { type: 'boolean', default: false },
        mutant: { type: 'string' },
        json: { type: 'string' },
      },
    });
    const { mutant, json } = values;
    const onlyMutants = values['only-mutants'] || mutant !== undefined;
    if (chosen(mutant).length === 0) throw new RangeError(`no mutant's name contains "${mutant}"`);
    const schedules = wholeNumber('--schedules', values.schedules);
    return { schedules, seed: wholeNumber('--seed', values.seed), onlyMutants, mutant, json };
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return undefined;
  }
}

function wholeNumber(name: string, text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 1 && number <= 2 ** 31 - 1) return number;
  throw new RangeError(`${name} must be a whole number from 1 to ${2 ** 31 - 1}, got "${text}"`);
}

function chosen(text = ''): readonly Mutant[] {
  return mutants.filter(({ name }) => name.includes(text));
}

async function exploreAll(workers: Workers, { schedules: total, seed }: Arguments): Promise<Exploration> {
  const counts = new Counts();
  const configurations = new Set<string>();
  let schedules = 0;
  let steps = 0;
  let broken: Broken | undefined;
  let toldAt = performance.now();
  // A batch has a seed of its own, so that the same schedules run whichever process takes it.
  const tasks: readonly Task[] = Array.from({ length: Math.ceil(total / BATCH) }, (_, index) => ({
    seed: seed + index,
    schedules: Math.min(BATCH, total - index * BATCH),
  }));
  await workers.run(
    tasks,
    (_, explored) => {
      schedules += explored.schedules;
      steps += explored.steps;
      counts.add(explored.counts);
      for (const name of explored.configurations) configurations.add(name);
      broken ??= explored.broken;
      if (performance.now() - toldAt < PROGRESS_EVERY_MS) return;
      toldAt = performance.now();
      process.stderr.write(`${schedules} of ${total} schedules\n`);
    },
    () => broken !== undefined,
  );
  return { schedules, steps, configurations: configurations.size, counts: counts.all, broken };
}

async function searchMutants(workers: Workers, { mutant: text, seed }: Arguments): Promise<MutantSearch[]> {
  const asked = chosen(text);
  const tasks = asked.map(({ name }): Task => ({ seed, schedules: MUTANT_SCHEDULES, mutant: name }));
  const searches = new Map<string, MutantSearch>();
  await workers.run(tasks, (task, explored) => {
    const mutant = asked.find(({ name }) => name === task.mutant);
    if (mutant !== undefined) searches.set(mutant.name, searched(mutant, explored));
  });
  return asked.flatMap(({ name }) => searches.get(name) ?? []);
}

async function run(given: Arguments): Promise<number> {
  const workers = new Workers(PROCESSES);
  try {
    const exploration = given.onlyMutants ? undefined : await exploreAll(workers, given);
    if (exploration !== undefined) process.stdout.write(`${explorationText(exploration)}\n`);
    const searches = await searchMutants(workers, given);
    process.stdout.write(mutantsText(searches));
    if (given.mutant !== undefined) {
      for (const { mutant, harm, broken } of searches)
        process.stdout.write(`\n${mutant}: ${harm}\n${broken === undefined ? '' : brokenText(broken)}\n`);
    }
    const report: Report = { schema: 'pawl-model/1', seed: given.seed, exploration, mutants: searches };
    if (given.json !== undefined) writeFileSync(given.json, `${JSON.stringify(report, undefined, 2)}\n`);
    process.stdout.write(`\nAgain: npm run model -- ${again(given)}\n`);
    return isAsExpected(report) ? 0 : 1;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    return 255;
  } finally {
    workers.close();
  }
}

/** The arguments that run the same schedules again. */
function again({ schedules, seed, onlyMutants, mutant }: Arguments): string {
  const what = onlyMutants ? ['--only-mutants'] : ['--schedules', schedules];
  return [...what, '--seed', seed, ...(mutant === undefined ? [] : ['--mutant', `'${mutant}'`])].join(' ');
}

const given = parse();
process.exitCode = given === undefined ? 254 : await run(given);
