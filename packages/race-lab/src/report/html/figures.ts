const thousands = new Intl.NumberFormat('en', { useGrouping: 'always' });

export function count(number: number): string {
  return thousands.format(number);
}

/** A time with as many digits as tell something. */
export function milliseconds(ms: number): string {
  return Math.abs(ms) < 10 ? ms.toFixed(1) : thousands.format(Math.round(ms));
}

/** Of many; `–` where there are none. */
export function each(total: number, many: number): string {
  return many === 0 ? '–' : (total / many).toFixed(2);
}

export function plural(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`;
}
