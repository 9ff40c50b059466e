import { readFile } from 'node:fs/promises';
import { BadArgumentsError } from '../commands/arguments.ts';
import type { EndpointReport } from '../endpoint/endpoint-report.ts';
import type { RunReport } from './report.ts';
import { runReportShape } from './run-report-shape.ts';
import { ShapeError } from './shape.ts';

/**
 * Reads what `race --json` wrote, of this version or an earlier one of the same contract.
 *
 * @returns at least one report, all of one experiment
 * @throws BadArgumentsError  The file cannot be read, is no such report, or is that of an endpoint: it is named, with what is
 *   wrong.
 */
export async function readReports(file: string): Promise<RunReport[]> {
  const wrong = (problem: string, cause: unknown) =>
    new BadArgumentsError(`${file}: it is not a report of "race --json": ${problem}`, { cause });
  let json: string;
  try {
    json = await readFile(file, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new BadArgumentsError(`${file}: it cannot be read (${code ?? String(cause)})`, { cause });
  }
  let found: unknown;
  try {
    found = JSON.parse(json);
  } catch (cause) {
    throw wrong('it is not JSON', cause);
  }
  if (!Array.isArray(found)) throw wrong('it must be a list of runs', undefined);
  if (found.length === 0) throw wrong('it holds no run', undefined);
  if (found.some(isOfEndpoint)) {
    throw new BadArgumentsError(
      `${file}: it is the report of a race of an endpoint, and not of an experiment: only of an experiment a page is made. ` +
        'What the report says, the race has printed.',
    );
  }
  for (const [index, run] of found.entries()) {
    try {
      runReportShape.check(run, `run ${index + 1}`);
    } catch (error) {
      if (error instanceof ShapeError) throw wrong(error.message, error);
      throw error;
    }
  }
  const reports = found as RunReport[];
  const experiments = new Set(reports.map(({ experiment }) => experiment));
  if (experiments.size > 1) throw wrong(`its runs are of ${[...experiments].join(' and ')}`, undefined);
  return reports;
}

function isOfEndpoint(run: unknown): boolean {
  const experiment: EndpointReport['experiment'] = 'endpoint';
  return typeof run === 'object' && run !== null && 'experiment' in run && run.experiment === experiment;
}
