import type { RecordedOrder } from '../../history/recorded-order.ts';
import { milliseconds } from './figures.ts';
import { laneNames, lanesPicture, zoomEndMs } from './lanes-picture.ts';
import { recordedTable } from './lanes-table.ts';
import { html, type Markup } from './markup.ts';
import type { RunGroup } from './run-group.ts';

/** One order of every strategy, from its first request to its last answer; nothing where none was recorded. */
export function lanesSection(groups: readonly RunGroup[]): Markup | null {
  const recorded = groups.flatMap(({ name, runs }) => {
    const orders = runs.flatMap(({ recorded }) => recorded ?? []);
    const shown = orders.find(({ violated }) => violated.length > 0) ?? orders[0];
    return shown === undefined || shown.events.length === 0 ? [] : [{ name, order: shown }];
  });
  if (recorded.length === 0) return null;
  const uncertainMs = Math.max(
    ...recorded.flatMap(({ order }) => order.events.map((event) => event.uncertainMs)),
  );
  return html`<section id="recorded"><h2>One order, step by step</h2>
<p>Of every strategy the first order that violates an invariant, or the first of all. Time runs from the sending of the first request.
Clients and instances have stamped what they did with the monotonic clock, which all processes of the machine share. The provider’s
ledger tells whole milliseconds of the wall clock; how far that was ahead was measured before and after the run, so that each of its
marks may lie up to ${uncertainMs.toFixed(2)} ms later than it is drawn: as far as its tail reaches.</p>
${legend}
${recorded.map(({ name, order }) => article(name, order))}</section>`;
}

function article(name: string, order: RecordedOrder): Markup {
  const lastMs = Math.max(...order.events.map(({ atMs }) => atMs));
  const zoomMs = zoomEndMs(order.events);
  const what =
    order.violated.length === 0
      ? 'the first of the run; it violates nothing'
      : `the first that violates ${order.violated.join(', ')}`;
  const zoom =
    zoomMs === null
      ? null
      : html`<figcaption>The first ${milliseconds(zoomMs)} ms of it</figcaption>${lanesPicture(name, order, zoomMs)}`;
  return html`<article class="order"><h3>${name}</h3>
<p>Order <code>${order.orderId}</code>: ${what}. ${plural(laneNames(order.events).length)} over ${milliseconds(lastMs)} ms.</p>
<figure>${lanesPicture(name, order, lastMs)}${zoom}</figure>
<details><summary>All ${order.events.length} events of it</summary>
${recordedTable(order)}</details></article>
`;
}

function plural(lanes: number): string {
  return lanes === 1 ? 'One lane' : `${lanes} lanes`;
}

const sample = (mark: Markup) =>
  html`<svg class="sample" width="26" height="14" viewBox="0 0 26 14" aria-hidden="true">${mark}</svg>`;

const legend = html`<ul class="legend">
<li>${sample(html`<line class="under-way success" x1="0" x2="26" y1="7" y2="7"/>`)}a request until its success (200)</li>
<li>${sample(html`<line class="under-way refusal" x1="0" x2="26" y1="7" y2="7"/>`)}until its refusal or replay</li>
<li>${sample(html`<line class="under-way failure" x1="0" x2="26" y1="7" y2="7"/>`)}until it failed</li>
<li>${sample(html`<circle class="arrived" cx="13" cy="7" r="4"/>`)}it arrived at an instance</li>
<li>${sample(html`<path class="did" d="M13,2 L18,7 L13,12 L8,7 Z"/>`)}the instance read, claimed, charged, committed …</li>
<li>${sample(html`<path class="asked" d="M8,3 L18,3 L13,11 Z"/>`)}the provider was asked</li>
<li>${sample(html`<rect class="captured" x="8" y="2" width="10" height="10"/>`)}it took the money</li>
<li>${sample(html`<rect class="refunded" x="8" y="2" width="10" height="10"/>`)}it gave it back, or was made to fail</li>
</ul>`;
