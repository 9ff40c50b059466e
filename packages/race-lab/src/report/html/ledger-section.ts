import type { LedgerSummary } from '../../history/counts.ts';
import { meter } from './bar.ts';
import { count } from './figures.ts';
import { html, type Markup } from './markup.ts';
import { type RunGroup, ranIn, total } from './run-group.ts';
import { type HtmlColumn, table } from './table.ts';

const figures: readonly { title: string; of: keyof LedgerSummary }[] = [
  { title: 'requests', of: 'requests' },
  { title: 'captures', of: 'captures' },
  { title: 'refunds', of: 'refunds' },
  { title: 'orders requested twice', of: 'ordersRequestedTwice' },
  { title: 'orders captured twice', of: 'ordersCapturedTwice' },
];

/** What the payment provider wrote down; nothing where nothing was paid. */
export function ledgerSection(groups: readonly RunGroup[]): Markup | null {
  const paid = groups.filter((group) => ranIn(group).some(({ ledger }) => ledger !== null));
  if (paid.length === 0) return null;
  const sum = (group: RunGroup, of: keyof LedgerSummary) => total(ranIn(group), ({ ledger }) => ledger?.[of]);
  const columns: HtmlColumn<RunGroup>[] = [
    { title: 'strategy', of: ({ name }) => name },
    { title: 'orders', of: (group) => count(total(ranIn(group), ({ orders }) => orders)), holds: 'figure' },
    ...figures.map(({ title, of }): HtmlColumn<RunGroup> => {
      const most = Math.max(1, ...paid.map((group) => sum(group, of)));
      return { title, of: (group) => meter(sum(group, of), most, count(sum(group, of))), holds: 'figure' };
    }),
  ];
  return html`<section id="ledger"><h2>The payment provider’s ledger</h2>
<p>What the provider itself wrote down, which is what the verdict rests on: the confirmations that reached it, and the money that
it took and gave back.</p>
${table('The ledger', columns, paid)}</section>`;
}
