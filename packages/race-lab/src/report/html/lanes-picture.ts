import type { RecordedEvent, RecordedOrder } from '../../history/recorded-order.ts';
import { milliseconds } from './figures.ts';
import { wordsOf } from './lanes-table.ts';
import { html, type Markup } from './markup.ts';
import { linearScale, percent, type Scale } from './scale.ts';

const LANE_HEIGHT = 26;
const AXIS_HEIGHT = 18;
/** Of a letter, on a page of usual width; names are left out on a narrow one. */
const LETTER_PERCENT = 0.72;
/** The rest is for the label behind the last answer. */
const WIDTH_PERCENT = 91;
/** Where everything but answers happens in the beginning, it is shown once more, enlarged. */
const ZOOM_SHARE = 0.3;

type LaneOf = Pick<RecordedEvent, 'by' | 'lane'>;

/** Clients by their number, instances by their name, the provider last. */
export function laneNames(events: readonly LaneOf[]): string[] {
  const order: readonly RecordedEvent['by'][] = ['client', 'instance', 'provider'];
  const lanes = [...new Map(events.map((event) => [event.lane, event])).values()];
  return lanes
    .toSorted(
      (a, b) =>
        order.indexOf(a.by) - order.indexOf(b.by) || a.lane.localeCompare(b.lane, 'en', { numeric: true }),
    )
    .map(({ lane }) => lane);
}

/** Until when the requests arrive, where that is a small part of the whole; else null. */
export function zoomEndMs(events: readonly RecordedEvent[]): number | null {
  const lastMs = Math.max(...events.map(({ atMs }) => atMs));
  const early = events.filter(({ what }) => what === 'sent' || what === 'arrived');
  const arrivedMs = Math.max(...early.map(({ atMs }) => atMs));
  // Those who ask the provider do it soon after, unless they wait for each other.
  const askedMs = events.filter(({ what, atMs }) => what === 'asked' && atMs < lastMs * ZOOM_SHARE);
  const endMs = Math.max(arrivedMs, ...askedMs.map(({ atMs, uncertainMs }) => atMs + uncertainMs)) * 1.15;
  return endMs > 0 && endMs < lastMs * ZOOM_SHARE ? endMs : null;
}

/** The lanes of an order from its beginning until `untilMs`; the names of the lanes stand beside the picture. */
export function lanesPicture(name: string, { orderId, events }: RecordedOrder, untilMs: number): Markup {
  const lanes = laneNames(events);
  const zoomMs = zoomEndMs(events);
  const heights = new Map(lanes.map((lane, index) => [lane, index * LANE_HEIGHT + LANE_HEIGHT / 2]));
  const drawn: Drawing = {
    scale: linearScale(untilMs, WIDTH_PERCENT),
    untilMs,
    isCrowded: zoomMs !== null && zoomMs < untilMs,
    y: ({ lane }) => heights.get(lane) ?? 0,
    events,
  };
  const bottom = lanes.length * LANE_HEIGHT;
  const rows = lanes.map(
    (_, index) =>
      html`<rect class="${index % 2 === 0 ? 'lane even' : 'lane'}" y="${index * LANE_HEIGHT}" width="100%" height="${LANE_HEIGHT}"/>`,
  );
  const seen = events.filter(({ atMs }) => atMs <= untilMs);
  const text = `${name}: order ${orderId} in its first ${milliseconds(untilMs)} ms, ${lanes.length} lanes; the table of its events follows`;
  return html`<div class="lanes"><div class="names" aria-hidden="true">${lanes.map(
    (lane) => html`<div>${lane}</div>`,
  )}</div><svg role="img" aria-label="${text}" width="100%" height="${bottom + AXIS_HEIGHT}">
${rows}${axis(drawn.scale, bottom)}
${seen.map((event) => connector(event, drawn))}
${requestLines(drawn)}
${seen.map((event) => mark(event, drawn))}
${stepLabels(seen, drawn)}
</svg></div>`;
}

interface Drawing {
  scale: Scale;
  untilMs: number;
  /** The beginning is shown enlarged elsewhere: here there is no room for its numbers. */
  isCrowded: boolean;
  y(event: LaneOf): number;
  events: readonly RecordedEvent[];
}

function axis(scale: Scale, bottom: number): Markup[] {
  return scale.ticks.map((tick) => {
    const x = percent(scale.at(tick));
    const label = `${Number(tick.toPrecision(6))}${tick === 0 ? ' ms' : ''}`;
    const anchor = tick === 0 ? 'start' : 'middle';
    return html`<line class="grid" x1="${x}" x2="${x}" y1="0" y2="${bottom}"/><text class="tick" x="${x}" y="${bottom + 13}" text-anchor="${anchor}">${label}</text>`;
  });
}

/** From a client to the instance that its request reached, and from there to the provider. */
function connector(event: RecordedEvent, { scale, y, events }: Drawing): Markup | null {
  const cameFrom = event.what === 'arrived' ? 'sent' : event.what === 'asked' ? 'arrived' : null;
  const from = cameFrom && events.find(({ what, request }) => what === cameFrom && request === event.request);
  if (!from || event.request === null) return null;
  // Who was asked was not asked before it was: its stamp may be the earlier one by what it leaves open.
  const fromMs = Math.min(
    from.what === 'arrived' ? lastStepBefore(event, from, events) : from.atMs,
    event.atMs,
  );
  return html`<line class="connector" x1="${percent(scale.at(fromMs))}" y1="${y(from)}" x2="${percent(scale.at(event.atMs))}" y2="${y(event)}"/>`;
}

