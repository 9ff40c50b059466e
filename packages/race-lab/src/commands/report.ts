import { htmlPageOf } from '../report/html/page.ts';
import { readReports } from '../report/read-reports.ts';
import { checkWritable, writeWhole } from '../report/write-report.ts';
import type { Terminal } from './terminal.ts';

/**
 * Writes the page of a race from what `race --json` wrote.
 *
 * @throws BadArgumentsError  The file is no such report, or the page cannot be written; nothing was written.
 */
export async function reportCommand(
  { file, html }: { file: string; html: string },
  terminal: Terminal,
): Promise<void> {
  await checkWritable(html, '--html');
  const reports = await readReports(file);
  await writeWhole(html, htmlPageOf(reports));
  terminal.print(`${html}: ${reports.length} ${reports.length === 1 ? 'run' : 'runs'}`);
}
