import { appendFileSync, writeSync } from 'node:fs';
import { type FailpointName, failpointNames } from './names.ts';

/**
 * What `#failpoint` is under `node --conditions=failpoints`, in a checkout only: a process that dies, or stands still, at
 * a line which the environment names. Counts are of this process, from its start.
 *
 * - `PAWL_FAILPOINT`: where to strike, as `name[:visit][=kill|stop]`, several separated by commas. Without `:visit` the
 *   first visit is struck; without an action it is `kill`. `kill` is SIGKILL to the process itself; `stop` is SIGSTOP, and
 *   the process goes on from that line after a SIGCONT.
 * - `PAWL_FAILPOINT_LOG`: the file to which a {@link VisitLine} is appended for each name's first visit and for each
 *   strike, before the strike. It may be shared by processes.
 *
 * A value that cannot be followed ends the process with code 254 when this module loads: a test whose strike is misspelt
 * would otherwise pass untouched.
 */
const { PAWL_FAILPOINT: wanted = '', PAWL_FAILPOINT_LOG: log = '' } = process.env;

/** A line of the log, as JSON. */
interface VisitLine {
  readonly name: FailpointName;
  /** Of this name in this process, from 1. */
  readonly visit: number;
  readonly pid: number;
  readonly struck: boolean;
}

const signals = { kill: 'SIGKILL', stop: 'SIGSTOP' } as const;

type Action = keyof typeof signals;

/** Actions by `name:visit`. */
const strikes = new Map<string, Action>();
const visits = new Map<FailpointName, number>();

for (const strike of wanted === '' ? [] : wanted.split(',')) arm(strike);
if (log !== '') openLog();

function arm(strike: string): void {
  const [, name = '', visit = '1', action = 'kill'] =
    /^([^:=]*)(?::([1-9]\d{0,8}))?(?:=(kill|stop))?$/.exec(strike) ?? [];
  if (name === '') refuse(`PAWL_FAILPOINT must be name[:visit][=kill|stop], got ${JSON.stringify(strike)}`);
  if (!failpointNames.some((known) => known === name)) {
    refuse(`PAWL_FAILPOINT names ${JSON.stringify(name)}, which is none of the failpoints`);
  }
  const place = `${name}:${visit}`;
  if (strikes.has(place)) refuse(`PAWL_FAILPOINT names ${place} twice`);
  strikes.set(place, action as Action);
}

function openLog(): void {
  try {
    appendFileSync(log, '');
  } catch (error) {
    refuse(`PAWL_FAILPOINT_LOG cannot be written: ${(error as NodeJS.ErrnoException).code}`);
  }
}

function refuse(problem: string): never {
  writeSync(process.stderr.fd, `${problem}\n`);
  process.exit(254);
}

/** @throws as `appendFileSync` does, when the log cannot be written any more; nothing was struck. */
export function failpoint(name: FailpointName): void {
  const visit = (visits.get(name) ?? 0) + 1;
  visits.set(name, visit);
  const action = strikes.get(`${name}:${visit}`);
  if (log !== '' && (visit === 1 || action !== undefined)) {
    const line: VisitLine = { name, visit, pid: process.pid, struck: action !== undefined };
    appendFileSync(log, `${JSON.stringify(line)}\n`);
  }
  // A signal to oneself is delivered before the call returns: nothing after this line runs.
  if (action !== undefined) process.kill(process.pid, signals[action]);
}
