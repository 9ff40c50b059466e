import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openChromium } from '../../../../test/chromium.ts';
import { raceCommand } from '../../src/commands/race.ts';
import { latencyDistribution } from '../../src/history/latency-distribution.ts';
import { type RecordedEvent, recordedOrder } from '../../src/history/recorded-order.ts';
import { wallAheadUs } from '../../src/history/wall-clock.ts';
import { monotonicUs } from '../../src/racer/exchange.ts';
import { htmlPageOf } from '../../src/report/html/page.ts';
import { readReports } from '../../src/report/read-reports.ts';
import type { RunReport } from '../../src/report/report.ts';
import { answer, capture, confirm } from '../checkers/histories.ts';
import { run } from '../lab-command.ts';
import { good, HOSTILE, others, recorded, skipped, unguarded } from './example-reports.ts';

const folder = mkdtempSync(join(tmpdir(), 'html-report-'));
const inFolder = (name: string) => join(folder, name);
const written = (name: string, text: string) => {
  writeFileSync(inFolder(name), text);
  return inFolder(name);
};
const reports = [unguarded, good, skipped];
let browser: Browser;
/** One for all tests: to open a window costs more than they do. */
let page: Page;
/** What the page that is open asked for, besides itself, and what the browser complained about. */
const seen = { url: '', requests: [] as string[], complaints: [] as string[] };

beforeAll(async () => {
  browser = await openChromium();
  page = await browser.newPage({ viewport: WIDE, colorScheme: 'light' });
  page.on('request', (request) => {
    if (request.url() !== seen.url) seen.requests.push(request.url());
  });
  page.on('console', (message) => seen.complaints.push(message.text()));
  page.on('pageerror', (error) => seen.complaints.push(error.message));
});
afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true });
});

const WIDE = { width: 1280, height: 900 };

async function open(file: string): Promise<void> {
  Object.assign(seen, { url: pathToFileURL(file).href, requests: [], complaints: [] });
  await page.goto(seen.url);
}

