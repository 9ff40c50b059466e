import { BadArgumentsError } from '../commands/arguments.ts';
import type { Member, RequestToRace } from './define-race.ts';

/** A request as the command line gives it. `{round}` and `{n}` in its URL, headers and body are replaced. */
export interface RequestTemplate {
  method: string;
  url: string;
  /** `name: value`, as for curl. */
  headers: readonly string[];
  /** Absent: none. */
  data: string | undefined;
}

/** Whether the rounds ask for something else each. */
export function tellsRoundsApart({ url, headers, data }: RequestTemplate): boolean {
  return [url, data ?? '', ...headers].some((text) => text.includes('{round}'));
}

/**
 * A body without a content-type of its own is `application/json` where it reads as JSON, else what a form sends.
 *
 * @throws BadArgumentsError  A header is no `name: value`.
 */
export function requestFrom(template: RequestTemplate, { round, n }: Member): RequestToRace {
  const fill = (text: string) => text.replaceAll('{round}', String(round)).replaceAll('{n}', String(n));
  const headers: Record<string, string> = {};
  for (const line of template.headers) {
    const [, name, value] = /^([^:\s]+):\s*(.*)$/.exec(fill(line)) ?? [];
    if (name === undefined || value === undefined) {
      throw new BadArgumentsError('--header must be "name: value"');
    }
    headers[name.toLowerCase()] = value;
  }
  const request: RequestToRace = { method: template.method, url: fill(template.url), headers };
  if (template.data === undefined) return request;
  const body = fill(template.data);
  headers['content-type'] ??= isJson(body) ? 'application/json' : 'application/x-www-form-urlencoded';
  return { ...request, body };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false; // Then it is something else; that is an answer.
  }
}
