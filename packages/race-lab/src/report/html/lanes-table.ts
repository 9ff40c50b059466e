import type { RecordedEvent, RecordedOrder } from '../../history/recorded-order.ts';
import { html, type Markup } from './markup.ts';
import { table } from './table.ts';

/** The same as the picture, in words: every event, by time. */
export function recordedTable({ events }: RecordedOrder): Markup {
  return table<RecordedEvent>(
    'Every event by time',
    [
      { title: 'ms', of: timeOf },
      { title: 'lane', of: ({ lane }) => lane },
      { title: 'request', of: ({ request }) => request ?? '–', holds: 'figure' },
      { title: 'event', of: (event) => html`<span class="event">${wordsOf(event)}</span>` },
    ],
    events,
  );
}

function timeOf({ atMs, uncertainMs }: RecordedEvent): string {
  return uncertainMs === 0 ? atMs.toFixed(2) : `${atMs.toFixed(2)} … ${(atMs + uncertainMs).toFixed(2)}`;
}

/** What happened, without when and where. */
export function wordsOf({ what, status, detail }: RecordedEvent): string {
  const more = detail === null ? '' : ` ${detail}`;
  switch (what) {
    case 'did':
      return detail ?? 'did something';
    case 'answered':
      return `answered ${status ?? ''}${more}`;
    case 'asked':
      return `asked to${more}`;
    default:
      return `${what}${more}`;
  }
}
