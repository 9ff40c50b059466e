import type { RunReport } from '../report.ts';
import { type BarPart, meter, rangeMeter, stackedBar } from './bar.ts';
import { count, milliseconds } from './figures.ts';
import { type Content, html, type Markup } from './markup.ts';
import { type RunGroup, ranIn, total } from './run-group.ts';
import { type HtmlColumn, table } from './table.ts';

/** What the experiments other than the purchase compare; nothing where there is nothing to compare. */
export function comparedSection(groups: readonly RunGroup[]): Markup | null {
  const kinds = [bystanders, coupons, locks, recovery];
  const shown = kinds.flatMap(({ title, text, has, columns }) => {
    const some = groups.filter((group) => ranIn(group).some(has));
    const first: HtmlColumn<RunGroup> = { title: 'run', of: ({ name }) => name };
    return some.length === 0
      ? []
      : [html`<h2>${title}</h2><p>${text}</p>${table(title, [first, ...columns(some)], some)}`];
  });
  return shown.length === 0 ? null : html`<section id="compared">${shown}</section>`;
}

interface Comparison {
  title: string;
  text: string;
  has(run: RunReport): boolean;
  columns(groups: readonly RunGroup[]): HtmlColumn<RunGroup>[];
}

const bystanders: Comparison = {
  title: 'What bystanders noticed',
  text: 'At p99, from when a request was due; the mark is the limit. All bars of a column have one scale.',
  has: ({ bystanders }) => bystanders !== null,
  columns: (groups) => [
    worstColumn('GET /ping p99 ms', groups, (run) => run.bystanders?.ping?.p99, limitOf),
    worstColumn('POST /api/orders p99 ms', groups, (run) => run.bystanders?.orders?.p99, limitOf),
    sumColumn(
      'failed',
      groups,
      ({ bystanders }) => bystanders && bystanders.failed.ping + bystanders.failed.orders,
    ),
  ],
};

const limitOf = ({ bystanders }: RunReport) => bystanders?.limitMs;

const coupons: Comparison = {
  title: 'What became of the coupons',
  text: 'Issued in all runs of a kind; the mark is the stock. More than the stock was sold twice. Issues a second are those of the slowest run to those of the fastest.',
  has: ({ coupon }) => coupon !== null,
  columns: (groups) => [
    {
      title: 'issued',
      holds: 'picture',
      of: (group) => {
        const issued = total(ranIn(group), ({ coupon }) => coupon?.issued);
        const stock = total(ranIn(group), ({ coupon }) => coupon?.initial);
        return meter(issued, stock, `${count(issued)} of ${count(stock)}`, stock);
      },
    },
    sumColumn('members with several', groups, ({ coupon }) => coupon?.membersWithSeveral),
    sumColumn('retries', groups, ({ coupon }) => coupon?.retries),
    rangeColumn('issues/s', groups, ({ coupon }) => coupon?.issuesPerSecond),
  ],
};

const locks: Comparison = {
  title: 'What became of the lock',
  text: 'The longest time for which nobody had the lock while somebody waited; the mark is what that may be.',
  has: ({ lock }) => lock !== null,
  columns: (groups) => [
    worstColumn(
      'stood still ms',
      groups,
      ({ lock }) => lock?.standstillMs,
      ({ lock }) => lock?.standstillLimitMs,
    ),
    worstColumn('resumed after ms', groups, ({ lock }) => lock?.resumedAfterMs),
    sumColumn('sections', groups, ({ lock }) => lock?.sections),
    sumColumn('runs in which two instances had it', groups, ({ lock }) =>
      lock && lock.overlaps > 0 ? 1 : 0,
    ),
  ],
};

const recovery: Comparison = {
  title: 'What became of the orders',
  text: 'How orders ended, how long the slowest took, and what was left of the promised time where least was left: below zero, it was late.',
  has: ({ recovery }) => recovery !== null,
  columns: (groups) => [
    { title: 'orders', holds: 'picture', of: (group) => stackedBar(endsOf(group)) },
    worstColumn('took ms', groups, ({ recovery }) => recovery?.tookMs),
    // Of another order than the slowest, perhaps: the two do not add up to what was promised to one.
    leastColumn('left ms', groups, ({ recovery }) => recovery?.leftMs),
  ],
};

function endsOf(group: RunGroup): BarPart[] {
  const sum = (of: 'completed' | 'released' | 'refunded') =>
    total(ranIn(group), ({ recovery }) => recovery?.[of]);
  return [
    { kind: 'success', label: 'paid', count: sum('completed') },
    { kind: 'refusal', label: 'released', count: sum('released') },
    { kind: 'pending', label: 'refunded', count: sum('refunded') },
  ];
}

type Figure = (run: RunReport) => number | null | undefined;

function figuresOf(group: RunGroup, of: Figure): number[] {
  return ranIn(group).flatMap((run) => of(run) ?? []);
}

/** The lowest of a group's runs, where that is the worst; as a bar what is above zero. */
function leastColumn(title: string, groups: readonly RunGroup[], figure: Figure): HtmlColumn<RunGroup> {
  const least = (group: RunGroup) => Math.min(...figuresOf(group, figure));
  const most = Math.max(...groups.map(least).filter(Number.isFinite));
  return {
    title,
    holds: 'picture',
    of: (group): Content => {
      const value = least(group);
      return Number.isFinite(value) ? meter(Math.max(0, value), most, milliseconds(value)) : '–';
    },
  };
}

/** From the lowest to the highest of a group's runs, where neither is the one that counts. */
function rangeColumn(title: string, groups: readonly RunGroup[], figure: Figure): HtmlColumn<RunGroup> {
  const most = Math.max(...groups.flatMap((group) => figuresOf(group, figure)));
  return {
    title,
    holds: 'picture',
    of: (group): Content => {
      const figures = figuresOf(group, figure);
      if (figures.length === 0) return '–';
      const [low, high] = [Math.min(...figures), Math.max(...figures)];
      const [from, to] = [milliseconds(low), milliseconds(high)];
      return rangeMeter(low, high, most, from === to ? from : `${from} to ${to}`);
    },
  };
}

/** The highest of a group's runs. */
function worstColumn(
  title: string,
  groups: readonly RunGroup[],
  figure: Figure,
  limit?: Figure,
): HtmlColumn<RunGroup> {
  const highest = (group: RunGroup, of: Figure) => {
    const figures = figuresOf(group, of);
    return figures.length === 0 ? null : Math.max(...figures);
  };
  const figures = groups.flatMap((group) => [
    highest(group, figure) ?? 0,
    limit === undefined ? 0 : (highest(group, limit) ?? 0),
  ]);
  const most = Math.max(...figures);
  return {
    title,
    holds: 'picture',
    of: (group): Content => {
      const value = highest(group, figure);
      const mark = limit === undefined ? null : highest(group, limit);
      return value === null ? '–' : meter(value, most, milliseconds(value), mark);
    },
  };
}

function sumColumn(title: string, groups: readonly RunGroup[], figure: Figure): HtmlColumn<RunGroup> {
  const most = Math.max(1, ...groups.map((group) => total(ranIn(group), figure)));
  const of = (group: RunGroup) => total(ranIn(group), figure);
  return { title, holds: 'picture', of: (group) => meter(of(group), most, count(of(group))) };
}
