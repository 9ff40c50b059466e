import { type Column, layOut } from '../../../packages/race-lab/src/report/columns.ts';
import type { Ratio } from '../ratio.ts';
import type { Spread } from '../statistics.ts';
import type { BenchReport, GroupReport, PartReport, RowReport } from './report.ts';

/** The lines of a whole report. */
export function linesOf(report: BenchReport): string[] {
  const { commit, rounds, machine, servers, processorsBefore } = report;
  return [
    `commit ${commit}, ${rounds} alternating rounds after a warm-up, ${machine.processors} × ${machine.model}, ` +
      `Node ${machine.node}; processors busy before: ${percent(processorsBefore)}`,
    ...Object.values(servers).map(
      ({ product, version, settings }) =>
        `${product} ${version}: ${Object.entries(settings)
          .map(([name, value]) => `${name} ${value}`)
          .join(', ')}`,
    ),
    ...report.groups.flatMap(groupLines),
    '',
    ratioTable(report.ratios),
    '',
    `Again: ${report.command}`,
  ];
}

function groupLines({ group, parts }: GroupReport): string[] {
  const settings = new Map(parts.flatMap(({ rows }) => rows).map((row) => [row.row, row.settings]));
  return [
    ...parts.flatMap((part) => [
      '',
      `${group}: ${part.part} (${settingOf(part)})`,
      partTable(part),
      ...remarksOf(part),
      ...plotOf(part),
    ]),
    '',
    ...[...settings].map(([row, text]) => `${row}: ${text}`),
  ];
}

function settingOf({ setting }: PartReport): string {
  return Object.entries(setting)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}

function partTable({ rows, limit }: PartReport): string {
  const names = [...new Set(rows.flatMap(({ figures }) => Object.keys(figures)))];
  const columns: Column<RowReport>[] = [
    { title: '', of: ({ row }) => row },
    ...names.map((name) => ({ title: name, of: ({ figures }: RowReport) => spread(figures[name] ?? null) })),
    ...(limit === null ? [] : [{ title: `÷ ${limit.row}`, of: ({ ofLimit }: RowReport) => spread(ofLimit) }]),
    {
      title: '',
      of: ({ failures, wrong }) =>
        [...failuresOf(failures), ...(wrong.length > 0 ? ['WRONG'] : [])].join(', '),
    },
  ];
  return layOut(columns, rows);
}

function failuresOf(failures: Readonly<Record<string, number>>): string[] {
  return Object.entries(failures).flatMap(([name, count]) => (count > 0 ? [`${count} ${name}`] : []));
}

function remarksOf({ rows }: PartReport): string[] {
  return rows.flatMap(({ row, wrong, firstError }) => [
    ...wrong.map((what) => `  ${row}: WRONG: ${what}`),
    ...(firstError === null ? [] : [`  ${row}: ${firstError}`]),
  ]);
}

function ratioTable(ratios: BenchReport['ratios']): string {
  const columns: Column<[string, Ratio]>[] = [
    { title: 'ratio', of: ([name]) => name },
    { title: 'value (min–max)', of: ([, { value, min, max }]) => spread(spreadFrom(value, min, max)) },
    { title: 'floor', of: ([, ratio]) => `${sign(ratio)} ${ratio.floor}` },
    { title: 'aim', of: ([, ratio]) => (ratio.aim === null ? '–' : `${sign(ratio)} ${ratio.aim}`) },
    {
      title: '',
      of: ([, { holds, value }]) => {
        if (holds === null)
          return value === null ? 'not measured' : 'not judged: the machine did something else';
        return holds ? 'holds' : 'DOES NOT HOLD';
      },
    },
  ];
  return layOut(columns, Object.entries(ratios));
}

function spreadFrom(median: number | null, min: number | null, max: number | null): Spread | null {
  return median === null || min === null || max === null ? null : { median, min, max };
}

function sign({ bound }: Ratio): string {
  return bound === 'at-least' ? '≥' : '≤';
}

function spread(value: Spread | null): string {
  if (value === null) return '–';
  const { median, min, max } = value;
  return min === max ? short(median) : `${short(median)} (${short(min)}–${short(max)})`;
}

const LONGEST_BAR = 40;

/** The first figure of each row as a bar, from 0 to the greatest. One row alone needs none. */
function plotOf({ rows }: PartReport): string[] {
  const name = Object.keys(rows[0]?.figures ?? {})[0] ?? '';
  const median = ({ figures }: RowReport) => figures[name]?.median ?? 0;
  const greatest = Math.max(...rows.map(median));
  if (rows.length < 2 || !(greatest > 0)) return [];
  const width = Math.max(...rows.map(({ row }) => row.length));
  return [
    '',
    `${name}:`,
    ...rows.map((row) => {
      const length = (median(row) / greatest) * LONGEST_BAR;
      // What is there is seen, however short.
      const bar = median(row) > 0 ? '█'.repeat(Math.floor(length)) || '▏' : '';
      return `  ${row.row.padEnd(width)}  ${bar} ${short(median(row))}`;
    }),
  ];
}

/** Three digits, or the whole number where it has more. */
function short(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}
