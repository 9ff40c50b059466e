import { seenOf } from '../columns.ts';
import type { RunReport } from '../report.ts';
import { answerShares } from './answer-shares.ts';
import { meter, stackedBar } from './bar.ts';
import { count, each } from './figures.ts';
import { type Content, html, type Markup } from './markup.ts';
import { type RunGroup, ranIn, total } from './run-group.ts';
import { type HtmlColumn, table } from './table.ts';

/** What the requests of every strategy were answered, and what of that was expected. */
export function runsSection(groups: readonly RunGroup[]): Markup {
  const paid = groups.some(({ runs }) => runs.some(({ ledger }) => ledger !== null));
  const columns: HtmlColumn<RunGroup>[] = [
    { title: 'strategy', of: ({ name }) => name },
    { title: 'answers', of: answersOf, holds: 'picture' },
    ...(paid ? [askedColumn, capturedColumn] : []),
    { title: 'expected', of: ({ runs }) => runs[0]?.expected ?? '' },
    { title: 'seen', of: ({ runs }) => seenMark(runs) },
  ];
  const legend = paid
    ? 'A line such as 1/4/0 ×100 counts orders: 100 of them had one success, four refusals or replays and no failure.'
    : 'Every bar is the requests of one kind of run.';
  return html`<section id="runs"><h2>What everybody was answered</h2><p>${legend}</p>
${table('Answers, and whether what was seen is what was expected', columns, groups)}</section>`;
}

const askedColumn: HtmlColumn<RunGroup> = {
  title: 'asked / order',
  of: (group) => perOrder(group, ({ ledger }) => ledger?.requests),
};
const capturedColumn: HtmlColumn<RunGroup> = {
  title: 'captured / order',
  of: (group) => perOrder(group, ({ ledger }) => ledger?.captures),
};

function answersOf(group: RunGroup): Content {
  const ran = ranIn(group);
  if (ran.length === 0) return html`<p class="skipped">skipped: ${group.runs[0]?.skipped ?? ''}</p>`;
  const patterns = Object.entries(
    sumOf(ran.flatMap(({ patterns }) => (patterns === null ? [] : [patterns]))),
  );
  const shown = patterns
    .sort(([, a], [, b]) => b - a)
    .map(([pattern, orders]) => html`<span>${pattern} ×${count(orders)}</span> `);
  return html`${stackedBar(answerShares(ran))}<div class="patterns">${shown}</div>`;
}

/** How often the provider was asked, or took money, for one order; more than once is beyond the mark. */
function perOrder(group: RunGroup, figure: (run: RunReport) => number | undefined): Content {
  const ran = ranIn(group);
  const orders = total(ran, (run) => (run.ledger === null ? 0 : run.orders));
  if (orders === 0) return '–';
  const most = Math.max(1, ...ran.map(({ fanout }) => fanout));
  const done = total(ran, figure);
  return meter(done / orders, most, `${each(done, orders)} (${count(done)})`, 1);
}

/** What was seen, with a sign that says whether it was expected. */
function seenMark(runs: readonly RunReport[]): Content {
  const ran = runs.filter(({ skipped }) => skipped === null);
  const sign =
    ran.length === 0
      ? 'skipped'
      : ran.some(({ verdict }) => verdict === 'unknown')
        ? 'unknown'
        : ran.every(({ asExpected }) => asExpected)
          ? 'as-expected'
          : 'not-as-expected';
  return html`<span class="seen ${sign}">${signs[sign]} ${seenOf(runs)}</span>`;
}

const signs = { 'as-expected': '✓', 'not-as-expected': '✗', unknown: '?', skipped: '–' } as const;

function sumOf(counts: readonly Record<string, number>[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const one of counts) {
    for (const [key, number] of Object.entries(one)) sums[key] = (sums[key] ?? 0) + number;
  }
  return sums;
}