describe('a page that was made from a JSON file, opened from disk', () => {
  const file = inFolder('race.html');
  const json = written('race.json', JSON.stringify(reports));

  beforeAll(async () => {
    writeFileSync(file, htmlPageOf(await readReports(json)));
    await open(file);
  });

  test('is the page that the race itself writes, and the command', async () => {
    const made = inFolder('made.html');
    const { code, out, err } = await run('report', json, '--html', made);
    expect({ code, out, err }).toEqual({ code: 0, out: `${made}: 3 runs\n`, err: '' });
    const texts = [made, file].map((name) => readFileSync(name, 'utf8'));
    expect(texts).toEqual([htmlPageOf(reports), htmlPageOf(reports)]);
  });

  test('asks for nothing, runs nothing, and has nothing for the browser to complain about', async () => {
    expect(seen).toMatchObject({ requests: [], complaints: [] });
    expect(await page.title()).toBe('Race for a purchase: as expected');
    expect(await page.locator('script, link, img, iframe, object, embed, form').count()).toBe(0);
    const attributes = await page
      .locator('*')
      .evaluateAll((all: { getAttributeNames(): string[] }[]) => [
        ...new Set(all.flatMap((element) => element.getAttributeNames())),
      ]);
    expect(attributes.filter((name) => name.startsWith('on') || name === 'style')).toEqual([]);
  });

  test('shows data as what it is, be it markup', async () => {
    expect(await page.locator('#violations .quoted').allTextContents()).toEqual([HOSTILE]);
    expect(await page.evaluate("'ran' in window")).toBe(false);
  });

  test('says what was raced, what it showed, and how to race it again', async () => {
    const header = await page.locator('header').textContent();
    expect(header).toContain('As expected: 1 of 2 runs hold, and 1 breaks as published (none).');
    for (const fact of ['100 orders × 5', '4, behind nginx', 'postgres', '42', 'abc', good.again ?? '']) {
      expect(header).toContain(fact);
    }
    expect(header).toContain('2026-01-01 00:00:00 UTC');
    expect(await page.locator('#runs').textContent()).toContain('skipped: Redis is not installed');
  });

  test('parts the bar of every strategy as its answers are', async () => {
    const bars = await page.locator('#runs .bar').evaluateAll((pictures) =>
      pictures.map((bar) =>
        [...bar.querySelectorAll('rect')].map((part) => ({
          part: part.dataset.part,
          count: Number(part.dataset.count),
          share: Math.round((part.getBoundingClientRect().width / bar.getBoundingClientRect().width) * 500),
        })),
      ),
    );
    expect(bars).toEqual([
      [
        { part: 'success', count: 100, share: 100 },
        { part: 'failure', count: 400, share: 400 },
      ],
      [
        { part: 'success', count: 90, share: 90 },
        { part: 'refusal', count: 409, share: 409 },
        { part: 'pending', count: 1, share: 1 },
      ],
    ]);
    const rows = await page.locator('#runs tbody tr').allTextContents();
    expect(rows[0]).toMatch(/1\/0\/4 ×100[\s\S]*5\.00 \(500\)[\s\S]*1\.50 \(150\)[\s\S]*✓ breaks I1a×50/);
    expect(rows[1]).toMatch(/1\/4\/0 ×89[\s\S]*2\/3\/0 ×1[\s\S]*1\.00 \(100\)[\s\S]*✓ holds/);
  });

  test('has every answer in the pictures of the latencies, and the ledger as it is', async () => {
    const sums = await page
      .locator('#latency .histogram')
      .evaluateAll((pictures) =>
        pictures.map((picture) =>
          [...picture.querySelectorAll('rect')].reduce((sum, bar) => sum + Number(bar.dataset.count), 0),
        ),
      );
    expect(sums).toEqual([100, 100, 100, 100]);
    const ledger = await page
      .locator('#ledger tbody tr')
      .evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
    expect(ledger).toEqual([
      ['none', '100', '500', '150', '7', '100', '50'],
      ['conditional-update', '100', '100', '100', '0', '0', '0'],
    ]);
  });

  test('shows one order a strategy in the lanes of its five clients, the instances and the provider, by time', async () => {
    const orders = page.locator('#recorded .order');
    expect(await orders.locator('h3').allTextContents()).toEqual(['none', 'conditional-update']);
    expect(await orders.locator('> p').allTextContents()).toEqual([
      'Order o1: the first that violates I1a. 10 lanes over 400 ms.',
      'Order o1: the first of the run; it violates nothing. 10 lanes over 400 ms.',
    ]);
    const names = await orders.nth(1).locator('.names').first().locator('div').allTextContents();
    const clients = [1, 2, 3, 4, 5].map((nth) => `client ${nth}`);
    const instances = [1, 2, 3, 4].map((nth) => `lotto-back-${nth}`);
    expect(names).toEqual([...clients, ...instances, 'provider']);

    const marks = await orders
      .nth(1)
      .locator('.lanes svg[role=img]')
      .first()
      .evaluate((picture) =>
        [...picture.querySelectorAll('.mark[data-what]')].map((mark) => {
          const { what, lane, at } = mark.dataset;
          const { left, top } = mark.getBoundingClientRect();
          return { what, lane, at: Number(at), left, top };
        }),
      );
    const of = (what: string) => marks.filter((mark) => mark.what === what);
    expect(of('sent').map(({ lane }) => lane)).toEqual(clients);
    // As they were answered, the winner last.
    expect(of('answered').map(({ lane }) => lane)).toEqual([1, 2, 4, 5, 3].map((nth) => `client ${nth}`));
    expect(of('arrived').map(({ lane }) => lane)).toEqual([...instances, 'lotto-back-1']);
    expect(of('captured').map(({ at }) => at)).toEqual([380]);
    expect(marks.map(({ at }) => at)).toEqual(marks.map(({ at }) => at).toSorted((a, b) => a - b));
    const places = of('answered').map(({ left }) => left);
    expect(places).toEqual(places.toSorted((a, b) => a - b));
    const heights = of('sent').map(({ top }) => top);
    expect(heights).toEqual(heights.toSorted((a, b) => a - b));
    expect(new Set(heights).size).toBe(5);

    const table = await orders.nth(1).locator('details td').allTextContents();
    expect(table).toContain('answered 400 in-progress');
    expect(table).toContain('asked to confirm');
    expect(table).toContain('captured 1000 KRW');
  });

  test('can be read without seeing it: headings in order, tables with headings, pictures with words', async () => {
    const tables = page.locator('table');
    expect(await tables.count()).toBeGreaterThan(5);
    expect(await tables.filter({ hasNot: page.locator('caption') }).count()).toBe(0);
    expect(await tables.filter({ hasNot: page.locator('thead th[scope=col]') }).count()).toBe(0);
    expect(await page.locator('tbody tr > :first-child:not(th[scope=row])').count()).toBe(0);
    const hidden = 'svg:not([role=img]):not([aria-hidden=true]):not(svg[role=img] svg)';
    expect(await page.locator(hidden).count()).toBe(0);
    expect(await page.locator('svg[role=img]:not([aria-label])').count()).toBe(0);
    expect(await page.locator('svg[role=img]').count()).toBeGreaterThan(5);
    expect(await page.locator('html').getAttribute('lang')).toBe('en');
    const headings = await page
      .locator('h1, h2, h3')
      .evaluateAll((all: { tagName: string }[]) => all.map(({ tagName }) => Number(tagName.slice(1))));
    expect(headings[0]).toBe(1);
    expect(headings.filter((level) => level === 1)).toHaveLength(1);
    for (const [index, level] of headings.entries()) {
      expect(level - (headings[index - 1] ?? 0)).toBeLessThanOrEqual(1);
    }
  });

  test('is dark where the reader wants it, and light on paper', async () => {
    await page.emulateMedia({ media: 'screen', colorScheme: 'dark' });
    const paper = 'getComputedStyle(document.body).backgroundColor';
    expect(await page.evaluate(paper)).toBe('rgb(20, 24, 29)');
    await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
    expect(await page.evaluate(paper)).toBe('rgb(255, 255, 255)');
    await page.emulateMedia({ media: 'screen', colorScheme: 'light' });
    expect(await page.evaluate(paper)).toBe('rgb(255, 255, 255)');
  });
});

