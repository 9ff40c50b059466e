import type { EndpointArguments, EndpointSubject } from './endpoint-arguments.ts';

/** Their values are no secrets; of any other header only the name is shown. */
const SHOWN_HEADERS = ['accept', 'content-type', 'idempotency-key'];

const AGAIN = [
  ...['data', 'header', 'fanout', 'expectOneSuccess', 'expectAtMost', 'rounds', 'firstRound', 'seconds'],
  ...['http', 'ca', 'insecure', 'targetIsMine', 'yesRaceIt'],
] as (keyof EndpointArguments)[];

/**
 * The command that races it again, with an ellipsis for what may be secret: bodies, the values of headers, and what a query
 * carries. Reports are kept and passed on.
 */
export function raceEndpointAgain(subject: EndpointSubject, given: EndpointArguments): string {
  const what = 'file' in subject ? [quoted(subject.file)] : [subject.method, quoted(shownUrl(subject.url))];
  const options = AGAIN.flatMap((name) => {
    const value = given[name];
    if (value === undefined) return [];
    if (name === 'header') return (value as string[]).flatMap((line) => ['-H', quoted(shownHeader(line))]);
    if (value === true) return [optionName(name)];
    return [optionName(name), quoted(name === 'data' ? shownData(String(value)) : String(value))];
  });
  return ['npm run race --', ...what, ...options].join(' ');
}

/** What is raced, in words. */
export function titleOf(subject: EndpointSubject): string {
  return 'file' in subject ? subject.file : `${subject.method} ${shownUrl(subject.url)}`;
}

export function optionName(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function shownUrl(url: string): string {
  const [, path = '', query] = /^([^?#]*)(?:\?([^#]*))?/.exec(url) ?? [];
  if (query === undefined) return path;
  return `${path}?${query.split('&').map(shownParameter).join('&')}`;
}

/** What varies from request to request is no secret. */
const PLACEHOLDERS = /^(\{round\}|\{n\})+$/;

function shownParameter(parameter: string): string {
  const [, name = '', value = ''] = /^([^=]*=)?(.*)$/s.exec(parameter) ?? [];
  return value === '' || PLACEHOLDERS.test(value) ? parameter : `${name}…`;
}

function shownHeader(line: string): string {
  const name = line.replace(/:.*/s, '');
  return SHOWN_HEADERS.includes(name.trim().toLowerCase()) ? line : `${name}: …`;
}

function shownData(data: string): string {
  return data.startsWith('@') ? data : '…';
}

function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
