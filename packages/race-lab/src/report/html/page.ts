import { createHash } from 'node:crypto';
import type { RunReport } from '../report.ts';
import { databaseLine, headingOf, loadOf, remarksOf, tableGridOf } from '../table.ts';
import { barPatterns } from './bar.ts';
import { comparedSection } from './compared-section.ts';
import { count, plural } from './figures.ts';
import { lanesSection } from './lanes-section.ts';
import { latencySection } from './latency-section.ts';
import { ledgerSection } from './ledger-section.ts';
import { html, Markup } from './markup.ts';
import { runGroups } from './run-group.ts';
import { runsSection } from './runs-section.ts';
import { style } from './style.ts';
import { table } from './table.ts';
import { verdictOf } from './verdict.ts';
import { violationsSection } from './violations-section.ts';

/**
 * The reports of one race as a page that stands alone: it loads nothing, runs nothing, and says the same as the reports.
 *
 * @param reports  At least one, all of one experiment.
 */
export function htmlPageOf(reports: readonly RunReport[]): string {
  const groups = runGroups(reports);
  const verdict = verdictOf(reports);
  const title = `${titleOf(reports)}: ${verdict.kind.replaceAll('-', ' ')}`;
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${contentPolicy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<style>${new Markup(style)}</style>
</head>
<body>
${barPatterns}
<header>
<h1>${titleOf(reports)}</h1>
<p class="verdict ${verdict.kind}">${verdict.sentence}</p>
${factsOf(reports)}
</header>
<main>
${runsSection(groups)}
${comparedSection(groups)}
${violationsSection(groups)}
${latencySection(groups)}
${ledgerSection(groups)}
${lanesSection(groups)}
${tableSection(reports)}
${remarksSection(reports)}
</main>
<footer><p>Written by the race lab from ${plural(reports.length, 'run report')}. How to read it: ARCHITECTURE.md, “Invariants”, in the repository of the commit.</p></footer>
</body>
</html>
`;
  return page.text;
}

/** Nothing is loaded, nothing runs, and no style counts but the page's own. */
const contentPolicy = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'; base-uri 'none'; form-action 'none'`;

const titles: Readonly<Record<RunReport['experiment'], string>> = {
  purchase: 'Race for a purchase',
  bystanders: 'Bystanders of purchases',
  coupon: 'Race for coupons',
  lock: 'Race under lock faults',
  recovery: 'Race for recovery',
};

function titleOf(reports: readonly RunReport[]): string {
  const [first] = reports;
  return first === undefined ? 'No race' : titles[first.experiment];
}

function factsOf(reports: readonly RunReport[]): Markup | null {
  const [first] = reports;
  const last = reports.at(-1);
  if (first === undefined || last === undefined) return null;
  const began = reports.map(({ startedAt }) => startedAt).sort()[0] ?? first.startedAt;
  const tookMs = reports.reduce((sum, { durationMs }) => sum + durationMs, 0);
  const door = first.frontDoor === 'nginx' ? 'behind nginx' : 'asked in turn, without nginx';
  const facts: [string, string | Markup][] = [
    ['raced', loadOf(first)],
    ['strategies', [...new Set(reports.map(({ strategy }) => strategy))].join(', ')],
    ['instances', `${first.instances}, ${door}`],
    ['store', first.store],
    ['database', databaseLine(first.database)],
    ...(first.experiment === 'coupon'
      ? []
      : [
          ['gateway', [...new Set(reports.map(({ gateway }) => gateway))].join(', ')] satisfies [
            string,
            string,
          ],
        ]),
    ['seed', String(first.seed)],
    ['commit', html`<code>${first.commit}</code>`],
    ['began', html`<time datetime="${began}">${began.replace('T', ' ').replace(/\.\d+Z$/, ' UTC')}</time>`],
    ['took', `${count(Math.round(tookMs / 1000))} s, all runs together`],
    ...(first.again === undefined
      ? []
      : [['again', html`<code>${first.again}</code>`] satisfies [string, Markup]]),
  ];
  return html`<dl>${facts.map(([name, fact]) => html`<div><dt>${name}</dt><dd>${fact}</dd></div>\n`)}</dl>`;
}

/** What the terminal showed, where the experiment has figures of its own. */
function tableSection(reports: readonly RunReport[]): Markup | null {
  if (reports[0]?.experiment === 'purchase') return null;
  const { titles: columns, rows } = tableGridOf(reports);
  const [, , ...notes] = headingOf(reports);
  return html`<section id="table"><h2>All figures</h2>
${table(
  'As the command printed them',
  columns.map((title, index) => ({ title, of: (row: readonly string[]) => row[index] ?? '' })),
  rows,
)}
${notes.length === 0 ? null : html`<ul>${notes.map((note) => html`<li>${note}</li>`)}</ul>`}</section>`;
}

/** What the command remarked; the lines that it indented belong to the one before them. */
function remarksSection(reports: readonly RunReport[]): Markup | null {
  const remarks: { text: string; more: string[] }[] = [];
  for (const line of remarksOf(reports)) {
    const last = remarks.at(-1);
    if (line.startsWith(' ') && last !== undefined) last.more.push(line.trim());
    else remarks.push({ text: line, more: [] });
  }
  if (remarks.length === 0) return null;
  const items = remarks.map(
    ({ text, more }) =>
      html`<li>${text}${more.length === 0 ? null : html`<pre>${more.join('\n')}</pre>`}</li>\n`,
  );
  return html`<section id="remarks"><h2>Remarks</h2><ul>${items}</ul></section>`;
}