test('a page of every experiment shows its figures, and fits on a wide and on a narrow page', async () => {
  for (const [index, { report, shows }] of [{ report: good, shows: ['1/4/0'] }, ...others].entries()) {
    const file = written(`experiment-${index}.html`, htmlPageOf([report]));
    await open(file);
    const told = await page.locator('main').textContent();
    for (const text of shows) expect(told).toContain(text);
    for (const width of [1280, 390]) {
      await page.setViewportSize({ width, height: 900 });
      await page.locator('details').evaluateAll((all: { open: boolean }[]) => {
        for (const one of all) one.open = true;
      });
      const wide = await page.evaluate('document.documentElement.scrollWidth');
      expect(wide, `${report.experiment} at ${width}`).toBe(width);
      // What sticks out of a picture does not make the page wider.
      const ends = await page
        .locator('svg:visible rect')
        .evaluateAll((all: { getBoundingClientRect(): { right: number } }[]) =>
          all.map((rect) => rect.getBoundingClientRect().right),
        );
      expect(Math.max(...ends)).toBeLessThanOrEqual(width);
    }
    expect(seen).toMatchObject({ requests: [], complaints: [] });
  }
});

describe('figures of several runs of a kind', () => {
  const runOf = (experiment: RunReport['experiment']) => {
    const run = others.find(({ report }) => report.experiment === experiment)?.report;
    if (run === undefined) throw new Error(`no example of ${experiment}`);
    return run;
  };
  /** What the page says of them in the order of its columns, and how many marks there are. */
  async function compared(runs: RunReport[]) {
    await open(written('several.html', htmlPageOf(runs)));
    const section = page.locator('#compared');
    return {
      figures: await section.locator('.figure').allTextContents(),
      marks: await section.locator('.limit').count(),
      bars: await section
        .locator('.meter .value')
        .evaluateAll((all) => all.map((bar) => Number.parseFloat(bar.getAttribute('width') ?? ''))),
    };
  }

  test('how many coupons a second is shown from the slowest to the fastest, and not as the fastest', async () => {
    const run = runOf('coupon');
    const other: RunReport = { ...run, coupon: run.coupon && { ...run.coupon, issuesPerSecond: 109.55 } };
    const { figures, bars } = await compared([run, other]);
    expect(figures.at(-1)).toBe('110 to 438');
    expect(bars.slice(-2)).toEqual([25, 75]);
    expect((await compared([run])).figures.at(-1)).toBe('438');
  });

  test('what was left of a promised time is the least, and no mark is beside what it was not promised to', async () => {
    const run = runOf('recovery');
    const withLeft = (tookMs: number | null, leftMs: number | null): RunReport => ({
      ...run,
      recovery: run.recovery && { ...run.recovery, tookMs, leftMs },
    });
    const early = await compared([withLeft(300, 2_000), withLeft(1_234, 800)]);
    expect(early).toMatchObject({ figures: ['1,234', '800'], marks: 0, bars: [100, 100] });
    const late = await compared([withLeft(300, 2_000), withLeft(1_234, -20)]);
    expect(late).toMatchObject({ figures: ['1,234', '-20'], marks: 0, bars: [100, 0] });
    expect((await compared([withLeft(null, null)])).figures).toEqual([]);
  });
});

