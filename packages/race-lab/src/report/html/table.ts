import { type Content, html, type Markup } from './markup.ts';

/** One column: what a row says there. */
export interface HtmlColumn<Subject> {
  title: string;
  of(subject: Subject): Content;
  /** What its cells hold: figures stand at the right, pictures get the room. */
  holds?: 'figure' | 'picture';
}

/**
 * A table with a heading for each column, and for each row its first cell. On a narrow page every row becomes a block, whose cells
 * bear the titles.
 */
export function table<Subject>(
  caption: string,
  columns: readonly HtmlColumn<Subject>[],
  subjects: readonly Subject[],
): Markup {
  const [first, ...others] = columns;
  if (first === undefined) return html``;
  const row = (subject: Subject) =>
    html`<tr><th scope="row">${first.of(subject)}</th>${others.map(
      (column) =>
        html`<td class="${column.holds ?? 'text'}" data-title="${column.title}"><div>${column.of(subject)}</div></td>`,
    )}</tr>\n`;
  return html`<table><caption>${caption}</caption><thead><tr>${columns.map(
    ({ title, holds }) => html`<th scope="col" class="${holds ?? 'text'}">${title}</th>`,
  )}</tr></thead><tbody>
${subjects.map(row)}</tbody></table>`;
}
