/**
 * Where a value lies, in percent of a picture's width. Pictures are drawn in percent so that they fill whatever width there is,
 * while letters and strokes keep their size.
 */
export interface Scale {
  at(value: number): number;
  /** Values that are named on the axis. */
  ticks: readonly number[];
}

/** From 0 on, with room for a label behind the last value. */
export function linearScale(most: number, widthPercent: number): Scale {
  const top = most > 0 ? most : 1;
  const step = roundStep(top / 6);
  const ticks = Array.from({ length: Math.floor(top / step) + 1 }, (_, index) => index * step);
  return { at: (value) => (Math.min(Math.max(value, 0), top) / top) * widthPercent, ticks };
}

/** Each tenfold takes the same width. `least` and `most` are above 0. */
export function logScale(least: number, most: number): Scale {
  const [from, to] = [Math.log10(least), Math.log10(Math.max(most, least * 10))];
  const ticks: number[] = [];
  for (let power = Math.floor(from); power <= to; power++) {
    for (const tick of [10 ** power, 3 * 10 ** power]) {
      if (Math.log10(tick) >= from && Math.log10(tick) <= to) ticks.push(tick);
    }
  }
  const at = (value: number) => ((Math.log10(Math.max(value, least)) - from) / (to - from)) * 100;
  return { at: (value) => Math.min(at(value), 100), ticks: ticks.map((tick) => Number(tick.toPrecision(1))) };
}

/** The next of 1, 2, 5, 10, … */
function roundStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * ([1, 2, 5].find((factor) => factor * power >= least) ?? 10);
}

/** A position in a picture. */
export function percent(value: number): string {
  return `${Number(value.toFixed(3))}%`;
}
