import type { GatewayMode } from '../cluster/cluster.ts';
import { isStore, STORE_FORMS, type Store } from '../cluster/store.ts';
import { withoutCredentials } from '../report/store-name.ts';

/** The command was called with arguments that it cannot run with. Nothing was started. */
export class BadArgumentsError extends Error {
  override readonly name = 'BadArgumentsError';
  readonly code = 'BAD_ARGUMENTS';
}

export const MOST_INSTANCES = 16;

const gatewayModes: readonly GatewayMode[] = ['as-published', 'generous', 'toss'];

/** A parser of whole numbers for the option `name`, with the range that it accepts. */
export function wholeNumber(name: string, minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= minimum && value <= maximum) return value;
    throw new BadArgumentsError(
      `${name} must be a whole number from ${minimum} to ${maximum}, got "${text}"`,
    );
  };
}

export function parseGateway(text: string): GatewayMode {
  return oneOf('--gateway', gatewayModes, text);
}

export function parseStore(text: string): Store {
  if (isStore(text)) return text;
  throw new BadArgumentsError(`--store must be ${STORE_FORMS}, got "${withoutCredentials(text)}"`);
}

/** Collects `--strategy a --strategy b,c`; which names there are is for the experiment to say. */
export function collectNames(text: string, earlier: readonly string[] | undefined): string[] {
  const named = text.split(',').map((name) => name.trim());
  return [...new Set([...(earlier ?? []), ...named])];
}

/** @throws BadArgumentsError  `text` is none of `names`. */
export function oneOf<Name extends string>(what: string, names: readonly Name[], text: string): Name {
  const found = names.find((name) => name === text);
  if (found !== undefined) return found;
  throw new BadArgumentsError(`${what} must be one of ${names.join(', ')}, got "${text}"`);
}
