import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { contenders } from '../src/groups/locks/contenders.ts';
import { measureLocks } from '../src/groups/locks/index.ts';
import { LoadLostError, startLoad } from '../src/groups/locks/load-process.ts';
import type { ServerUrls } from '../src/servers.ts';

function servers(): ServerUrls {
  return { redis: inject('redisUrl'), postgres: inject('postgresUrl'), mariadb: inject('mariadbUrl') };
}

/** That they are measured; how fast anything is depends on what else the machine does. */
const RATIOS = [
  'locks: contended, pawl redis ÷ mutex',
  'locks: contended, pawl redis, worker with the fewest sections ÷ mean',
  'locks: contended, pawl redis, worker with the most sections ÷ mean',
  'locks: burst, time of pawl redis ÷ mutex',
  'locks: uncontended, 64 callers, pawl redis ÷ bare',
];
const ROUND_TRIPS = 'locks: uncontended, pawl redis, round trips of a pair';

async function measured(rows?: readonly string[]) {
  const directory = mkdtempSync(join(tmpdir(), 'bench-test-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const { signal } = new AbortController();
  const context = { servers: servers(), directory, rounds: 1, signal, progress: () => undefined };
  return measureLocks(context, { contendedMs: 300, bursts: 1, uncontendedMs: 100 }, rows);
}

describe('the group locks', () => {
  test('measures its rows, and all are right', { timeout: 240_000 }, async () => {
    // Of each peer the tuned row: the same code, and no waiting for what its defaults wait for.
    const rows = contenders.filter(({ row }) => !contenders.some((other) => other.row === `${row} tuned`));
    const { parts, ratios } = await measured(rows.map(({ row }) => row));
    const all = rows.map(({ row }) => row);
    const waiting = rows.filter(({ waits }) => waits).map(({ row }) => row);
    expect(parts.map(({ part, rows }) => [part, rows.map(({ row }) => row)])).toEqual([
      ['contended', waiting],
      ['burst', waiting],
      ['uncontended, 64 callers', all],
      ['uncontended, 1 caller', all],
    ]);
    for (const { part, rows, limit } of parts) {
      for (const { row, own, wrong, failures, firstError, figures } of rows) {
        expect({ part, row, wrong, firstError }).toEqual({ part, row, wrong: [], firstError: null });
        if (!own) continue;
        expect({ part, row, failures }).toEqual({ part, row, failures: { 'not granted': 0, errors: 0 } });
        expect(figures[limit?.figure ?? ''], `${part}, ${row}`).not.toBeNull();
      }
    }
    expect(Object.keys(ratios)).toEqual([...RATIOS, ROUND_TRIPS]);
    for (const name of RATIOS) expect(ratios[name]?.value, name).toEqual(expect.any(Number));
    expect(ratios[ROUND_TRIPS]).toMatchObject({ value: 2, holds: true });
  });

  test('without the row that a ratio is about, or its limit, it was not measured', {
    timeout: 60_000,
  }, async () => {
    const { parts, ratios } = await measured(['pawl redis']);
    expect(parts.map(({ rows }) => rows.map(({ ofLimit }) => ofLimit))).toEqual([
      [null],
      [null],
      [null],
      [null],
    ]);
    expect(ratios['locks: contended, pawl redis ÷ mutex']).toMatchObject({ value: null, holds: null });
    expect(ratios[ROUND_TRIPS]).toMatchObject({ value: 2, holds: true });
  });
});

describe('a load process', () => {
  test('that cannot connect says so', async () => {
    const nowhere = { ...servers(), postgres: 'postgres://127.0.0.1:1/x' };
    const load = await startLoad('pawl postgres', nowhere, new AbortController().signal);
    onTestFinished(() => load.end());
    const order = { kind: 'own-keys', prefix: 'k', callers: 1, until: { pairsEach: 1 } } as const;
    expect(await load.carryOut(order)).toMatchObject({
      errors: 1,
      firstError: expect.stringMatching(/^StoreError/),
    });
    await expect(startLoad('no such row', nowhere, new AbortController().signal)).rejects.toThrow(
      LoadLostError,
    );
  });

  test('ends with the signal, whose reason is told', async () => {
    const ended = new AbortController();
    const load = await startLoad('mutex', servers(), ended.signal);
    const order = { kind: 'own-keys', prefix: 'k', callers: 1, until: { ms: 60_000 } } as const;
    const carriedOut = load.carryOut(order);
    const reason = new Error('enough');
    ended.abort(reason);
    await expect(carriedOut).rejects.toBe(reason);
    await expect(load.carryOut(order)).rejects.toBe(reason);
  });

  test('that is lost says so to whoever waits for it', async () => {
    const load = await startLoad('mutex', servers(), new AbortController().signal);
    const carriedOut = load.carryOut({ kind: 'own-keys', prefix: 'k', callers: 1, until: { ms: 60_000 } });
    load.end();
    await expect(carriedOut).rejects.toThrow(LoadLostError);
  });
});
