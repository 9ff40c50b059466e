import type { Exchange } from '../racer/exchange.ts';

/** Something that a strategy did for a request, and when: by the monotonic clock, in microseconds. */
export interface Step {
  name: string;
  atUs: number;
}

/** What the instance says that its strategy did, in its order, a name perhaps repeatedly; none where it does not say. */
export function stepsOf({ headers }: Pick<Exchange, 'headers'>): Step[] {
  return String(headers['x-steps'] ?? '')
    .split(',')
    .flatMap((part) => {
      const [, name, us] = /^\s*([\w-]+)=(\d{1,15})\s*$/.exec(part) ?? [];
      return name === undefined ? [] : [{ name, atUs: Number(us) }];
    });
}
