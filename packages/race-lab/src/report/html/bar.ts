import { count } from './figures.ts';
import { html, type Markup } from './markup.ts';
import { percent } from './scale.ts';

/** A part of a whole. Its kind has a colour and a pattern of its own, so that nobody depends on the colour. */
export interface BarPart {
  kind: 'success' | 'refusal' | 'pending' | 'failure';
  label: string;
  count: number;
}

/** The patterns that kinds are filled with; once in a page. */
export const barPatterns = html`<svg class="definitions" width="0" height="0" aria-hidden="true" focusable="false"><defs>
<pattern id="fill-refusal" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="refusal" width="6" height="6"/><line class="hatch" x1="0" y1="0" x2="0" y2="6"/></pattern>
<pattern id="fill-pending" width="6" height="6" patternUnits="userSpaceOnUse"><rect class="pending" width="6" height="6"/><circle class="dot" cx="3" cy="3" r="1.2"/></pattern>
<pattern id="fill-failure" width="7" height="7" patternUnits="userSpaceOnUse"><rect class="failure" width="7" height="7"/><path class="hatch" d="M0,0 L7,7 M7,0 L0,7"/></pattern>
</defs></svg>`;

/** How a whole is parted, as a bar with the figures under it. */
export function stackedBar(parts: readonly BarPart[]): Markup {
  const whole = parts.reduce((sum, part) => sum + part.count, 0);
  const shown = parts.filter((part) => part.count > 0);
  const text = shown.map((part) => `${count(part.count)} ${part.label}`).join(', ');
  let from = 0;
  const rects = shown.map((part) => {
    const width = (part.count / whole) * 100;
    const x = from;
    from += width;
    return html`<rect class="part-${part.kind}" data-part="${part.kind}" data-count="${part.count}" x="${percent(x)}" width="${percent(width)}" height="100%"><title>${count(part.count)} ${part.label}</title></rect>`;
  });
  return html`<svg class="bar" role="img" aria-label="${text}" width="100%" height="20">${rects}</svg><div class="parts">${shown.map(
    (part) => html`<span>${swatch(part.kind)}${count(part.count)} ${part.label}</span> `,
  )}</div>`;
}

/** What a kind looks like. */
function swatch(kind: BarPart['kind']): Markup {
  return html`<svg class="swatch" width="11" height="11" aria-hidden="true"><rect class="part-${kind}" width="11" height="11"/></svg>`;
}

/** What lies between two figures as a bar: full as far as the lower, pale from there to the higher. */
export function rangeMeter(low: number, high: number, most: number, text: string): Markup {
  const at = (figure: number) => percent((figure / Math.max(high, most, Number.MIN_VALUE)) * 100);
  return html`<span class="figure">${text}</span><svg class="meter" aria-hidden="true" width="100%" height="8"><rect class="track" width="100%" height="100%"/><rect class="value" width="${at(low)}" height="100%"/><rect class="value pale" x="${at(low)}" width="${at(high - low)}" height="100%"/></svg>`;
}

/** A figure as a bar, with a mark that it has to stay within: what goes beyond looks like a failure. */
export function meter(value: number, most: number, text: string, mark: number | null = null): Markup {
  const top = Math.max(value, most, mark ?? 0, Number.MIN_VALUE);
  const at = (figure: number) => percent((figure / top) * 100);
  const within = Math.min(value, mark ?? value);
  const beyond =
    within < value
      ? html`<rect class="part-failure" x="${at(within)}" width="${at(value - within)}" height="100%"/>`
      : null;
  const line =
    mark === null ? null : html`<line class="limit" x1="${at(mark)}" x2="${at(mark)}" y1="-3" y2="11"/>`;
  return html`<span class="figure">${text}</span><svg class="meter" aria-hidden="true" width="100%" height="8"><rect class="track" width="100%" height="100%"/><rect class="value" width="${at(within)}" height="100%"/>${beyond}${line}</svg>`;
}