test('a script that stood in the page would run without its policy, and does not with it', async () => {
  const script = '<script>window.ran = 1</script><p style="color: red" id="styled">x</p></main>';
  const text = htmlPageOf([good]).replace('</main>', script);
  const policy = /<meta http-equiv="Content-Security-Policy"[^>]*>/;
  expect(text).toMatch(policy);
  const outcome = async (name: string, shown: string) => {
    await open(written(name, shown));
    const ran = await page.evaluate("'ran' in window");
    const colour = await page.evaluate('getComputedStyle(document.querySelector("#styled")).color');
    return { ran, styled: colour === 'rgb(255, 0, 0)', complaints: seen.complaints.length };
  };
  expect(await outcome('free.html', text.replace(policy, ''))).toEqual({
    ran: true,
    styled: true,
    complaints: 0,
  });
  expect(await outcome('guarded.html', text)).toEqual({ ran: false, styled: false, complaints: 2 });
});

describe('the verdict in a sentence', () => {
  const late = {
    ...good,
    ...{ verdict: 'fail', asExpected: false, violations: [{ invariant: 'I2', count: 1, first: 'x' }] },
  } satisfies RunReport;
  test.each([
    [[good], 'As expected: 1 of 1 run hold.'],
    [[good, skipped], 'As expected: 1 of 1 run hold. 1 run was skipped.'],
    [[unguarded, late], 'Not as expected: conditional-update should hold and broke.'],
    [
      [{ ...unguarded, verdict: 'pass' as const, asExpected: false }],
      'Not as expected: none did not break as published.',
    ],
    [
      [{ ...good, verdict: 'unknown' as const, asExpected: false, unknownBecause: 'a checker threw' }],
      'Unknown: conditional-update: a checker threw.',
    ],
    [
      [{ ...good, control: null }],
      'Unknown: the control did not go wrong as it must, so nothing was proved.',
    ],
    [[skipped], 'Unknown: nothing was run. 1 run was skipped.'],
  ] as [RunReport[], string][])('%#', (some, sentence) => {
    expect(htmlPageOf(some)).toContain(`>${sentence}</p>`);
  });
});

