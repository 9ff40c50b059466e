import { describe, expect, test } from 'vitest';
import type { Measured, Measurement } from '../src/measurement.ts';
import { judge } from '../src/ratio.ts';
import { type BenchReport, exitCodeOf, type GroupReport, partReport } from '../src/report/report.ts';
import { linesOf } from '../src/report/table.ts';

function round(perSecond: number | null, more: Partial<Measurement> = {}): Measurement {
  return { figures: { perSecond }, failures: { errors: 0 }, wrong: [], firstError: null, ...more };
}

const title = (row: string, own = false) => ({ row, own, settings: 'defaults' });
const limit = { row: 'limit', figure: 'perSecond' };

function part(...rows: { title: ReturnType<typeof title>; measured: Measured }[]) {
  return partReport({ part: 'contended', setting: { workers: 64 }, limit }, rows);
}

const right = { warmUp: round(1), rounds: [round(100), round(200), round(150)] };

describe('a part', () => {
  test('has the rounds’ figures without the warm-up, and each round’s quotient by the same round of the limit', () => {
    const { rows } = part(
      { title: title('limit'), measured: right },
      {
        title: title('ours', true),
        measured: { warmUp: round(9), rounds: [round(90), round(100), round(75)] },
      },
    );
    expect(rows[1]).toEqual({
      ...title('ours', true),
      figures: { perSecond: { median: 90, min: 75, max: 100 } },
      ofLimit: { median: 0.5, min: 0.5, max: 0.9 },
      failures: { errors: 0 },
      wrong: [],
      firstError: null,
    });
  });

  test('what went wrong in the warm-up counts, and is said once', () => {
    const overlap = { wrong: ['two holders'], failures: { errors: 2 }, firstError: 'Error: lost' };
    const { rows } = part({
      title: title('ours', true),
      measured: { warmUp: round(1, overlap), rounds: [round(1), round(1, overlap)] },
    });
    expect(rows[0]).toMatchObject({ ...overlap, failures: { errors: 4 }, ofLimit: null });
  });

  test('a round without the figure is left out of the spread, and leaves no quotient', () => {
    const gaps = { warmUp: round(1), rounds: [round(100), round(null), round(300)] };
    const { rows } = part(
      { title: title('limit'), measured: right },
      { title: title('peer'), measured: gaps },
    );
    expect(rows[1]).toMatchObject({ figures: { perSecond: { median: 200 } }, ofLimit: null });
  });
});

const demand = { bound: 'at-least', floor: 0.85, aim: null } as const;

function report(
  rows: readonly GroupReport['parts'][number][],
  holds: readonly (number | null)[],
): BenchReport {
  const ratios = Object.fromEntries(
    holds.map((value, index) => [`ratio ${index}`, judge(value === null ? null : [value], demand)]),
  );
  return {
    schema: 'pawl-bench/1',
    commit: 'abc',
    startedAt: '',
    durationMs: 0,
    command: 'npm run bench -- --rounds 3',
    quick: false,
    rounds: 3,
    machine: { processors: 2, model: 'a processor', node: 'v24' },
    processorsBefore: 0.02,
    servers: { redis: { product: 'Redis', version: '7.0', settings: { appendfsync: 'everysec' } } },
    groups: [{ group: 'locks', parts: rows, ratios }],
    ratios,
  };
}

const wrongMeasured = { ...right, warmUp: round(1, { wrong: ['two holders'] }) };

describe('the exit code', () => {
  const fine = part({ title: title('ours', true), measured: right });

  test('is 0 where all ratios hold, 1 where one does not, 2 where one could not be had', () => {
    expect(exitCodeOf(report([fine], [0.9, 1]))).toBe(0);
    expect(exitCodeOf(report([fine], [0.9, 0.8, null]))).toBe(1);
    expect(exitCodeOf(report([fine], [0.9, null]))).toBe(2);
    expect(exitCodeOf({ ...report([fine], [0.9, null]), quick: true })).toBe(0);
  });

  test('is 1 where a row of ours is wrong, and 0 where a peer’s is', () => {
    expect(exitCodeOf(report([part({ title: title('ours', true), measured: wrongMeasured })], [1]))).toBe(1);
    expect(exitCodeOf(report([part({ title: title('peer'), measured: wrongMeasured })], [1]))).toBe(0);
  });
});

test('the text says what is wrong, who was not served, what holds, and how the servers were set', () => {
  const rows = part(
    { title: title('limit'), measured: right },
    { title: title('fast'), measured: wrongMeasured },
    { title: title('few'), measured: { ...right, warmUp: round(1, { failures: { 'not granted': 60 } }) } },
  );
  const text = linesOf(report([rows], [0.9, 0.8, null])).join('\n');
  expect(text).toMatch(/^limit +150 \(100–200\) +1\.00$/m);
  expect(text).toMatch(/^fast .* WRONG$/m);
  expect(text).toContain('fast: WRONG: two holders');
  expect(text).toMatch(/^few .* 60 not granted$/m);
  expect(text).toMatch(/^ratio 0 .* holds$/m);
  expect(text).toMatch(/^ratio 1 .* DOES NOT HOLD$/m);
  expect(text).toMatch(/^ratio 2 .* not measured$/m);
  expect(text).toContain('Redis 7.0: appendfsync everysec');
  expect(text).toContain('Again: npm run bench -- --rounds 3');
});

test('each part is plotted by its first figure, from 0 to the greatest; a single row is not', () => {
  const half = { warmUp: round(1), rounds: [round(75), round(75), round(75)] };
  const few = { warmUp: round(1), rounds: [round(1), round(1), round(1)] };
  const rows = part(
    { title: title('limit'), measured: right },
    { title: title('half'), measured: half },
    { title: title('few'), measured: few },
  );
  const lines = linesOf(report([rows], []));
  const at = lines.indexOf('perSecond:');
  expect(lines.slice(at + 1, at + 4)).toEqual([
    `  limit  ${'█'.repeat(40)} 150`,
    `  half   ${'█'.repeat(20)} 75.0`,
    '  few    ▏ 1.00',
  ]);
  const single = part({ title: title('limit'), measured: right });
  expect(linesOf(report([single], []))).not.toContain('perSecond:');
});