/** What the instance had done for a request last when the provider was asked. */
function lastStepBefore(
  asked: RecordedEvent,
  arrived: RecordedEvent,
  events: readonly RecordedEvent[],
): number {
  const steps = events.filter(
    ({ what, request, atMs }) =>
      what === 'did' && request === asked.request && atMs <= asked.atMs + asked.uncertainMs,
  );
  return steps.at(-1)?.atMs ?? arrived.atMs;
}

/** From the sending of every request to its answer. */
function requestLines({ scale, untilMs, y, events }: Drawing): Markup[] {
  return events.flatMap((sent) => {
    if (sent.what !== 'sent' || sent.atMs > untilMs) return [];
    const end = events.find(({ by, lane, what }) => by === 'client' && lane === sent.lane && what !== 'sent');
    const endMs = Math.min(end?.atMs ?? untilMs, untilMs);
    return [
      html`<line class="under-way ${end === undefined ? 'failure' : kindOf(end)}" x1="${percent(scale.at(sent.atMs))}" x2="${percent(scale.at(endMs))}" y1="${y(sent)}" y2="${y(sent)}"/>`,
    ];
  });
}

function kindOf({ status, detail }: RecordedEvent): 'success' | 'refusal' | 'failure' {
  if (status === 200) return detail === 'replay' ? 'refusal' : 'success';
  return status !== null && status >= 400 && status < 500 ? 'refusal' : 'failure';
}

/**
 * The names of what an instance did and of captures, behind their marks. Marks that stand so close that a name would cover the next
 * one are named together, behind the last.
 */
function stepLabels(seen: readonly RecordedEvent[], { scale, y }: Drawing): Markup[] {
  const inLanes = Map.groupBy(
    seen.filter(({ by }) => by !== 'client'),
    ({ lane }) => lane,
  );
  return [...inLanes.values()].flatMap((ofLane) => {
    const labels: Markup[] = [];
    let names: string[] = [];
    let firstMs = 0;
    for (const [index, event] of ofLane.entries()) {
      const name = nameOf(event);
      if (name !== null && names.length === 0) firstMs = event.atMs;
      if (name !== null) names.push(name);
      const next = ofLane[index + 1];
      const text = [...new Set(names)].join(', ');
      const reach = scale.at(event.atMs) + 2 + text.length * LETTER_PERCENT;
      if (next !== undefined && scale.at(next.atMs) < reach) continue;
      names = [];
      if (text === '') continue;
      // Where the picture ends they stand before the first of the marks.
      const isLate = reach > 100;
      const x = percent(scale.at(isLate ? firstMs : event.atMs));
      labels.push(
        html`<svg class="mark" x="${x}" y="${y(event)}" width="1" height="1" overflow="visible"><text class="step" x="${isLate ? -9 : 9}" y="4" text-anchor="${isLate ? 'end' : 'start'}">${text}</text></svg>`,
      );
    }
    return labels;
  });
}

/** What a mark has to be named for: the other ones are told by their shapes. */
function nameOf({ what, detail }: RecordedEvent): string | null {
  if (what === 'did') return detail;
  return what === 'captured' || what === 'refunded' || what === 'fault' ? what : null;
}

/** What is seen at the event's place; what it says appears where a pointer rests on it. */
function mark(event: RecordedEvent, { scale, y, isCrowded }: Drawing): Markup {
  const { by, lane, what, request, atMs, uncertainMs } = event;
  const nth = request === null || by === 'client' ? '' : `, request ${request}`;
  const title = html`<title>${lane}: ${wordsOf(event)}${nth}, ${atMs.toFixed(2)} ms</title>`;
  const data = html`data-what="${what}" data-lane="${lane}" data-at="${atMs}"`;
  const [x, laneY] = [percent(scale.at(atMs)), y(event)];
  const shape = shapeOf(event, isCrowded);
  const tail =
    uncertainMs === 0
      ? null
      : html`<line class="uncertain" x1="${x}" x2="${percent(scale.at(atMs + uncertainMs))}" y1="${laneY}" y2="${laneY}"/>`;
  // A picture in the picture has its own zero, so that its marks keep their size wherever it stands.
  return html`${tail}<svg class="mark" x="${x}" y="${laneY}" width="1" height="1" overflow="visible" ${data}>${title}${shape}</svg>`;
}

function shapeOf(event: RecordedEvent, isCrowded: boolean): Markup {
  const { what, status, request } = event;
  switch (what) {
    case 'sent':
      return html`<line class="sent" x1="0" x2="0" y1="-6" y2="6"/>`;
    case 'answered':
    case 'unanswered':
      return html`<circle class="answered ${kindOf(event)}" r="4"/><text class="status ${kindOf(event)}" x="8" y="4">${status ?? 'none'}</text>`;
    case 'arrived':
      if (isCrowded) return html`<circle class="arrived" r="3"/>`;
      return html`<circle class="arrived" r="6.5"/><text class="nth" y="3.5">${request ?? ''}</text>`;
    case 'did':
      return html`<path class="did" d="M0,-5 L5,0 L0,5 L-5,0 Z"/>`;
    case 'asked':
      return html`<path class="asked" d="M-5.5,-4.5 L5.5,-4.5 L0,4.5 Z"/>`;
    case 'captured':
      return html`<rect class="captured" x="-5" y="-5" width="10" height="10"/>`;
    case 'refunded':
    case 'fault':
      return html`<rect class="refunded" x="-5" y="-5" width="10" height="10"/>`;
  }
}
