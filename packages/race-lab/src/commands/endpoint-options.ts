import { METHODS } from 'node:http';
import type { Command } from 'commander';
import { MOST_FANOUT, MOST_ROUNDS } from '../endpoint/read-definition.ts';
import type { RunReport } from '../report/report.ts';
import { BadArgumentsError, oneOf, wholeNumber } from './arguments.ts';
import type { EndpointSubject } from './endpoint-arguments.ts';
import { endpointDefaults } from './race-endpoint.ts';

/** What is to be raced, by the first argument: an experiment of ours, or somebody's endpoint. */
export type RaceSubject = RunReport['experiment'] | { file: string } | { method: string };

const experiments = ['purchase', 'bystanders', 'coupon', 'lock', 'recovery'] as const;

/** For the help. */
export const ENDPOINT_FORMS =
  'or an endpoint of your own, which runs already: a race file (./checkout.race.ts), or a method and a URL';

/** @throws BadArgumentsError  It is no experiment, no race file and no method. */
export function parseRaceSubject(text: string): RaceSubject {
  if (/^\.{0,2}\//.test(text) || /\.[cm]?[jt]s$/.test(text)) return { file: text };
  if (METHODS.includes(text)) return { method: text };
  try {
    return oneOf('experiment', experiments, text);
  } catch (error) {
    if (!(error instanceof BadArgumentsError)) throw error;
    throw new BadArgumentsError(`${error.message}; ${ENDPOINT_FORMS}`);
  }
}

/**
 * The endpoint that the two arguments name; undefined for an experiment.
 *
 * @throws BadArgumentsError  A method without a URL, or a URL without a method.
 */
export function endpointOf(subject: RaceSubject, url: string | undefined): EndpointSubject | undefined {
  if (typeof subject === 'object' && 'method' in subject) {
    if (url === undefined) throw new BadArgumentsError(`${subject.method} needs the URL that is to be raced`);
    return { method: subject.method, url };
  }
  if (url !== undefined) {
    throw new BadArgumentsError(`a URL is raced with a method before it: race POST ${JSON.stringify(url)}`);
  }
  return typeof subject === 'object' ? subject : undefined;
}

/** Those that an endpoint has alone. */
const OWN = [
  ...['data', 'header', 'expectOneSuccess', 'expectAtMost', 'rounds', 'firstRound'],
  ...['http', 'ca', 'insecure', 'targetIsMine', 'yesRaceIt'],
];
const SHARED = ['fanout', 'seconds', 'json'];

export function addEndpointOptions(command: Command): Command {
  const { fanout, rounds, seconds } = endpointDefaults;
  return command
    .option('-d, --data <text>', 'endpoint: the body, or @FILE; {round} and {n} are replaced, as in the URL')
    .option(
      '-H, --header <line>',
      'endpoint: "name: value"; may be repeated',
      (line: string, earlier: string[] | undefined) => [...(earlier ?? []), line],
    )
    .option('--expect-one-success', 'endpoint: exactly one of a round succeeds (the default)')
    .option(
      '--expect-at-most <n>',
      'endpoint: no more of a round succeed',
      wholeNumber('--expect-at-most', 1, MOST_FANOUT),
    )
    .option(
      '--rounds <n>',
      `endpoint: at most so many (default: ${rounds}, of ${fanout} requests, begun within ${seconds} s)`,
      wholeNumber('--rounds', 1, MOST_ROUNDS),
    )
    .option(
      '--first-round <n>',
      'endpoint: where {round} begins (default: 1)',
      wholeNumber('--first-round', 0, 1_000_000_000),
    )
    .option(
      '--http <version>',
      'endpoint: 1.1 or 2 (default: what the server prefers over TLS, else 1.1)',
      (text) => oneOf('--http', ['1.1', '2'], text),
    )
    .option('--ca <file>', 'endpoint: certificates in PEM to trust')
    .option('--insecure', 'endpoint: trust any certificate')
    .option('--target-is-mine <host>', 'endpoint: a target that is not this machine is yours')
    .option('--yes-race-it', 'endpoint: and you want it raced');
}

/** @throws BadArgumentsError  An option was given that belongs to the other kind of race. */
export function refuseOthersOptions(command: Command, isEndpoint: boolean, subject: RaceSubject): void {
  const kind = isEndpoint ? 'a race of an endpoint' : `the experiment ${String(subject)}`;
  for (const option of command.options) {
    const name = option.attributeName();
    const fits = isEndpoint ? [...OWN, ...SHARED].includes(name) : !OWN.includes(name);
    if (fits || command.getOptionValueSource(name) !== 'cli') continue;
    throw new BadArgumentsError(`${option.long} has no meaning in ${kind}`);
  }
}