describe('a file', () => {
  test('of an earlier version, without recorded orders and histograms, makes a page as well', async () => {
    const { recorded: _recorded, again: _again, ...older } = good;
    const { histogram: _histogram, ...figures } = good.latencyMs.all ?? {
      p50: 0,
      p90: 0,
      p95: 0,
      p99: 0,
      max: 0,
    };
    const file = written('older.json', JSON.stringify([{ ...older, latencyMs: { all: figures, ok: null } }]));
    const page = htmlPageOf(await readReports(file));
    expect(page).toContain('id="latency"');
    expect(page).not.toContain('id="recorded"');
  });

  test.each([
    ['{', 'it is not JSON'],
    ['{}', 'it must be a list of runs'],
    ['[]', 'it holds no run'],
    ['[7]', 'run 1 must be an object, got 7'],
    [[{ ...good, schema: 'race-lab/2' }], 'run 1.schema must be one of race-lab/1, got "race-lab/2"'],
    [[{ ...good, experiment: 'raffle' }], 'run 1.experiment must be one of purchase, bystanders'],
    [[good, { ...good, strategy: undefined }], 'run 2.strategy must be text, got nothing'],
    [[{ ...good, responses: { 200: '7' } }], 'run 1.responses.200 must be a number of at least 0, got "7"'],
    [[{ ...good, replays: -1 }], 'run 1.replays must be a number of at least 0, got -1'],
    [[{ ...good, startedAt: 'yesterday' }], 'run 1.startedAt must be a time (ISO 8601), got "yesterday"'],
    [[{ ...good, latencyMs: [] }], 'run 1.latencyMs must be an object, got []'],
    [[{ ...good, violations: null }], 'run 1.violations must be a list, got null'],
    [
      [{ ...good, recorded: { ...recorded(400), events: [{ lane: 1 }] } }],
      'run 1.recorded.events[0].atMs must be a number, got nothing',
    ],
    [[good, { ...good, experiment: 'lock' }], 'its runs are of purchase and lock'],
  ])('that is no report is refused: %#', async (content, problem) => {
    const text = typeof content === 'string' ? content : JSON.stringify(content);
    const file = written('bad.json', text);
    await expect(readReports(file)).rejects.toThrow(
      `${file}: it is not a report of "race --json": ${problem}`,
    );
  });

  test('that is too big a number is none', async () => {
    const file = written('bad.json', JSON.stringify([good]).replace('"seed":42', '"seed":1e400'));
    await expect(readReports(file)).rejects.toThrow('run 1.seed must be a number of at least 0');
  });

  test('of an endpoint ends the command with 254, and says what it is', async () => {
    const file = written('endpoint.json', JSON.stringify([{ schema: 'race-lab/1', experiment: 'endpoint' }]));
    const { code, err } = await run('report', file, '--html', inFolder('never.html'));
    expect({ code, err }).toEqual({
      code: 254,
      err:
        `${file}: it is the report of a race of an endpoint, and not of an experiment: only of an experiment a page is made. ` +
        'What the report says, the race has printed.\n',
    });
    expect(() => readFileSync(inFolder('never.html'))).toThrow('ENOENT');
  });

  test('that is not there ends the command with 254, and nothing is written', async () => {
    const missing = inFolder('missing.json');
    const { code, err } = await run('report', missing, '--html', inFolder('never.html'));
    expect({ code, err }).toEqual({ code: 254, err: `${missing}: it cannot be read (ENOENT)\n` });
    expect(() => readFileSync(inFolder('never.html'))).toThrow('ENOENT');
  });
});

test.each([
  [{ html: '/no/such/folder/x.html' }, '--html /no/such/folder/x.html: the folder /no/such/folder cannot be'],
  [{ html: tmpdir() }, `--html ${tmpdir()}: it is not a file`],
  [{ html: '' }, '--html needs the name of a file'],
  [{ html: './x.html', json: 'x.html' }, '--json and --html both name ./x.html'],
])('a page that could not be written is refused before the race: %o', async (files, problem) => {
  const never = AbortSignal.abort(new Error('the race was begun'));
  const silent = { print: () => undefined, progress: () => undefined };
  const given: Parameters<typeof raceCommand>[0] = {
    ...{ experiment: 'purchase', store: 'postgres', seed: 42, strategy: undefined, scenario: undefined },
    ...{ fault: undefined, failpoint: undefined, instances: undefined, orders: undefined, fanout: undefined },
    ...{ purchases: undefined, seconds: undefined, runs: undefined, gateway: undefined, json: undefined },
    html: undefined,
  };
  await expect(raceCommand({ ...given, ...files }, silent, never)).rejects.toThrow(problem);
});

