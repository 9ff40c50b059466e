import type { LatencyBin, LatencyDistribution } from '../../history/latency-distribution.ts';
import { rangeOf } from '../columns.ts';
import type { RunReport } from '../report.ts';
import { milliseconds, plural } from './figures.ts';
import { html, type Markup } from './markup.ts';
import { type RunGroup, ranIn } from './run-group.ts';
import { logScale, percent, type Scale } from './scale.ts';
import { type HtmlColumn, table } from './table.ts';

/** The latencies of one kind of answers in runs of one kind. */
interface Track {
  name: string;
  kind: 'all' | 'ok';
  runs: readonly LatencyDistribution[];
}

/** How long answers took, as distributions over one axis; nothing where nobody was answered. */
export function latencySection(groups: readonly RunGroup[]): Markup | null {
  const tracks = groups.flatMap((group) => {
    const ran = ranIn(group);
    const of = (kind: Track['kind']): Track[] => {
      const runs = ran.flatMap(({ latencyMs }: RunReport) => latencyMs[kind] ?? []);
      return runs.length === 0 ? [] : [{ name: group.name, kind, runs }];
    };
    return [...of('all'), ...of('ok')];
  });
  if (tracks.length === 0) return null;
  const every = tracks.flatMap(({ runs }) => runs);
  const scale = logScale(leastOf(every), Math.max(...every.map(({ max }) => max)));
  const columns: HtmlColumn<Track>[] = [
    { title: 'strategy', of: ({ name, kind }) => html`${name}<small>${titles[kind]}</small>` },
    { title: 'distribution', of: (track) => picture(track, scale), holds: 'picture' },
    { title: 'p50 ms', of: ({ runs }) => rangeOf(runs.map(({ p50 }) => p50)), holds: 'figure' },
    { title: 'p95 ms', of: ({ runs }) => rangeOf(runs.map(({ p95 }) => p95)), holds: 'figure' },
    { title: 'p99 ms', of: ({ runs }) => rangeOf(runs.map(({ p99 }) => p99)), holds: 'figure' },
    { title: 'max ms', of: ({ runs }) => rangeOf(runs.map(({ max }) => max)), holds: 'figure' },
  ];
  return html`<section id="latency"><h2>How long answers took</h2>
<p>From the last byte of a request to the last byte of its answer, in milliseconds on a logarithmic axis. Each picture is as high
as its highest bar. The solid line is the median, the dashed one p95.</p>
${table('Latencies of all answers, and of successes alone', columns, tracks)}</section>`;
}

const titles = { all: 'all answers', ok: 'successes' } as const;

function leastOf(runs: readonly LatencyDistribution[]): number {
  const starts = runs.map(({ histogram, p50 }) => histogram?.[0]?.fromMs || p50);
  return Math.max(0.1, Math.min(...starts));
}

function picture({ name, kind, runs }: Track, scale: Scale): Markup {
  const bins = added(runs.flatMap(({ histogram }) => histogram ?? []));
  const highest = Math.max(1, ...bins.map((bin) => bin.count));
  const bars = bins.map((bin) => {
    const x = scale.at(bin.fromMs);
    const height = (bin.count / highest) * 100;
    const text = `${plural(bin.count, 'answer')} from ${milliseconds(bin.fromMs)} to ${milliseconds(bin.toMs)} ms`;
    return html`<rect data-count="${bin.count}" x="${percent(x)}" width="${percent(scale.at(bin.toMs) - x)}" y="${percent(100 - height)}" height="${percent(height)}"><title>${text}</title></rect>`;
  });
  const line = (className: string, ms: number) =>
    html`<line class="${className}" x1="${percent(scale.at(ms))}" x2="${percent(scale.at(ms))}" y1="0" y2="100%"/>`;
  const [only, ...others] = runs;
  const marks =
    only === undefined || others.length > 0 ? null : [line('median', only.p50), line('p95', only.p95)];
  const grid = scale.ticks.map((tick) => line('grid', tick));
  const labels = scale.ticks.map(
    (tick) =>
      html`<text x="${percent(scale.at(tick))}" y="11">${milliseconds(tick).replace('.0', '')}</text>`,
  );
  const text = `${name}, ${titles[kind]}: distribution; its figures are in the same row`;
  return html`<svg class="histogram ${kind}" role="img" aria-label="${text}" width="100%" height="34">${grid}${bars}${marks}</svg><svg class="axis" aria-hidden="true" width="100%" height="14">${labels}</svg>`;
}

/** All runs have the same bins. */
function added(bins: readonly LatencyBin[]): LatencyBin[] {
  return [...Map.groupBy(bins, ({ fromMs }) => fromMs).values()].flatMap((same) => {
    const [first] = same;
    return first === undefined ? [] : [{ ...first, count: same.reduce((sum, bin) => sum + bin.count, 0) }];
  });
}
