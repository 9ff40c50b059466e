import { count } from './figures.ts';
import { invariantTitles } from './invariant-titles.ts';
import { html, type Markup } from './markup.ts';
import type { RunGroup } from './run-group.ts';
import { table } from './table.ts';

/** What was violated, and how it was first seen; nothing where everything held. */
export function violationsSection(groups: readonly RunGroup[]): Markup | null {
  const found = groups.flatMap(({ name, runs }) => {
    const all = runs.flatMap(({ violations }) => violations);
    return [...Map.groupBy(all, ({ invariant }) => invariant)].map(([invariant, same]) => {
      const times = same.reduce((sum, violation) => sum + violation.count, 0);
      return { name, invariant, times, first: same[0]?.first ?? '' };
    });
  });
  if (found.length === 0) return null;
  const titles: Readonly<Record<string, string>> = invariantTitles;
  return html`<section id="violations"><h2>What was violated</h2>
${table(
  'Violations, with the first of each kind',
  [
    { title: 'strategy', of: ({ name }) => name },
    { title: 'invariant', of: ({ invariant }) => html`<b>${invariant}</b> ${titles[invariant] ?? ''}` },
    { title: 'times', of: ({ times }) => count(times), holds: 'figure' },
    { title: 'first', of: ({ first }) => html`<span class="quoted">${first}</span>` },
  ],
  found,
)}</section>`;
}