describe('the recorded order', () => {
  const BEGAN_US = Date.parse('2026-01-01T00:00:00Z') * 1000;
  const clock = { began: BEGAN_US, ended: BEGAN_US };
  const raced = (orderId: string) =>
    answer(orderId, `${orderId}-1`, { releasedAtUs: 5_000, answeredAtUs: 9_000 });
  const providerSaw = (events: readonly RecordedEvent[] = []) => events.filter(({ by }) => by === 'provider');

  test('is the first that violates, else the first; of none there is none', () => {
    const answers = [raced('a'), raced('b'), raced('c')];
    const violations = [
      { invariant: 'I2', orderId: 'nobody’s' },
      { invariant: 'I0', orderId: 'b' },
      { invariant: 'I1a', orderId: 'c' },
      { invariant: 'I13', orderId: 'b' },
    ];
    expect(recordedOrder({ answers, ledger: [] }, violations, clock)).toMatchObject({
      orderId: 'b',
      violated: ['I0', 'I13'],
    });
    expect(recordedOrder({ answers, ledger: [] }, [], clock)).toMatchObject({ orderId: 'a', violated: [] });
    expect(recordedOrder({ answers: [], ledger: [] }, violations, clock)).toBeNull();
  });

  test('has the provider’s events of its own, on the clients’ clock, each by the request that caused it', () => {
    const ledger = [
      { ...confirm('a', 'a-1'), at: '2026-01-01T00:00:00.007Z' },
      { ...confirm('a', 'somebody-else'), at: '2026-01-01T00:00:00.007Z' },
      { ...confirm('b', 'b-1'), at: '2026-01-01T00:00:00.007Z' },
      { ...capture('a', { requestId: 'a-1' }), at: '2026-01-01T00:00:00.008Z' },
    ];
    const found = recordedOrder({ answers: [raced('a'), raced('b')], ledger }, [], clock);
    expect(providerSaw(found?.events)).toMatchObject([
      { atMs: 2, uncertainMs: 1, what: 'asked', request: 1, detail: 'confirm' },
      {
        atMs: 2,
        uncertainMs: 1,
        what: 'asked',
        request: null,
        detail: 'confirm, without a capture of its own',
      },
      { atMs: 3, uncertainMs: 1, what: 'captured', request: 1, detail: '1000 KRW' },
    ]);
    expect(found?.events.map(({ what }) => what)).toEqual([
      ...['sent', 'asked', 'asked', 'captured', 'answered'],
    ]);
  });

  test('leaves open when it was, where the wall clock was moved meanwhile', () => {
    const ledger = [{ ...confirm('a', 'a-1'), at: '2026-01-01T00:00:00.050Z' }];
    const moved = { began: BEGAN_US, ended: BEGAN_US + 40_000 };
    const [asked] = providerSaw(recordedOrder({ answers: [raced('a')], ledger }, [], moved)?.events);
    expect(asked).toMatchObject({ atMs: 5, uncertainMs: 41 });
  });

  test('tells a request without an answer, and why there is none', () => {
    const silent = answer('a', 'a-1', { status: undefined, error: 'timeout' });
    expect(recordedOrder({ answers: [silent], ledger: [] }, [], clock)?.events.at(-1)).toMatchObject({
      what: 'unanswered',
      status: null,
      detail: 'timeout',
    });
  });

  test('the wall clock is put beside the monotonic one to less than what it tells', () => {
    const aheadUs = wallAheadUs();
    const before = Date.now();
    const wallUs = monotonicUs() + aheadUs;
    const after = Date.now();
    // It tells whole milliseconds, so that it may be almost one later than it says.
    expect(wallUs).toBeGreaterThanOrEqual(before * 1000 - 500);
    expect(wallUs).toBeLessThan((after + 1) * 1000 + 500);
  });
});

test('a distribution has each value in the bin that it belongs to', () => {
  const value = fc.double({ min: 0, max: 1e5, noNaN: true });
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 50 }), (values) => {
      const bins = latencyDistribution(values)?.histogram ?? [];
      expect(bins.reduce((sum, { count }) => sum + count, 0)).toBe(values.length);
      for (const { fromMs, toMs, count } of bins) {
        expect(values.filter((ms) => ms >= fromMs && ms < toMs)).toHaveLength(count);
      }
    }),
  );
  expect(latencyDistribution([])).toBeNull();
});
